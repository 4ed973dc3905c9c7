package anneal.quant.post;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import anneal.nn.FolderForm;
import anneal.nn.Stored;
import anneal.nn.Weight;
import anneal.nn.WeightReader;
import anneal.tensor.DType;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * Integer layers as the compressed-tensors library keeps them ("format": "int-quantized"), which vLLM and transformers read: weight (signed
 * bytes [out, in]), weight_scale [out, 1], and input_scale [1] if the scale of inputs is static. Whether dynamic scales are each token's or
 * the tensor's stands in config.json.
 *
 * <p>Codes of inputs are clamped to -127 .. 127 here, to -128 .. 127 there: they differ for inputs beyond a static scale only.
 */
public final class CompressedTensors implements WeightReader {
    private static final String METHOD = "compressed-tensors";

    private final ActivationScale activations;

    /** For {@link java.util.ServiceLoader}. */
    public CompressedTensors() {
        this(ActivationScale.PER_TOKEN);
    }

    private CompressedTensors(ActivationScale activations) {
        this.activations = activations;
    }

    @Override
    public String method() {
        return METHOD;
    }

    // ---------------------------------------------------------------- reading

    @Override
    public WeightReader configured(Map<String, Object> config) {
        Map<?, ?> groups = map(config.get("config_groups"));
        if (groups.size() != 1) {
            throw new IllegalArgumentException(METHOD + ": config_groups has " + groups.size() + " groups, not one");
        }
        Map<?, ?> group = map(groups.values().iterator().next());
        Map<?, ?> weights = map(group.get("weights")), inputs = map(group.get("input_activations"));
        require(weights, "weights", "channel");
        require(inputs, "input_activations", "token", "tensor");
        boolean tensor = "tensor".equals(inputs.get("strategy"));
        if (!Boolean.TRUE.equals(inputs.get("dynamic"))) {
            return new CompressedTensors(ActivationScale.STATIC);
        }
        return new CompressedTensors(tensor ? ActivationScale.PER_TENSOR : ActivationScale.PER_TOKEN);
    }

    private static void require(Map<?, ?> args, String name, String... strategies) {
        boolean integers =
                args.get("num_bits") instanceof Number n && n.intValue() == 8 && "int".equals(args.get("type"));
        if (!integers
                || Boolean.FALSE.equals(args.get("symmetric"))
                || !List.of(strategies).contains(String.valueOf(args.get("strategy")))) {
            throw new IllegalArgumentException(METHOD + ": " + name + " " + args
                    + " cannot be read; what can is num_bits 8, type int, symmetric, strategy "
                    + String.join(" or ", strategies));
        }
    }

    private static Map<?, ?> map(Object json) {
        return json instanceof Map<?, ?> m ? m : Map.of();
    }

    @Override
    public Optional<Weight> read(String layer, int out, int in, Map<String, Stored> tensors, Arena arena) {
        if (!tensors.containsKey("weight") || !tensors.containsKey("weight_scale")) {
            return Optional.empty();
        }
        Stored bytes = tensors.remove("weight");
        if (bytes.dtype() != DType.I8 || bytes.data().byteSize() != (long) out * in || in % 8 != 0) {
            throw new IllegalArgumentException(
                    layer + ".weight has " + bytes.data().byteSize() + " bytes of " + bytes.dtype() + ", not "
                            + (long) out * in + " of I8 in rows of a multiple of 8");
        }
        MemorySegment scales = floats(layer + ".weight_scale", tensors.remove("weight_scale"), out, arena);
        UniformMatrix matrix = new UniformMatrix(bytes.data(), scales, out, in);
        if (activations != ActivationScale.STATIC) {
            return Optional.of(new W8A8Linear(matrix, activations, 0));
        }
        Stored input = tensors.remove("input_scale");
        if (input == null) {
            throw new IllegalArgumentException(layer + ".input_scale is missing");
        }
        float a = floats(layer + ".input_scale", input, 1, arena).get(JAVA_FLOAT, 0);
        if (!(a > 0 && Float.isFinite(a))) {
            throw new IllegalArgumentException(layer + ".input_scale " + a + " must be positive");
        }
        return Optional.of(W8A8Linear.stored(matrix, activations, a));
    }

    private static MemorySegment floats(String name, Stored s, int count, Arena arena) {
        if (!s.dtype().isReal() || Arrays.stream(s.shape()).reduce(1, (a, b) -> a * b) != count) {
            throw new IllegalArgumentException(
                    name + " has the shape " + Arrays.toString(s.shape()) + " and not " + count + " numbers");
        }
        float[] values = new float[count];
        s.dtype().matrix(s.data(), 1, count).widen(0, 0, count, values, 0);
        return arena.allocateFrom(JAVA_FLOAT, values);
    }

    // ---------------------------------------------------------------- writing

    /** A layer of 8-bit weights. */
    record Form(UniformMatrix matrix, MemorySegment bytes, ActivationScale activations, float inputScale)
            implements FolderForm {
        @Override
        public Map<String, Stored> tensors() {
            int out = matrix.rows(), in = matrix.cols();
            Map<String, Stored> all = new LinkedHashMap<>();
            all.put("weight", new Stored(DType.I8, bytes.asSlice(0, (long) out * in), out, in));
            all.put("weight_scale", new Stored(DType.F32, matrix.scales().asSlice(0, 4L * out), out, 1));
            if (activations == ActivationScale.STATIC) {
                MemorySegment scale = Arena.ofAuto().allocateFrom(JAVA_FLOAT, inputScale);
                all.put("input_scale", new Stored(DType.F32, scale, 1));
            }
            return all;
        }

        @Override
        public Map<String, Object> config(List<String> plain) {
            boolean fixed = activations == ActivationScale.STATIC;
            Map<String, Object> group = new LinkedHashMap<>();
            group.put("input_activations", args(activations == ActivationScale.PER_TOKEN ? "token" : "tensor", !fixed));
            group.put("output_activations", null);
            group.put("targets", List.of("Linear"));
            group.put("weights", args("channel", false));
            Map<String, Object> json = new LinkedHashMap<>();
            json.put("quant_method", METHOD);
            json.put("format", "int-quantized");
            json.put("quantization_status", "compressed");
            json.put("config_groups", Map.of("group_0", group));
            json.put("ignore", plain);
            return json;
        }

        private static Map<String, Object> args(String strategy, boolean dynamic) {
            Map<String, Object> args = new LinkedHashMap<>();
            args.put("num_bits", 8);
            args.put("type", "int");
            args.put("symmetric", true);
            args.put("strategy", strategy);
            args.put("dynamic", dynamic);
            return args;
        }
    }
}
