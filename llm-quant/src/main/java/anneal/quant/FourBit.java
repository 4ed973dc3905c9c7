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

    /** Numbers whose codes are found at a time: they stay in the nearest cache. Even, since two codes make a byte. */
    private static final int SOME = 2048;

    private final List<Float> table;
    /** Codes, by the size of their numbers. */
    private final byte[] codes = new byte[16];
    /** Keys of the middles between neighbours, by size. */
    private final int[] middles = new int[15];

    FourBit(List<Float> table) {
        this.table = table;
        List<Integer> sorted = IntStream.range(0, 16)
                .boxed()
                .sorted(Comparator.comparing(
                        i -> table.get(i) + 0f)) // the two zeros of FP4 are equal, whatever their sign
                .toList();
        for (int i = 0; i < 16; i++) {
            codes[i] = sorted.get(i).byteValue();
        }
        for (int i = 0; i < 15; i++) {
            float middle = (table.get(codes[i]) + table.get(codes[i + 1])) / 2;
            middles[i] = key(Float.floatToRawIntBits(middle + 0f));
        }
    }

    /** An integer in place of a float's bits: of two floats the larger one has the larger integer. Not for -0. */
    private static int key(int bits) {
        return bits ^ bits >> 31 >>> 1;
    }

    /** The 16 numbers by code. */
    List<Float> table() {
        return table;
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
                divide(x, at + i, first + i, Math.min(blockSize, count - i), to);
            }
            byte[] bytes = pack(x, at, count);
            MemorySegment.copy(bytes, 0, to.packed, ValueLayout.JAVA_BYTE, first / 2, bytes.length);
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

    /** Divides the block that begins at number {@code first} of the matrix, and at x[at], by its scale; -0 becomes 0. */
    private static void divide(float[] x, int at, long first, int count, Blocks to) {
        float max = largest(x, at, count);
        boolean whole = count == to.blockSize;
        float divisor = Math.max(max, LEAST), inverse = 1 / divisor;
        to.absmax.set(FLOAT, 4 * (first / to.blockSize), whole ? max : divisor);
        if (whole) {
            for (int i = at; i < at + count; i++) {
                x[i] = x[i] * inverse + 0f;
            }
        } else { // as bitsandbytes: the last bit can differ
            for (int i = at; i < at + count; i++) {
                x[i] = x[i] / divisor + 0f;
            }
        }
    }

    /**
     * Codes of numbers in [-1, 1], two in a byte: the place of a number among the 16 is how many middles lie below it, counted for all
     * numbers at once by the signs of differences, which is vector code and has no branches.
     */
    private byte[] pack(float[] x, int at, int count) {
        byte[] bytes = new byte[(count + 1) / 2];
        int[] keys = new int[SOME], places = new int[SOME];
        MemorySegment from = MemorySegment.ofArray(x), to = MemorySegment.ofArray(keys);
        for (int i = 0; i < count; i += SOME) {
            int some = Math.min(SOME, count - i);
            MemorySegment.copy(from, 4L * (at + i), to, 0, 4L * some);
            if (some % 2 == 1) {
                keys[some] = 0; // the second number of the last byte
            }
            places(keys, places);
            for (int j = 0; j < some; j += 2) {
                bytes[(i + j) / 2] = (byte) (codes[places[j]] << 4 | codes[places[j + 1]]);
            }
        }
        return bytes;
    }

    private void places(int[] keys, int[] places) {
        for (int i = 0; i < keys.length; i++) {
            keys[i] = key(keys[i]);
        }
        Arrays.fill(places, 0);
        for (int m = 0; m < middles.length; m += 5) {
            count(keys, places, middles[m], middles[m + 1], middles[m + 2], middles[m + 3], middles[m + 4]);
        }
    }

    /** How many of five middles lie below each key is added to its place: below has a difference with the sign bit. */
    private static void count(int[] keys, int[] places, int a, int b, int c, int d, int e) {
        for (int i = 0; i < keys.length; i++) {
            int key = keys[i];
            places[i] += (a - key >>> 31) + (b - key >>> 31) + (c - key >>> 31) + (d - key >>> 31) + (e - key >>> 31);
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
