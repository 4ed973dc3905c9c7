package anneal.peft;

import anneal.io.Json;
import anneal.io.JsonObject;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * {@link Lora} as PEFT's adapter_config.json.
 *
 * <p>Three kinds of keys: those we read; those that would change numbers in a way we do not offer, which must stand at their
 * neutral value; those that say something about the file or about how it was made. A key of neither kind comes from a version of
 * PEFT that knows more: it is named in a warning.
 */
final class LoraConfigFile {
    private static final Logger LOG = LoggerFactory.getLogger(LoraConfigFile.class);

    private static final Set<String> READ = Set.of(
            "peft_type",
            "r",
            "lora_alpha",
            "lora_dropout",
            "bias",
            "target_modules",
            "exclude_modules",
            "layers_to_transform",
            "layers_pattern",
            "rank_pattern",
            "alpha_pattern",
            "use_rslora",
            "init_lora_weights",
            "base_model_name_or_path");

    /** Must be absent, null, false or empty. */
    private static final Set<String> NEUTRAL_ONLY = Set.of(
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

    /** Storage order, options of initialisations, provenance: nothing that the loaded numbers depend on. */
    private static final Set<String> TELLS = Set.of(
            "task_type",
            "inference_mode",
            "peft_version",
            "revision",
            "auto_mapping",
            "fan_in_fan_out",
            "megatron_core",
            "qalora_group_size",
            "loftq_config",
            "eva_config",
            "corda_config",
            "lora_ga_config",
            "runtime_config");

    private LoraConfigFile() {}

    // ---------------------------------------------------------------- reading

    static Lora read(Path file) {
        JsonObject o = Json.read(file);
        String type = o.string("peft_type");
        if (!type.equals("LORA")) {
            throw o.error("peft_type", "LORA");
        }
        List<String> unsupported = new ArrayList<>();
        for (String key : o.keys()) {
            if (NEUTRAL_ONLY.contains(key)) {
                if (!neutral(o.map().get(key))) {
                    unsupported.add(key);
                }
            } else if (!READ.contains(key) && !TELLS.contains(key)) {
                requireNoSlip(file, key);
                LOG.warn("{}: key \"{}\" is of a version of PEFT that this one does not know (ignored)", file, key);
            }
        }
        if (!unsupported.isEmpty()) {
            throw new IllegalArgumentException(
                    file + ": not supported, and the numbers would differ without: " + String.join(", ", unsupported));
        }
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
                o.string("base_model_name_or_path", null));
    }

    /** A key that nearly is one of ours was meant to be it. */
    private static void requireNoSlip(Path file, String key) {
        Set<String> known = new TreeSet<>(READ);
        known.addAll(TELLS);
        known.addAll(NEUTRAL_ONLY);
        Json.slip(key, known).ifPresent(k -> {
            throw new IllegalArgumentException(file + ": unknown key \"" + key + "\", did you mean \"" + k + "\"?");
        });
    }

    private static boolean neutral(Object value) {
        return value == null
                || value.equals(false)
                || value instanceof Collection<?> c && c.isEmpty()
                || value instanceof Map<?, ?> m && m.isEmpty();
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

    private static Targets targets(JsonObject o) {
        boolean regex = o.get("target_modules") instanceof String s && !s.equalsIgnoreCase(Targets.ALL_LINEAR);
        return new Targets(
                regex ? List.of() : oneOrMore(o, "target_modules"),
                regex ? o.string("target_modules") : null,
                oneOrMore(o, "exclude_modules"),
                numbers(o),
                oneOrMore(o, "layers_pattern"));
    }

    private static List<String> oneOrMore(JsonObject o, String key) {
        return !o.has(key) ? List.of() : o.get(key) instanceof String s ? List.of(s) : o.strings(key);
    }

    private static List<Integer> numbers(JsonObject o) {
        String key = "layers_to_transform";
        if (!o.has(key)) {
            return List.of();
        }
        return o.get(key) instanceof Integer n
                ? List.of(n)
                : java.util.Arrays.stream(o.integers(key)).boxed().toList();
    }

    private static Map<String, Integer> ranks(JsonObject o) {
        Map<String, Integer> all = new LinkedHashMap<>();
        if (o.has("rank_pattern")) {
            JsonObject p = o.object("rank_pattern");
            p.keys().forEach(key -> all.put(key, p.integer(key)));
        }
        return all;
    }

    private static Map<String, Double> alphas(JsonObject o) {
        Map<String, Double> all = new LinkedHashMap<>();
        if (o.has("alpha_pattern")) {
            JsonObject p = o.object("alpha_pattern");
            p.keys().forEach(key -> all.put(key, p.number(key)));
        }
        return all;
    }

    // ---------------------------------------------------------------- writing

    static void write(Path file, Lora config, Map<String, LoraLayer> layers) {
        Targets t = config.targets();
        Map<String, Object> o = new TreeMap<>();
        o.put("peft_type", "LORA");
        o.put("task_type", "CAUSAL_LM");
        o.put("inference_mode", true);
        o.put("base_model_name_or_path", config.baseModel());
        o.put("r", config.rank());
        o.put("lora_alpha", shortest(config.alpha()));
        o.put("lora_dropout", config.dropout());
        o.put("bias", config.bias().name().toLowerCase());
        // As PEFT does it, "all-linear" is written out.
        o.put(
                "target_modules",
                t.regex() != null
                        ? t.regex()
                        : t.allLinear() ? layers.keySet().stream().sorted().toList() : t.names());
        o.put("exclude_modules", t.exclude().isEmpty() ? null : t.exclude());
        o.put("layers_to_transform", t.layers().isEmpty() || t.allLinear() ? null : t.layers());
        o.put("layers_pattern", t.layersPattern().isEmpty() || t.allLinear() ? null : t.layersPattern());
        o.put("rank_pattern", config.rankPattern());
        Map<String, Object> alphas = new LinkedHashMap<>();
        config.alphaPattern().forEach((key, alpha) -> alphas.put(key, shortest(alpha)));
        o.put("alpha_pattern", alphas);
        o.put("use_rslora", config.rsLora());
        o.put("use_dora", false);
        o.put(
                "init_lora_weights",
                switch (config.init()) {
                    case KAIMING -> true;
                    case RANDOM -> false;
                    case GAUSSIAN -> "gaussian";
                });
        o.put("fan_in_fan_out", layers.values().stream().anyMatch(LoraLayer::transposed));
        o.put("modules_to_save", null);
        Json.write(file, o);
    }

    /** 16 rather than 16.0, as Python's writers have it. */
    private static Object shortest(double x) {
        return x == Math.rint(x) && Math.abs(x) < 1e9 ? (Object) (int) x : (Object) x;
    }
}
