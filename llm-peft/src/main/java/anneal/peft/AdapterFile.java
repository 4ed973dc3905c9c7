package anneal.peft;

import anneal.io.Json;
import anneal.io.JsonObject;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A method as PEFT's adapter_config.json.
 *
 * <p>Three kinds of keys: those we read; those that would change numbers in a way we do not offer, which must stand at their
 * neutral value; those that say something about the file or about how it was made. A key of neither kind comes from a version of
 * PEFT that knows more: it is named in a warning.
 *
 * @param <M> the method
 */
abstract class AdapterFile<M extends Method> {
    static final Logger LOG = LoggerFactory.getLogger(AdapterFile.class);

    private static final String TYPE = "peft_type", BASE = "base_model_name_or_path";

    /** Tasks. */
    static final String LANGUAGE = "CAUSAL_LM", CLASSIFY = "SEQ_CLS";

    static final String SAVE = "modules_to_save";

    /** What PEFT saves with every adapter of a classifier, whichever of these it has. */
    private static final List<String> HEADS = List.of("classifier", "score");

    /** Of every method: provenance, nothing that the loaded numbers depend on. */
    private static final Set<String> TELL =
            Set.of(TYPE, BASE, "task_type", "inference_mode", "peft_version", "revision", "auto_mapping");

    /** Keys of {@link Targets}. */
    static final Set<String> TARGETS =
            Set.of("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern");

    private final String type;
    private final Class<M> method;
    private final Set<String> read, neutral, tell;

    /**
     * A reader and writer.
     *
     * @param type value of "peft_type"; null for files that are not PEFT's
     * @param read keys that are read, besides those of every method
     * @param neutral keys that must be absent, null, false or empty
     * @param tell keys that are let pass
     */
    AdapterFile(String type, Class<M> method, Set<String> read, Set<String> neutral, Set<String> tell) {
        this.type = type;
        this.method = method;
        this.read = read;
        this.neutral = neutral;
        this.tell = tell;
    }

    private static List<AdapterFile<?>> all() {
        return List.of(
                new LoraFile(),
                new AdaLoraFile(),
                new Ia3File(),
                new LoHaFile(),
                new LoKrFile(),
                new VeraFile(),
                new OsfFile(),
                new LnTuningFile(),
                new BitFitFile(),
                new BlocksFile.Last(),
                new BlocksFile.Drawn(),
                new TrainableTokensFile(),
                new VirtualTokensFile.Prefix(),
                new VirtualTokensFile.Prompt(),
                new VirtualTokensFile.P(),
                new BottleneckFile());
    }

    /** Name of the file with the tensors. */
    String weights() {
        return "adapter_model.safetensors";
    }

    /** What the names of tensors begin with in that file. */
    String prefix() {
        return "base_model.model.";
    }

    /** True if a configuration file is of this method. */
    boolean reads(JsonObject o) {
        return type.equals(o.map().get(TYPE));
    }

    /** The method of a file. */
    abstract M read(JsonObject o, String baseModel);

    /** Its keys, besides those of every method. */
    abstract void write(Map<String, Object> o, M method, Tuning tuning);

    // ---------------------------------------------------------------- reading

    /**
     * The method of a file.
     *
     * @param task what the model is for, in PEFT's words
     */
    static Method read(Path file, String task) {
        JsonObject o = Json.read(file);
        return read(file, o, task, o.string(BASE, null));
    }

    /** The same as options of adapters that are made anew, on this base model. */
    static Method read(Path file, String task, String baseModel) {
        return read(file, Json.read(file), task, baseModel);
    }

    private static Method read(Path file, JsonObject keys, String task, String baseModel) {
        JsonObject o = withoutHead(file, keys, task);
        AdapterFile<?> format =
                all().stream().filter(f -> f.reads(o)).findFirst().orElseThrow(() -> noFormat(o));
        format.check(file, o);
        try {
            return format.read(o, baseModel);
        } catch (IllegalArgumentException e) { // a method's own word on its numbers does not know the file
            boolean named = e.getMessage().startsWith(file.toString());
            throw named ? e : new IllegalArgumentException(file + ": " + e.getMessage(), e);
        }
    }

    /** A classifier's head is saved with every method and is no option of it. */
    private static JsonObject withoutHead(Path file, JsonObject o, String task) {
        if (!CLASSIFY.equals(o.string("task_type", null))) {
            return o;
        }
        if (!task.equals(CLASSIFY)) {
            throw new IllegalArgumentException(file + ": task_type " + CLASSIFY
                    + " needs a model with a head to classify with; this one has none");
        }
        Map<String, Object> keys = new LinkedHashMap<>(o.map());
        List<String> saved = new ArrayList<>(o.has(SAVE) ? o.strings(SAVE) : List.of());
        saved.removeAll(HEADS);
        keys.remove(SAVE);
        if (!saved.isEmpty()) {
            keys.put(SAVE, saved);
        }
        return new JsonObject(keys, o.where());
    }

    private static IllegalArgumentException noFormat(JsonObject o) {
        o.string(TYPE); // it is there, and a string
        return o.error(
                TYPE, all().stream().map(f -> f.type).filter(Objects::nonNull).collect(Collectors.joining(", ")));
    }

    /** The format of a method's files. */
    static AdapterFile<?> of(Method method) {
        return all().stream()
                .filter(f -> f.method.isInstance(method))
                .findFirst()
                .orElseThrow();
    }

    private void check(Path file, JsonObject o) {
        Set<String> known = new TreeSet<>(read);
        known.addAll(neutral);
        known.addAll(tell);
        known.addAll(TELL);
        warnOfUnknown(file.toString(), o, known);
        requireSupported(
                file.toString(),
                o.keys().stream()
                        .filter(key -> neutral.contains(key) && !neutral(o.map().get(key)))
                        .toList());
    }

    static void requireSupported(String where, List<String> unsupported) {
        if (!unsupported.isEmpty()) {
            throw new IllegalArgumentException(
                    where + ": not supported, and the numbers would differ without: " + String.join(", ", unsupported));
        }
    }

    static void warnOfUnknown(String where, JsonObject o, Set<String> known) {
        for (String key : o.keys()) {
            if (!known.contains(key)) {
                Json.slip(key, known)
                        .ifPresent(
                                k -> { // it nearly is one of ours, and was meant to be it
                                    throw new IllegalArgumentException(
                                            where + ": unknown key \"" + key + "\", did you mean \"" + k + "\"?");
                                });
                LOG.warn("{}: key \"{}\" is of a version of PEFT that this one does not know (ignored)", where, key);
            }
        }
    }

    private static boolean neutral(Object value) {
        return value == null
                || value.equals(false)
                || value instanceof Collection<?> c && c.isEmpty()
                || value instanceof Map<?, ?> m && m.isEmpty();
    }

    static Targets targets(JsonObject o) {
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

    /** Modules that are trained and saved whole. */
    static List<String> saved(JsonObject o) {
        return oneOrMore(o, SAVE);
    }

    /**
     * Which biases are trained.
     *
     * @param targets the word of the method for those of adapted layers
     */
    static Bias bias(JsonObject o, String targets) {
        String bias = o.string("bias", "none");
        return switch (bias) {
            case "none" -> Bias.NONE;
            case "all" -> Bias.ALL;
            default -> {
                if (!bias.equals(targets)) {
                    throw o.error("bias", "none, all or " + targets);
                }
                yield Bias.TARGETS;
            }
        };
    }

    /** The same word. */
    static String word(Bias bias, String targets) {
        return switch (bias) {
            case NONE -> "none";
            case ALL -> "all";
            case TARGETS -> targets;
        };
    }

    static Map<String, Integer> ranks(JsonObject o) {
        Map<String, Integer> all = new LinkedHashMap<>();
        if (o.has("rank_pattern")) {
            JsonObject p = o.object("rank_pattern");
            p.keys().forEach(key -> all.put(key, p.integer(key)));
        }
        return all;
    }

    static Map<String, Double> alphas(JsonObject o) {
        Map<String, Double> all = new LinkedHashMap<>();
        if (o.has("alpha_pattern")) {
            JsonObject p = o.object("alpha_pattern");
            p.keys().forEach(key -> all.put(key, p.number(key)));
        }
        return all;
    }

    // ---------------------------------------------------------------- writing

    /** Throws if what was written could not be read: the base matrices began with data that no file holds. */
    static void requireSavable(Method method) {
        if (method instanceof Lora lora && lora.init() instanceof LoraInit.LoraGa) {
            throw new IllegalStateException(
                    "save: lora_ga changed the base by a gradient that no file holds, so the adapter"
                            + " could not be loaded; call saveAsPlainLora");
        }
    }

    static void write(Path file, Method method, Tuning tuning) {
        Map<String, Object> o = new TreeMap<>();
        AdapterFile<?> format = of(method);
        format.head(o, method);
        format.cast(o, method, WholeTuning.method(tuning));
        List<String> saved = new ArrayList<>();
        if (WholeTuning.task(tuning) != null) {
            o.put("task_type", WholeTuning.task(tuning));
            saved.addAll(HEADS);
        }
        saved.addAll(method.modulesToSave());
        if (format.read.contains(SAVE) || !saved.isEmpty()) {
            o.put(SAVE, saved.isEmpty() ? null : saved);
        }
        Json.write(file, o);
    }

    /** The keys of every method. */
    void head(Map<String, Object> o, Method m) {
        o.put(TYPE, type);
        o.put("task_type", LANGUAGE);
        o.put("inference_mode", true);
        o.put(BASE, m.baseModel());
    }

    private void cast(Map<String, Object> o, Method m, Tuning tuning) {
        write(o, method.cast(m), tuning);
    }

    /** Writes and reads files that a format has beside its tensors. */
    void writeMore(Path folder, Tuning tuning) {}

    /** Checks such files against the model. */
    void checkMore(Path folder, Tuning tuning) {}

    /** Adds the keys of targets; as PEFT does it, "all-linear" is written out. */
    static void put(Map<String, Object> o, Targets t, Tuning tuning) {
        o.put(
                "target_modules",
                t.regex() != null
                        ? t.regex()
                        : t.allLinear() ? tuning.paths().stream().sorted().toList() : t.names());
        o.put("exclude_modules", t.exclude().isEmpty() ? null : t.exclude());
        o.put("layers_to_transform", t.layers().isEmpty() || t.allLinear() ? null : t.layers());
        o.put("layers_pattern", t.layersPattern().isEmpty() || t.allLinear() ? null : t.layersPattern());
    }

    /** The same for a method whose file has not all of these keys: what they would say is said by writing the paths out. */
    static void put(Map<String, Object> o, Targets t, Tuning tuning, Set<String> keys) {
        Map<String, Object> all = new TreeMap<>();
        put(all, t, tuning);
        if (all.entrySet().stream().anyMatch(e -> e.getValue() != null && !keys.contains(e.getKey()))) {
            put(all, Targets.exactly(tuning.paths()), tuning);
        }
        all.keySet().retainAll(keys);
        o.putAll(all);
    }

    /** 16 rather than 16.0, as Python's writers have it. */
    static Object shortest(double x) {
        return x == Math.rint(x) && Math.abs(x) < 1e9 ? (Object) (int) x : (Object) x;
    }
}
