package anneal.quant.post;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import anneal.kernels.GroupMatrix;
import anneal.nn.FolderForm;
import anneal.nn.Stored;
import anneal.nn.Weight;
import anneal.nn.WeightReader;
import anneal.quant.GroupInt;
import anneal.quant.PackQuantized;
import anneal.quant.PackedWeight;
import anneal.tensor.DType;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * Integer layers as the compressed-tensors library keeps them, which vLLM and transformers read. "int-quantized": weight (signed bytes
 * [out, in]) and weight_scale [out, 1]; "pack-quantized": {@link PackQuantized}. Where inputs are integers too, input_scale [1] if their
 * scale is static; whether dynamic scales are each token's or the tensor's stands in config.json.
 *
 * <p>Codes of inputs are clamped to -127 .. 127 here, to -128 .. 127 there, and a dynamic scale is max|x| / 127 here, / 127.5 there.
 */
public final class CompressedTensors implements WeightReader {
    private static final String METHOD = PackQuantized.METHOD;

    /** How inputs are scaled, or null: they are floats. */
    private final ActivationScale activations;

    /** Of codes that are packed, or null: they are bytes. */
    private final GroupInt packed;

    /** For {@link java.util.ServiceLoader}. */
    public CompressedTensors() {
        this(ActivationScale.PER_TOKEN, null);
    }

    private CompressedTensors(ActivationScale activations, GroupInt packed) {
        this.activations = activations;
        this.packed = packed;
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
        GroupInt packed = null;
        Object format = group.get("format") != null ? group.get("format") : config.get("format");
        if (PackQuantized.FORMAT.equals(format)) {
            packed = PackQuantized.format(weights);
            if (inputs.isEmpty()) {
                return new CompressedTensors(null, packed);
            }
            if (!packed.symmetric()) {
                throw new IllegalArgumentException(
                        METHOD + ": weights " + weights + " must be symmetric where inputs are integers too");
            }
        } else {
            require(weights, "weights", "channel");
        }
        require(inputs, "input_activations", "token", "tensor");
        boolean tensor = "tensor".equals(inputs.get("strategy"));
        if (!Boolean.TRUE.equals(inputs.get("dynamic"))) {
            return new CompressedTensors(ActivationScale.STATIC, packed);
        }
        return new CompressedTensors(tensor ? ActivationScale.PER_TENSOR : ActivationScale.PER_TOKEN, packed);
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
        if (packed != null) {
            if (!PackQuantized.has(tensors)) {
                return Optional.empty();
            }
            GroupMatrix matrix = PackQuantized.read(packed, layer, out, in, tensors, arena);
            return Optional.of(
                    activations == null
                            ? new PackedWeight(packed, matrix)
                            : integers(layer, UniformMatrix.of(packed, matrix, arena), tensors, arena));
        }
        if (!tensors.containsKey("weight") || !tensors.containsKey("weight_scale")) {
            return Optional.empty();
        }
        Stored bytes = tensors.remove("weight");
        if (bytes.dtype() != DType.I8 || bytes.data().byteSize() != (long) out * in || in % 8 != 0) {
            throw new IllegalArgumentException(
                    layer + ".weight has " + bytes.data().byteSize() + " bytes of " + bytes.dtype() + ", not "
                            + (long) out * in + " of I8 in rows of a multiple of 8");
        }
        MemorySegment scales =
                PackQuantized.floats(layer + ".weight_scale", tensors.remove("weight_scale"), out, arena);
        return Optional.of(integers(layer, new UniformMatrix(bytes.data(), scales, out, in), tensors, arena));
    }

    private Weight integers(String layer, UniformMatrix matrix, Map<String, Stored> tensors, Arena arena) {
        float a = activations == ActivationScale.STATIC ? inputScale(layer, tensors.remove("input_scale"), arena) : 0;
        return ChosenLayers.at(layer, () -> W8A8Linear.stored(matrix, activations, a));
    }

    private static float inputScale(String layer, Stored stored, Arena arena) {
        String name = layer + ".input_scale";
        float a = PackQuantized.floats(name, stored, 1, arena).get(JAVA_FLOAT, 0);
        if (!(a > 0)) {
            throw new IllegalArgumentException(name + " " + a + " must be positive");
        }
        return a;
    }

    // ---------------------------------------------------------------- writing

    /**
     * How a layer of integers is written.
     *
     * @param bytes the codes if they are signed bytes in one group a row, else null
     */
    static Optional<FolderForm> form(UniformMatrix matrix, MemorySegment bytes, Inputs inputs) {
        if (bytes != null && matrix.grid().group() == Grid.PER_ROW) {
            return Optional.of(new Bytes(matrix, bytes, inputs));
        }
        return matrix.packed(inputs.args(), inputs.tensors());
    }

    /** What a file says of a layer's inputs; {@code scale} counts if it is static. */
    record Inputs(ActivationScale activations, float scale) {
        Map<String, Object> args() {
            String strategy = activations == ActivationScale.PER_TOKEN ? "token" : "tensor";
            return PackQuantized.args(8, true, strategy, activations != ActivationScale.STATIC);
        }

        Map<String, Stored> tensors() {
            return activations == ActivationScale.STATIC
                    ? Map.of("input_scale", new Stored(DType.F32, Arena.ofAuto().allocateFrom(JAVA_FLOAT, scale), 1))
                    : Map.of();
        }
    }

    /** A layer of 8-bit weights with one scale a row. */
    private record Bytes(UniformMatrix matrix, MemorySegment bytes, Inputs inputs) implements FolderForm {
        @Override
        public Map<String, Stored> tensors() {
            int out = matrix.rows(), in = matrix.cols();
            Map<String, Stored> all = new LinkedHashMap<>();
            all.put("weight", new Stored(DType.I8, bytes.asSlice(0, (long) out * in), out, in));
            all.put("weight_scale", new Stored(DType.F32, matrix.scales().asSlice(0, 4L * out), out, 1));
            all.putAll(inputs.tensors());
            return all;
        }

        @Override
        public Map<String, Object> config(List<String> plain) {
            Map<String, Object> weights = PackQuantized.args(8, true, "channel", false);
            return PackQuantized.config("int-quantized", weights, inputs.args(), plain);
        }
    }
}
