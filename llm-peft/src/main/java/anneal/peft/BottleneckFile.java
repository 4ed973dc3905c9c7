package anneal.peft;

import anneal.io.Json;
import anneal.io.JsonObject;
import anneal.io.NamedTensors;
import anneal.io.Safetensors;
import anneal.io.SafetensorsWriter;
import anneal.io.StoredTensor;
import anneal.nn.Weight;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;

/**
 * {@link Bottleneck} in the files of the adapters library: adapter_config.json with the options in "config", adapter.safetensors, and
 * for a model with an output head head_config.json and model_head.safetensors.
 */
final class BottleneckFile extends AdapterFile<Bottleneck> {
    private static final String VERSION = "version", OURS = "adapters.1.3.0";
    private static final String HEAD_CONFIG = "head_config.json", HEAD = "model_head.safetensors";

    /** Options that are not supported, at the value where they change nothing. */
    private static final Map<String, Object> NEUTRAL = new TreeMap<>();

    /** Options of options that are off, and how the numbers began. */
    private static final Map<String, Object> TELL = new TreeMap<>();

    static {
        NEUTRAL.put("adapter_residual_before_ln", false);
        NEUTRAL.put("cross_adapter", false);
        NEUTRAL.put("inv_adapter", null);
        NEUTRAL.put("original_ln_after", true);
        NEUTRAL.put("phm_layer", false);
        NEUTRAL.put("residual_before_ln", true);
        NEUTRAL.put("stochastic_depth", 0.0);
        NEUTRAL.put("use_gating", false);
        TELL.put("factorized_phm_W", true);
        TELL.put("factorized_phm_rule", false);
        TELL.put("hypercomplex_nonlinearity", "glorot-uniform");
        TELL.put("init_weights_seed", null);
        TELL.put("inv_adapter_reduction_factor", null);
        TELL.put("learn_phm", true);
        TELL.put("phm_bias", true);
        TELL.put("phm_c_init", "normal");
        TELL.put("phm_dim", 4);
        TELL.put("phm_init_range", 0.0001);
        TELL.put("phm_rank", 1);
        TELL.put("shared_W_phm", false);
        TELL.put("shared_phm_rule", true);
    }

    private static final Set<String> READ = Set.of(
            "mh_adapter",
            "output_adapter",
            "reduction_factor",
            "non_linearity",
            "is_parallel",
            "original_ln_before",
            "ln_before",
            "ln_after",
            "scaling",
            "dropout",
            "init_weights",
            "leave_out",
            "architecture");

    BottleneckFile() {
        super(
                null, // the library writes no type
                Bottleneck.class,
                Set.of("config", "name", "model_class", "model_type", "model_name", VERSION),
                Set.of(),
                Set.of("hidden_size"));
    }

    @Override
    String weights() {
        return "adapter.safetensors";
    }

    @Override
    String prefix() {
        return "";
    }

    /** By the library's version, which stands in every file of it. */
    @Override
    boolean reads(JsonObject o) {
        return o.map().get(VERSION) instanceof String v
                && v.startsWith("adapters.")
                && o.map().get("config") != null;
    }

    // ---------------------------------------------------------------- reading

    @Override
    Bottleneck read(JsonObject o, String baseModel) {
        JsonObject c = o.object("config");
        Set<String> known = new TreeSet<>(READ);
        known.addAll(NEUTRAL.keySet());
        known.addAll(TELL.keySet());
        warnOfUnknown(c.where(), c, known);
        requireSupported(
                c.where(),
                NEUTRAL.keySet().stream()
                        .filter(key -> c.map().containsKey(key) && !same(c.map().get(key), NEUTRAL.get(key)))
                        .toList());
        if (c.has("architecture")) { // of LoRA, prefix tuning and others in this library's own layout
            throw c.error("architecture", "absent, as for bottleneck adapters");
        }
        Path head = Path.of(o.where()).resolveSibling(HEAD);
        return new Bottleneck(
                c.flag("mh_adapter"),
                c.flag("output_adapter"),
                number(c, "reduction_factor"),
                c.string("non_linearity"),
                input(c),
                c.flag("ln_before", false),
                c.flag("ln_after", false),
                number(c, "scaling"),
                c.number("dropout", 0),
                init(c),
                c.has("leave_out")
                        ? Arrays.stream(c.integers("leave_out")).boxed().toList()
                        : List.of(),
                o.string("name"),
                new Bottleneck.Base(
                        o.string("model_class", null),
                        o.string("model_type", null),
                        baseModel == null ? o.string("model_name", null) : baseModel),
                Files.exists(head));
    }

    private static boolean same(Object a, Object b) {
        return a instanceof Number x && b instanceof Number y
                ? x.doubleValue() == y.doubleValue()
                : Objects.equals(a, b);
    }

    /** One number: the library's maps by layer and its learnt scalings are not supported. */
    private static double number(JsonObject c, String key) {
        if (!(c.get(key) instanceof Number)) {
            throw c.error(key, "a number (one for each layer, or a learnt one, is not supported)");
        }
        return c.number(key);
    }

    private static Bottleneck.Input input(JsonObject c) {
        return c.flag("is_parallel", false)
                ? Bottleneck.Input.RESIDUAL
                : c.flag("original_ln_before", false) ? Bottleneck.Input.SUM : Bottleneck.Input.BRANCH;
    }

    private static Bottleneck.Init init(JsonObject c) {
        return switch (c.string("init_weights", "bert")) {
            case "bert" -> Bottleneck.Init.BERT;
            case "mam_adapter" -> Bottleneck.Init.MAM_ADAPTER;
            case "houlsby" -> Bottleneck.Init.HOULSBY;
            default -> throw c.error("init_weights", "bert, mam_adapter or houlsby");
        };
    }

    /** A head in the folder must be the model's: it was frozen, and is not put in. */
    @Override
    void checkMore(Path folder, Tuning tuning) {
        Path file = folder.resolve(HEAD);
        if (!Files.exists(file)) {
            return;
        }
        try (Arena arena = Arena.ofShared()) {
            Map<String, StoredTensor> theirs = Safetensors.open(file, arena).tensors();
            Map<String, Tensor> ours = head(tuning, arena);
            ours.forEach((name, t) -> {
                StoredTensor other = theirs.get(name);
                if (other == null || !Arrays.equals(other.floats(), t.toArray())) {
                    throw new IllegalArgumentException(file + ": " + name + " is not the model's own (" + t.shape()
                            + "): it was trained too, or is of another model; remove the file to do without it");
                }
            });
        }
    }

    /** A classifier's head may be trained whole beside it. */
    private static BottleneckTuning own(Tuning tuning) {
        return (BottleneckTuning) WholeTuning.method(tuning);
    }

    /** The output head as floats, by its names. */
    private static Map<String, Tensor> head(Tuning tuning, Arena arena) {
        var linear = own(tuning).head();
        Weight dense = linear.weight().parameter().isPresent()
                ? linear.weight()
                : linear.weight().dense(arena);
        Map<String, Tensor> all = new TreeMap<>();
        all.put(linear.path() + ".weight", dense.parameter().orElseThrow());
        if (linear.bias() != null) {
            all.put(linear.path() + ".bias", linear.bias());
        }
        return all;
    }

    // ---------------------------------------------------------------- writing

    /** Keys of the library in place of PEFT's. */
    @Override
    void head(Map<String, Object> o, Method m) {
        base(o, ((Bottleneck) m).base());
    }

    private static void base(Map<String, Object> o, Bottleneck.Base base) {
        o.put("model_class", base.modelClass());
        o.put("model_type", base.modelType());
        o.put("model_name", base.modelName());
        o.put(VERSION, OURS);
    }

    @Override
    void write(Map<String, Object> o, Bottleneck b, Tuning tuning) {
        o.put("name", b.name());
        o.put("hidden_size", own(tuning).width());
        Map<String, Object> c = new TreeMap<>(NEUTRAL);
        c.putAll(TELL);
        c.put("mh_adapter", b.attention());
        c.put("output_adapter", b.feedForward());
        c.put("reduction_factor", shortest(b.reduction()));
        c.put("non_linearity", b.nonLinearity());
        c.put("is_parallel", b.input() == Bottleneck.Input.RESIDUAL);
        c.put("original_ln_before", b.input() == Bottleneck.Input.SUM);
        c.put("ln_before", b.normBefore());
        c.put("ln_after", b.normAfter());
        c.put("scaling", b.scaling()); // with a fraction: the library takes no integer here
        c.put("dropout", b.dropout());
        c.put("init_weights", b.init().name().toLowerCase(java.util.Locale.ROOT));
        c.put("leave_out", b.leaveOut());
        o.put("config", c);
    }

    @Override
    void writeMore(Path folder, Tuning tuning) {
        BottleneckTuning bottleneck = own(tuning);
        if (!bottleneck.method().head()) {
            return;
        }
        try (Arena arena = Arena.ofShared()) {
            new SafetensorsWriter()
                    .metadata("format", "pt")
                    .write(folder.resolve(HEAD), NamedTensors.stored(head(tuning, arena), ""));
        }
        Map<String, Object> o = new TreeMap<>();
        base(o, bottleneck.method().base());
        o.put("config", null);
        o.put("name", null);
        o.put("hidden_size", bottleneck.width());
        o.put("num_labels", 2); // what transformers says of every model that has none
        o.put("label2id", new TreeMap<>(Map.of("LABEL_0", 0, "LABEL_1", 1)));
        Json.write(folder.resolve(HEAD_CONFIG), o);
    }
}
