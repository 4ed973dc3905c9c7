package anneal.peft;

import anneal.io.JsonObject;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;

/** {@link Vera} in a file. */
final class VeraFile extends AdapterFile<Vera> {
    private static final Set<String> TARGETS = Set.of("target_modules", "layers_to_transform", "layers_pattern");

    private static final String BIASES = "vera_only";

    VeraFile() {
        super("VERA", Vera.class, keys(), Set.of(), Set.of("fan_in_fan_out"));
    }

    private static Set<String> keys() {
        Set<String> keys = new HashSet<>(Set.of(
                "r",
                "vera_dropout",
                "d_initial",
                "projection_prng_key",
                "save_projection",
                "init_weights",
                "bias",
                SAVE));
        keys.addAll(TARGETS);
        return keys;
    }

    @Override
    Vera read(JsonObject o, String baseModel) {
        return new Vera(
                o.integer("r"),
                o.number("vera_dropout", 0),
                o.number("d_initial", 0.1),
                o.integer("projection_prng_key", 0),
                o.flag("save_projection", true),
                bias(o, BIASES),
                targets(o),
                !o.flag("init_weights", true),
                saved(o),
                baseModel);
    }

    @Override
    void write(Map<String, Object> o, Vera vera, Tuning tuning) {
        put(o, vera.targets(), tuning, TARGETS);
        o.put("r", vera.rank());
        o.put("vera_dropout", vera.dropout());
        o.put("d_initial", vera.dInitial());
        o.put("projection_prng_key", vera.projectionKey());
        o.put("save_projection", vera.saveProjection());
        o.put("init_weights", !vera.random());
        o.put("bias", word(vera.bias(), BIASES));
        o.put("fan_in_fan_out", ((LinearTuning) tuning).transposed());
    }
}
