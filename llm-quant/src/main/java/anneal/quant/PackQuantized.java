package anneal.quant;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;

import anneal.kernels.GroupMatrix;
import anneal.nn.FolderForm;
import anneal.nn.Stored;
import anneal.tensor.DType;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;

/**
 * Integers by groups as the compressed-tensors library packs them ("format": "pack-quantized"), which vLLM and transformers read.
 *
 * <p>A layer [out, in] with codes of b bits has weight_packed (int32 [out, ceil(in b / 32)]: the codes of a row one after the other, the
 * first in the lowest bits), weight_scale [out, groups], weight_shape (int64 [2]), and without symmetry weight_zero_point (int32
 * [ceil(out b / 32), groups]: the zeros of a column packed in the same way). A symmetric code is the signed number plus 2^(b-1).
 *
 * <p>Codes of 4 and 8 bits are read where they lie if rows are whole words. Those of 3, 5, 6 and 7 bits run over the ends of words, as
 * the library has them now; older versions of it left bits free, and vLLM reads 4 and 8 bits alone.
 *
 * @param format of the codes
 * @param matrix makes them when they are written
 * @param inputs what config.json says of the layer's inputs; empty if they are floats
 * @param beside tensors that the inputs have
 */
public record PackQuantized(
        GroupInt format, Supplier<GroupMatrix> matrix, Map<String, Object> inputs, Map<String, Stored> beside)
        implements FolderForm {
    /** What config.json calls the layout. */
    public static final String FORMAT = "pack-quantized";

    /** "quant_method" of the library. */
    public static final String METHOD = "compressed-tensors";

    private static final String PACKED = "weight_packed", SCALE = "weight_scale";
    private static final String ZERO = "weight_zero_point", SHAPE = "weight_shape", ORDER = "weight_g_idx";

    private static final int WORD = 32;
    private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    // ---------------------------------------------------------------- writing

    @Override
    public Map<String, Stored> tensors() {
        GroupMatrix m = matrix.get();
        int out = m.rows(), groups = m.cols() / m.group(), words = words(m.cols(), m.bits());
        Map<String, Stored> all = new LinkedHashMap<>();
        all.put(PACKED, new Stored(DType.I32, packed(m, words), out, words));
        all.put(SCALE, new Stored(DType.F32, m.scales().asSlice(0, 4L * out * groups), out, groups));
        if (!format.symmetric()) {
            int high = words(out, m.bits());
            MemorySegment zeros = Arena.ofAuto().allocate(4L * high * groups);
            for (int g = 0; g < groups; g++) {
                int[] column = new int[out];
                for (int row = 0; row < out; row++) {
                    column[row] = m.zeros().get(JAVA_BYTE, (long) row * groups + g) & 0xff;
                }
                int[] some = pack(column, m.bits());
                for (int i = 0; i < high; i++) {
                    zeros.set(INT, 4 * ((long) i * groups + g), some[i]);
                }
            }
            all.put(ZERO, new Stored(DType.I32, zeros, high, groups));
        }
        MemorySegment shape = Arena.ofAuto().allocateFrom(ValueLayout.JAVA_LONG, out, m.cols());
        all.put(SHAPE, new Stored(DType.I64, shape, 2));
        all.putAll(beside);
        return all;
    }

    private static MemorySegment packed(GroupMatrix m, int words) {
        long bytes = 4L * m.rows() * words;
        if (inPlace(m.cols(), m.bits())) {
            return m.codes().asSlice(0, bytes);
        }
        MemorySegment to = Arena.ofAuto().allocate(bytes);
        for (int row = 0; row < m.rows(); row++) {
            int[] codes = new int[m.cols()];
            for (int i = 0; i < codes.length; i++) {
                codes[i] = m.code(row, i);
            }
            MemorySegment.copy(pack(codes, m.bits()), 0, to, INT, 4L * row * words, words);
        }
        return to;
    }

    @Override
    public Map<String, Object> config(List<String> plain) {
        Map<String, Object> weights =
                args(format.bits(), format.symmetric(), format.group() == GroupInt.ROW ? "channel" : "group", false);
        if (format.group() != GroupInt.ROW) {
            weights.put("group_size", format.group());
        }
        return config(FORMAT, weights, inputs, plain);
    }

    /** A "quantization_config" of one group: all layers but the plain ones. */
    public static Map<String, Object> config(
            String format, Map<String, Object> weights, Map<String, Object> inputs, List<String> plain) {
        Map<String, Object> group = new LinkedHashMap<>();
        group.put("format", format); // else the library infers another layout where inputs are integers
        group.put("input_activations", inputs.isEmpty() ? null : inputs);
        group.put("output_activations", null);
        group.put("targets", List.of("Linear"));
        group.put("weights", weights);
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("quant_method", METHOD);
        json.put("format", format);
        json.put("quantization_status", "compressed");
        json.put("config_groups", Map.of("group_0", group));
        json.put("ignore", plain);
        return json;
    }

    /** How config.json tells of integers; a map that can be added to. */
    public static Map<String, Object> args(int bits, boolean symmetric, String strategy, boolean dynamic) {
        Map<String, Object> args = new LinkedHashMap<>();
        args.put("num_bits", bits);
        args.put("type", "int");
        args.put("symmetric", symmetric);
        args.put("strategy", strategy);
        args.put("dynamic", dynamic);
        return args;
    }

    // ---------------------------------------------------------------- reading

    /**
     * The format that "weights" of a group in config.json tell of.
     *
     * @throws IllegalArgumentException if it is none of integers with a scale for each group or row
     */
    public static GroupInt format(Map<?, ?> weights) {
        int bits = integer(weights.get("num_bits")), size = integer(weights.get("group_size"));
        Object given = weights.get("strategy");
        String strategy = given != null ? given.toString() : size > 0 ? "group" : size == -1 ? "channel" : "tensor";
        boolean channel = strategy.equals("channel"), group = strategy.equals("group") && size > 0;
        if (bits < 2 || bits > 8 || !"int".equals(weights.get("type")) || !channel && !group) {
            throw new IllegalArgumentException(METHOD + ": weights " + weights
                    + " cannot be read; what can of " + FORMAT
                    + " is num_bits 2 to 8, type int, strategy channel, or group with a group_size");
        }
        return new GroupInt(bits, channel ? GroupInt.ROW : size, !Boolean.FALSE.equals(weights.get("symmetric")));
    }

    /** 0 if it is no whole number. */
    private static int integer(Object json) {
        return json instanceof Number n && n.doubleValue() == n.intValue() ? n.intValue() : 0;
    }

    /** True if the file has a layer in this layout. */
    public static boolean has(Map<String, Stored> tensors) {
        return tensors.containsKey(PACKED);
    }

    /**
     * The matrix [out, in] of a layer.
     *
     * @param layer path, for messages
     * @param tensors what the file has of the layer; what is read is taken out
     * @param arena where memory lives that is needed beside the file's
     * @throws IllegalArgumentException if tensors are missing or do not fit the shape, the format or one another
     */
    public static GroupMatrix read(
            GroupInt format, String layer, int out, int in, Map<String, Stored> tensors, Arena arena) {
        try {
            format.requireFits(in);
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException(layer + ": " + e.getMessage(), e);
        }
        int bits = format.bits(), groups = in / format.size(in), words = words(in, bits);
        requireShape(layer, tensors.remove(SHAPE), out, in);
        requireInOrder(layer, tensors.remove(ORDER), format.size(in));
        MemorySegment packed = words(layer, PACKED, tensors, out, words);
        MemorySegment scales = floats(layer + "." + SCALE, tensors.remove(SCALE), out * groups, arena);
        MemorySegment zeros = arena.allocate(Math.max(1, out * groups));
        if (format.symmetric()) {
            zeros.fill((byte) (1 << bits - 1));
        } else {
            zeros(words(layer, ZERO, tensors, words(out, bits), groups), zeros, out, groups, bits);
        }
        if (inPlace(in, bits)) {
            return new GroupMatrix(packed, scales, zeros, out, in, format.size(in), bits);
        }
        GroupMatrix blank = format.blank(out, in, arena);
        for (int row = 0; row < out; row++) {
            int[] some = new int[words];
            MemorySegment.copy(packed, INT, 4L * row * words, some, 0, words);
            format.put(blank, row, unpack(some, in, bits));
        }
        return new GroupMatrix(blank.codes(), scales, zeros, out, in, blank.group(), bits);
    }

    private static void zeros(MemorySegment packed, MemorySegment to, int out, int groups, int bits) {
        for (int g = 0; g < groups; g++) {
            int[] some = new int[words(out, bits)];
            for (int i = 0; i < some.length; i++) {
                some[i] = packed.get(INT, 4 * ((long) i * groups + g));
            }
            int[] column = unpack(some, out, bits);
            for (int row = 0; row < out; row++) {
                to.set(JAVA_BYTE, (long) row * groups + g, (byte) column[row]);
            }
        }
    }

    private static void requireShape(String layer, Stored s, int out, int in) {
        long[] shape = integers(layer, SHAPE, s);
        if (!Arrays.equals(shape, new long[] {out, in})) {
            throw new IllegalArgumentException(
                    layer + "." + SHAPE + " says " + Arrays.toString(shape) + ", not [" + out + ", " + in + "]");
        }
    }

    /** Groups are neighbours here: a file may name the group of each column, but not scatter them. */
    private static void requireInOrder(String layer, Stored s, int size) {
        if (s == null) {
            return;
        }
        long[] groups = integers(layer, ORDER, s);
        for (int i = 0; i < groups.length; i++) {
            if (groups[i] != -1 && groups[i] != i / size) { // -1: the library's mark of an order that is not used
                throw new IllegalArgumentException(layer + "." + ORDER + " puts column " + i + " into group "
                        + groups[i] + ": groups must be neighbours, each of " + size
                        + " columns (quantise without actorder \"group\")");
            }
        }
    }

    private static long[] integers(String layer, String name, Stored s) {
        require(layer + "." + name, s);
        if (s.dtype() != DType.I64 && s.dtype() != DType.I32) {
            throw new IllegalArgumentException(layer + "." + name + " is of " + s.dtype() + ", not of I64 or I32");
        }
        long[] values = new long[(int) (s.data().byteSize() / s.dtype().blockBytes())];
        for (int i = 0; i < values.length; i++) {
            values[i] = s.dtype() == DType.I32
                    ? s.data().get(INT, 4L * i)
                    : s.data().get(ValueLayout.JAVA_LONG_UNALIGNED, 8L * i);
        }
        return values;
    }

    private static MemorySegment words(String layer, String name, Map<String, Stored> tensors, int rows, int columns) {
        Stored s = tensors.remove(name);
        require(layer + "." + name, s);
        if (s.dtype() != DType.I32 || !Arrays.equals(s.shape(), new long[] {rows, columns})) {
            throw new IllegalArgumentException(layer + "." + name + " is " + Arrays.toString(s.shape()) + " of "
                    + s.dtype() + ", not [" + rows + ", " + columns + "] of I32");
        }
        return s.data();
    }

    /**
     * So many finite numbers as floats.
     *
     * @throws IllegalArgumentException if the file has no tensor of the name, or not that
     */
    public static MemorySegment floats(String name, Stored s, int count, Arena arena) {
        require(name, s);
        if (!s.dtype().isReal() || Arrays.stream(s.shape()).reduce(1, (a, b) -> a * b) != count) {
            throw new IllegalArgumentException(
                    name + " has the shape " + Arrays.toString(s.shape()) + " and not " + count + " numbers");
        }
        float[] values = new float[count];
        s.dtype().matrix(s.data(), 1, count).widen(0, 0, count, values, 0);
        for (float v : values) {
            if (!Float.isFinite(v)) {
                throw new IllegalArgumentException(name + " holds " + v + ": scales must be finite");
            }
        }
        return arena.allocateFrom(ValueLayout.JAVA_FLOAT, values);
    }

    private static void require(String name, Stored s) {
        if (s == null) {
            throw new IllegalArgumentException(name + " is missing");
        }
    }

    // ---------------------------------------------------------------- packing

    /** True if rows of codes are the same bytes here and there. */
    private static boolean inPlace(int cols, int bits) {
        return (bits == 4 || bits == 8) && cols * bits % WORD == 0;
    }

    private static int words(int count, int bits) {
        return Math.ceilDiv(count * bits, WORD);
    }

    private static int[] pack(int[] codes, int bits) {
        int[] words = new int[words(codes.length, bits)];
        for (int i = 0; i < codes.length; i++) {
            int word = i * bits / WORD, shift = i * bits % WORD;
            words[word] |= codes[i] << shift;
            if (shift + bits > WORD) {
                words[word + 1] |= codes[i] >>> WORD - shift;
            }
        }
        return words;
    }

    private static int[] unpack(int[] words, int count, int bits) {
        int[] codes = new int[count];
        for (int i = 0; i < count; i++) {
            int word = i * bits / WORD, shift = i * bits % WORD;
            int high = shift + bits > WORD ? words[word + 1] << WORD - shift : 0;
            codes[i] = (words[word] >>> shift | high) & (1 << bits) - 1;
        }
        return codes;
    }
}
