package anneal.quant;

import anneal.kernels.CodebookMatrix;
import anneal.kernels.DynamicMap;
import anneal.kernels.Matrix;
import anneal.kernels.Scales;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;

/**
 * A table of 16 numbers, and how others are rounded to it: each block of a matrix is divided by its largest absolute value, and every
 * number becomes the code of the nearest of the 16. Dettmers et al., arXiv:2305.14314, section 3.
 *
 * <p>Codes, scales and the double quantisation of scales are those of bitsandbytes, bit for bit: the first of two codes in the upper
 * half of a byte, blocks over the whole matrix whatever its rows, of two equally near numbers the smaller one.
 */
enum FourBit {
    /** Quantiles of the normal distribution: as many numbers of a normal weight for each code. */
    NF4(CodebookMatrix.NF4),
    /** Floats with a sign, two bits of exponent and one of fraction. */
    FP4(CodebookMatrix.FP4);

    /** Scales that share a nested scale. */
    static final int NESTED_BLOCK = 256;

    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;

    /** What bitsandbytes divides a last, shorter block by if all of it is zero. */
    private static final float LEAST = 1e-38f;

    /** Parts of [-1, 1] that are so narrow that no two middles between neighbours fall into one: one comparison is left. */
    private static final int PARTS = 1024;

    private final List<Float> table;
    /** The middle that falls into a part, or infinity: what lies above it has the upper code, all else the lower one. */
    private final float[] middle = new float[PARTS + 1];

    private final byte[] lower = new byte[PARTS + 1], upper = new byte[PARTS + 1];

    FourBit(List<Float> table) {
        this.table = table;
        int[] codes = IntStream.range(0, 16)
                .boxed()
                .sorted(Comparator.comparing(
                        i -> table.get(i) + 0f)) // the two zeros of FP4 are equal, whatever their sign
                .mapToInt(i -> i)
                .toArray();
        Arrays.fill(middle, Float.POSITIVE_INFINITY);
        int from = 0;
        for (int i = 0; i < 15; i++) {
            float between = (table.get(codes[i]) + table.get(codes[i + 1])) / 2;
            int part = part(between);
            middle[part] = between;
            Arrays.fill(lower, from, part + 1, (byte) codes[i]);
            upper[part] = (byte) codes[i + 1];
            from = part + 1;
        }
        Arrays.fill(lower, from, PARTS + 1, (byte) codes[15]);
    }

    /** The 16 numbers by code. */
    List<Float> table() {
        return table;
    }

    private static int part(float x) {
        return Math.min(Math.max((int) ((x + 1) * (PARTS / 2)), 0), PARTS);
    }

    /** Quantises a matrix. */
    CodebookMatrix quantize(Matrix w, int blockSize, boolean doubleQuant, Arena arena) {
        long numbers = (long) w.rows() * w.cols();
        Arena scaleArena = doubleQuant ? Arena.ofAuto() : arena;
        Blocks to = new Blocks(
                arena.allocate(Math.ceilDiv(numbers, 2L), 64),
                scaleArena.allocate(4 * Math.ceilDiv(numbers, (long) blockSize), 64),
                blockSize);
        FlatFloats.forEach(w, blockSize, (x, at, first, count) -> {
            for (int i = 0; i < count; i += blockSize) {
                block(x, at + i, first + i, Math.min(blockSize, count - i), to);
            }
        });
        Scales scales = doubleQuant ? nested(to.absmax, arena) : new Scales.Plain(to.absmax);
        return new CodebookMatrix(to.packed, scales, w.rows(), w.cols(), blockSize, table);
    }

    private record Blocks(MemorySegment packed, MemorySegment absmax, int blockSize) {}

    /** The largest magnitude, of finite numbers: a comparison that is seldom true costs far less than Math.max, which thinks of NaN. */
    private static float largest(float[] x, int at, int count) {
        float largest = 0;
        for (int i = at; i < at + count; i++) {
            float size = Math.abs(x[i]);
            if (size > largest) {
                largest = size;
            }
        }
        return largest;
    }

    /** Numbers [first, first + count) of the matrix, which stand in x[at ..] and are divided by their scale there. */
    private void block(float[] x, int at, long first, int count, Blocks to) {
        float max = largest(x, at, count);
        boolean whole = count == to.blockSize;
        float divisor = Math.max(max, LEAST), inverse = 1 / divisor;
        to.absmax.set(FLOAT, 4 * (first / to.blockSize), whole ? max : divisor);
        for (int i = at; i < at + count; i++) {
            x[i] = whole ? x[i] * inverse : x[i] / divisor; // as bitsandbytes: the last bit can differ
        }
        byte[] bytes = new byte[(count + 1) / 2];
        pack(x, at, count, bytes, middle, lower, upper);
        MemorySegment.copy(bytes, 0, to.packed, ValueLayout.JAVA_BYTE, first / 2, bytes.length);
    }

    /** Codes of numbers in [-1, 1], two in a byte. Arrays are arguments so that compiled code need not read the fields each time. */
    private static void pack(float[] x, int at, int count, byte[] to, float[] middle, byte[] lower, byte[] upper) {
        for (int i = 0; i < count; i += 2) {
            float first = x[at + i], second = i + 1 < count ? x[at + i + 1] : 0;
            int p = part(first), q = part(second);
            int high = first > middle[p] ? upper[p] : lower[p], low = second > middle[q] ? upper[q] : lower[q];
            to[i / 2] = (byte) (high << 4 | low);
        }
    }

    /** Double quantisation: scales less their mean become codes of the dynamic map, {@link #NESTED_BLOCK} with one nested scale. */
    private static Scales nested(MemorySegment absmax, Arena arena) {
        long count = absmax.byteSize() / 4;
        float offset = CascadeSum.of(absmax, count) / count;
        MemorySegment centred = Arena.ofAuto().allocate(absmax.byteSize(), 4);
        for (long i = 0; i < count; i++) {
            centred.set(FLOAT, 4 * i, absmax.get(FLOAT, 4 * i) - offset);
        }
        DynamicMap map = DynamicMap.SIGNED;
        MemorySegment codes = arena.allocate(Math.max(1, count));
        MemorySegment scales = arena.allocate(4 * Math.max(1, DynamicMap.blocks(count, NESTED_BLOCK)), 4);
        map.quantize(codes, scales, centred, count, NESTED_BLOCK);
        MemorySegment table = arena.allocateFrom(ValueLayout.JAVA_FLOAT, map.values());
        return new Scales.Nested(codes, scales, table, offset, NESTED_BLOCK);
    }
}
