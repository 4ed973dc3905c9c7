package anneal.peft;

import anneal.io.JsonObject;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Set;

/** {@link Lora} in a file. */
final class LoraFile extends AdapterFile<Lora> {
    /** Must be absent, null, false or empty. */
    static final Set<String> NEUTRAL = Set.of(
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
            "fan_in_fan_out", "megatron_core", "qalora_group_size", "corda_config", "lora_ga_config", "runtime_config");

    private static final String NAMES = "true, false, gaussian, pissa, pissa_niter_N, olora, loftq or eva";
    private static final String BIASES = "lora_only";
    private static final String POWERS = "pissa_niter_";

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
                "init_lora_weights",
                "use_dora",
                SAVE,
                "loftq_config",
                "eva_config"));
        keys.addAll(TARGETS);
        return keys;
    }

    @Override
    Lora read(JsonObject o, String baseModel) {
        return new Lora(
                o.integer("r"),
                o.number("lora_alpha"),
                o.number("lora_dropout", 0),
                bias(o, BIASES),
                targets(o),
                ranks(o),
                alphas(o),
                o.flag("use_rslora", false),
                init(o),
                o.flag("use_dora", false),
                saved(o),
                baseModel);
    }

    private static LoraInit init(JsonObject o) {
        return switch (o.map().getOrDefault("init_lora_weights", true)) {
            case Boolean on -> on ? Lora.Init.KAIMING : Lora.Init.RANDOM;
            case String s -> named(s.toLowerCase(Locale.ROOT), o);
            case Object _ -> throw o.error("init_lora_weights", NAMES);
        };
    }

    private static LoraInit named(String name, JsonObject o) {
        return switch (name) {
            case "gaussian" -> Lora.Init.GAUSSIAN;
            case "pissa" -> new LoraInit.Pissa();
            case "olora" -> new LoraInit.Olora();
            case "eva" -> eva(o.has("eva_config") ? o.object("eva_config") : null);
            case "loftq" -> {
                JsonObject q = o.has("loftq_config") ? o.object("loftq_config") : null;
                yield new LoraInit.LoftQ(
                        q == null ? 4 : q.integer("loftq_bits", 4), q == null ? 1 : q.integer("loftq_iter", 1));
            }
            case "lora_ga" ->
                throw new IllegalArgumentException(
                        o.where() + ": init_lora_weights lora_ga begins with a gradient of data"
                                + " that no file holds; a program has it, by Lora.attach(model, seed, batch)");
            default -> {
                if (!name.matches(POWERS + "\\d{1,4}")) {
                    throw o.error("init_lora_weights", NAMES);
                }
                yield new LoraInit.Pissa(Integer.parseInt(name.substring(POWERS.length())));
            }
        };
    }

    private static LoraInit.Eva eva(JsonObject config) {
        return config == null
                ? new LoraInit.Eva()
                : new LoraInit.Eva(
                        config.number("rho", 2),
                        config.flag("adjust_scaling_factors", true),
                        config.flag("whiten", false));
    }

    private static Object name(LoraInit init) {
        return switch (init) {
            case Lora.Init.KAIMING -> true;
            case Lora.Init.RANDOM -> false;
            case Lora.Init.GAUSSIAN -> "gaussian";
            case LoraInit.Pissa(int powers) -> powers == LoraInit.Pissa.EXACT ? "pissa" : POWERS + powers;
            case LoraInit.Olora _ -> "olora";
            case LoraInit.LoftQ _ -> "loftq";
            case LoraInit.Eva _ -> "eva";
            case LoraInit.LoraGa _ -> "lora_ga";
        };
    }

    @Override
    void write(Map<String, Object> o, Lora lora, Tuning tuning) {
        put(o, lora.targets(), tuning);
        o.put("r", lora.rank());
        o.put("lora_alpha", shortest(lora.alpha()));
        o.put("lora_dropout", lora.dropout());
        o.put("bias", word(lora.bias(), BIASES));
        o.put("rank_pattern", lora.rankPattern());
        Map<String, Object> alphas = new LinkedHashMap<>();
        lora.alphaPattern().forEach((key, alpha) -> alphas.put(key, shortest(alpha)));
        o.put("alpha_pattern", alphas);
        o.put("use_rslora", lora.rsLora());
        o.put("use_dora", lora.dora());
        o.put("init_lora_weights", name(lora.init()));
        if (lora.init() instanceof LoraInit.LoftQ(int bits, int iterations)) {
            o.put("loftq_config", Map.of("loftq_bits", bits, "loftq_iter", iterations));
        }
        if (lora.init() instanceof LoraInit.Eva(double rho, boolean adjust, boolean whiten)) {
            o.put("eva_config", Map.of("rho", rho, "adjust_scaling_factors", adjust, "whiten", whiten));
        }
        o.put("fan_in_fan_out", ((LoraTuning) tuning).transposed());
    }
}
