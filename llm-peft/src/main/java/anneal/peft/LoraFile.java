package anneal.peft;

import anneal.io.JsonObject;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;

/** {@link Lora} in a file. */
final class LoraFile extends AdapterFile<Lora> {
    /** Must be absent, null, false or empty. */
    static final Set<String> NEUTRAL = Set.of(
            "modules_to_save",
            "use_dora",
            "use_qalora",
            "use_bdlora",
            "lora_bias",
            "layer_replication",
            "target_parameters",
            "trainable_token_indices",
            "ensure_weight_tying",
            "alora_invocation_tokens",
            "arrow_config",
            "kasa_config",
            "velora_config",
            "monteclora_config",
            "megatron_config");

    /** Storage order, options of initialisations. */
    static final Set<String> TELLS = Set.of(
            "fan_in_fan_out",
            "megatron_core",
            "qalora_group_size",
            "loftq_config",
            "eva_config",
            "corda_config",
            "lora_ga_config",
            "runtime_config");

    LoraFile() {
        super("LORA", Lora.class, read(), NEUTRAL, TELLS);
    }

    private static Set<String> read() {
        Set<String> keys = new HashSet<>(Set.of(
                "r",
                "lora_alpha",
                "lora_dropout",
                "bias",
                "rank_pattern",
                "alpha_pattern",
                "use_rslora",
                "init_lora_weights"));
        keys.addAll(TARGETS);
        return keys;
    }

    @Override
    Lora read(JsonObject o, String baseModel) {
        return new Lora(
                o.integer("r"),
                o.number("lora_alpha"),
                o.number("lora_dropout", 0),
                bias(o),
                targets(o),
                ranks(o),
                alphas(o),
                o.flag("use_rslora", false),
                init(o),
                baseModel);
    }

    private static Lora.Bias bias(JsonObject o) {
        return switch (o.string("bias", "none")) {
            case "none" -> Lora.Bias.NONE;
            case "all" -> Lora.Bias.ALL;
            case "lora_only" -> Lora.Bias.LORA_ONLY;
            default -> throw o.error("bias", "none, all or lora_only");
        };
    }

    private static Lora.Init init(JsonObject o) {
        return switch (o.map().getOrDefault("init_lora_weights", true)) {
            case Boolean on -> on ? Lora.Init.KAIMING : Lora.Init.RANDOM;
            case String s when s.equalsIgnoreCase("gaussian") -> Lora.Init.GAUSSIAN;
            // These begin by changing the base weights, which the file does not hold.
            case Object _ -> throw o.error("init_lora_weights", "true, false or gaussian");
        };
    }

    @Override
    void write(Map<String, Object> o, Lora lora, Tuning tuning) {
        put(o, lora.targets(), tuning);
        o.put("r", lora.rank());
        o.put("lora_alpha", shortest(lora.alpha()));
        o.put("lora_dropout", lora.dropout());
        o.put("bias", lora.bias().name().toLowerCase());
        o.put("rank_pattern", lora.rankPattern());
        Map<String, Object> alphas = new LinkedHashMap<>();
        lora.alphaPattern().forEach((key, alpha) -> alphas.put(key, shortest(alpha)));
        o.put("alpha_pattern", alphas);
        o.put("use_rslora", lora.rsLora());
        o.put("use_dora", false);
        o.put(
                "init_lora_weights",
                switch (lora.init()) {
                    case KAIMING -> true;
                    case RANDOM -> false;
                    case GAUSSIAN -> "gaussian";
                });
        o.put("fan_in_fan_out", ((LinearTuning) tuning).transposed());
        o.put("modules_to_save", null);
    }
}
