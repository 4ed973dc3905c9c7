package anneal.peft;

import anneal.io.JsonObject;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** {@link Ia3} in a file. */
final class Ia3File extends AdapterFile<Ia3> {
    private static final Set<String> TARGETS = Set.of("target_modules", "exclude_modules");

    Ia3File() {
        super(
                "IA3",
                Ia3.class,
                Set.of(
                        "target_modules",
                        "exclude_modules",
                        "layers_to_transform",
                        "layers_pattern",
                        "feedforward_modules",
                        "init_ia3_weights",
                        SAVE),
                Set.of(),
                Set.of("fan_in_fan_out"));
    }

    @Override
    Ia3 read(JsonObject o, String baseModel) {
        boolean regex = o.has("feedforward_modules") && o.get("feedforward_modules") instanceof String;
        return new Ia3(
                targets(o),
                regex || !o.has("feedforward_modules") ? List.of() : o.strings("feedforward_modules"),
                regex ? o.string("feedforward_modules") : null,
                !o.flag("init_ia3_weights", true),
                saved(o),
                baseModel);
    }

    @Override
    void write(Map<String, Object> o, Ia3 ia3, Tuning tuning) {
        put(o, ia3.targets(), tuning, TARGETS);
        List<String> inputs =
                tuning.paths().stream().filter(ia3::scalesInput).sorted().toList();
        boolean asGiven = ia3.targets().names().equals(o.get("target_modules"));
        o.put(
                "feedforward_modules",
                ia3.feedForwardRegex() != null
                        ? ia3.feedForwardRegex()
                        // PEFT wants them to be among the targets, which may have been written out.
                        : asGiven || ia3.targets().regex() != null ? ia3.feedForward() : inputs);
        o.put("init_ia3_weights", !ia3.random());
        o.put("fan_in_fan_out", ((LinearTuning) tuning).transposed());
    }
}
