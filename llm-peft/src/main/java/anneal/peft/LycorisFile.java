package anneal.peft;

import anneal.io.JsonObject;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;

/**
 * {@link LoHa} or {@link LoKr} in a file.
 *
 * @param <M> which of them
 */
abstract class LycorisFile<M extends Method> extends AdapterFile<M> {
    LycorisFile(String type, Class<M> method, Set<String> more) {
        // What a convolution would be made of says nothing about linear layers.
        super(type, method, keys(more), Set.of(), Set.of("use_effective_conv2d"));
    }

    private static Set<String> keys(Set<String> more) {
        Set<String> keys = new HashSet<>(Set.of(
                "r", "alpha", "rank_pattern", "alpha_pattern", "rank_dropout", "module_dropout", "init_weights", SAVE));
        keys.addAll(TARGETS);
        keys.addAll(more);
        return keys;
    }

    static Lycoris options(JsonObject o) {
        return new Lycoris(
                o.integer("r"),
                o.number("alpha"),
                ranks(o),
                alphas(o),
                o.number("rank_dropout", 0),
                o.number("module_dropout", 0));
    }

    static void put(Map<String, Object> o, Lycoris options, Targets targets, Tuning tuning) {
        put(o, targets, tuning);
        o.put("r", options.rank());
        o.put("alpha", shortest(options.alpha()));
        o.put("rank_pattern", options.rankPattern());
        Map<String, Object> alphas = new LinkedHashMap<>();
        options.alphaPattern().forEach((key, alpha) -> alphas.put(key, shortest(alpha)));
        o.put("alpha_pattern", alphas);
        o.put("rank_dropout", options.rankDropout());
        o.put("module_dropout", options.moduleDropout());
        o.put("use_effective_conv2d", false);
    }
}
