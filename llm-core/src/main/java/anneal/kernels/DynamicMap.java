package anneal.kernels;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;

/**
 * 256 values in [-1, 1] or [0, 1], close together near zero and far apart near one, and the blocks of bytes that stand for them:
 * every block of numbers shares one float, the largest magnitude of the block.
 *
 * <pre>
 * scale = max |x| of the block          code = nearest(x / scale)          x' = value[code] scale
 * </pre>
 *
 * <p>The values: decade i (of seven, the largest 0.1 .. 1) is cut into 2^i equal parts (2^(i+1) without a sign), of which the
 * middles are taken, with both signs if there are any; 0 and 1 are added. So each power of ten has another share between exponent
 * and fraction: Dettmers, arXiv:1511.04561; blocks: Dettmers et al., arXiv:2110.02861.
 *
 * <p>{@code nearest} is as bitsandbytes' CPU code has it, so that codes are equal: x / scale is rounded to one of 65,536 evenly spaced
 * points of [-1, 1] first, and the value nearest to that point is taken. Two things follow. A number just beside the middle of two
 * values can get the other one, and what is smaller than 1.5e-5 of the scale becomes the value nearest to that. It differs here in one
 * case: an exact zero stays zero where there is a sign, so that what has no gradient does not begin to move.
 */
public final class DynamicMap {
    /** Values with both signs: means of gradients, weights, what is left of scales when their mean is taken away. */
    public static final DynamicMap SIGNED = new DynamicMap(true);

    /** Values from zero on: means of squares. */
    public static final DynamicMap UNSIGNED = new DynamicMap(false);

    private static final int DECADES = 7;
    private static final int POINTS = 1 << 16;
    private static final float HALF = (POINTS - 1) / 2f;

    /** Blocks of a task. */
    private static final int TASK = 64;

    private final float[] values;
    private final byte[] nearest = new byte[POINTS];
    private final byte zero;

    private DynamicMap(boolean signed) {
        values = values(signed);
        int code = 0;
        for (int point = 0; point < POINTS; point++) {
            double x = point / (double) HALF - 1;
            while (code < 255 && x > ((double) values[code] + values[code + 1]) / 2) {
                code++;
            }
            nearest[point] = (byte) code;
        }
        zero = signed ? (byte) Arrays.binarySearch(values, 0f) : nearest[POINTS / 2];
    }

    private static float[] values(boolean signed) {
        float[] all = new float[256];
        int n = 0;
        for (int decade = 0; decade < DECADES; decade++) {
            int parts = 1 << (signed ? decade : decade + 1);
            float size = (float) Math.pow(10, decade - DECADES + 1);
            for (int i = 0; i < parts; i++) {
                float middle = size * ((edge(i, parts) + edge(i + 1, parts)) / 2);
                all[n++] = middle;
                if (signed) {
                    all[n++] = -middle;
                }
            }
        }
        all[n] = 0;
        all[n + 1] = 1;
        Arrays.sort(all);
        return all;
    }

    /** Edge i of the parts of [0.1, 1], counted from the nearer end: the rounding of torch.linspace. */
    private static float edge(int i, int parts) {
        float step = (1f - 0.1f) / parts;
        return i < (parts + 1) / 2 ? Math.fma(step, i, 0.1f) : Math.fma(-step, parts - i, 1f);
    }

    /** The value that a code stands for, between -1 and 1. */
    public float value(int code) {
        return values[code];
    }

    /** All 256 values, ascending. */
    public float[] values() {
        return values.clone();
    }

    /** The code of x, in [-1, 1]. */
    public int code(float x) {
        return Byte.toUnsignedInt(x == 0 ? zero : nearest[point(x)]);
    }

    private static int point(float x) {
        return (int) ((x + 1) * HALF + 0.5f);
    }

    /**
     * The codes of one block.
     *
     * @return the scale, which is NaN if one of the numbers is
     */
    public float quantize(float[] x, int from, int count, byte[] codes, int at) {
        float scale = 0;
        for (int i = 0; i < count; i++) {
            scale = Math.max(scale, Math.abs(x[from + i]));
        }
        if (scale == 0) {
            Arrays.fill(codes, at, at + count, (byte) 0); // as bitsandbytes has it; times 0 any code is 0
            return scale;
        }
        for (int i = 0; i < count; i++) {
            float part = x[from + i] / scale;
            codes[at + i] = part == 0 ? zero : nearest[point(part)];
        }
        return scale;
    }

    /** The numbers of one block. */
    public void dequantize(byte[] codes, int at, int count, float scale, float[] x, int to) {
        for (int i = 0; i < count; i++) {
            x[to + i] = values[codes[at + i] & 0xff] * scale;
        }
    }

    /** Number of blocks, the last of which may be short. */
    public static long blocks(long n, int block) {
        return Math.ceilDiv(n, block);
    }

    /**
     * Codes of n floats in blocks of {@code block}.
     *
     * @param codes n bytes
     * @param scales one float for each block
     * @param x n floats
     */
    public void quantize(MemorySegment codes, MemorySegment scales, MemorySegment x, long n, int block) {
        byBlocks(n, block, (from, count, floats, bytes) -> {
            MemorySegment.copy(x, JAVA_FLOAT_UNALIGNED, 4 * from, floats, 0, count);
            for (int at = 0; at < count; at += block) {
                float scale = quantize(floats, at, Math.min(block, count - at), bytes, at);
                scales.setAtIndex(JAVA_FLOAT_UNALIGNED, (from + at) / block, scale);
            }
            MemorySegment.copy(bytes, 0, codes, JAVA_BYTE, from, count);
        });
    }

    /** The n floats x that codes and scales stand for. */
    public void dequantize(MemorySegment x, MemorySegment codes, MemorySegment scales, long n, int block) {
        byBlocks(n, block, (from, count, floats, bytes) -> {
            MemorySegment.copy(codes, JAVA_BYTE, from, bytes, 0, count);
            for (int at = 0; at < count; at += block) {
                float scale = scales.getAtIndex(JAVA_FLOAT_UNALIGNED, (from + at) / block);
                dequantize(bytes, at, Math.min(block, count - at), scale, floats, at);
            }
            MemorySegment.copy(floats, 0, x, JAVA_FLOAT_UNALIGNED, 4 * from, count);
        });
    }

    private interface Blocks {
        /** Some whole blocks, the last of all perhaps short. */
        void run(long from, int count, float[] floats, byte[] bytes);
    }

    private static void byBlocks(long n, int block, Blocks body) {
        int size = TASK * block;
        Parallel.run(Math.toIntExact(Math.ceilDiv(n, size)), task -> {
            long from = (long) task * size;
            int count = (int) Math.min(size, n - from);
            body.run(from, count, new float[count], new byte[count]);
        });
    }
}
