package anneal.kernels.emit;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;

import anneal.kernels.emit.RowProducts.Layout;
import java.lang.foreign.MemorySegment;

/**
 * One row's product by plain loops in double precision, and how far float arithmetic may be from it.
 *
 * @param sum the inner product; with 8 bits that of the rounded x
 * @param tolerance with 8 bits one millionth of the sums of four products, which are exact integers, else what sums of floats of
 *     this length may lose
 */
record RowReference(double sum, double tolerance) {
    /** Where a block has halves. */
    static int[] halves(Layout layout) {
        return switch (layout) {
            case Q4_0, Q5_0, Q8_0 -> new int[] {0};
            case Q4_1, Q5_1, Q4_K, Q5_K -> new int[] {0, 2};
            case Q6_K -> new int[] {208};
        };
    }

    /** 32 numbers x as 8 bits. */
    record Rounded(float d, byte[] codes) {}

    static Rounded rounded(MemorySegment x, int group) {
        float max = 0;
        for (int i = 0; i < 32; i++) {
            max = Math.max(max, Math.abs(x.getAtIndex(JAVA_FLOAT, 32L * group + i)));
        }
        float inverse = Math.min(127 / max, Float.MAX_VALUE);
        byte[] codes = new byte[32];
        for (int i = 0; i < 32; i++) {
            codes[i] = (byte) Math.rint(x.getAtIndex(JAVA_FLOAT, 32L * group + i) * inverse);
        }
        return new Rounded(max / 127, codes);
    }

    /** The product of the row at byte {@code at} with x. */
    static RowReference of(RowProductsTest.Kind kind, MemorySegment w, long at, MemorySegment x) {
        Layout layout = kind.layout();
        int n = (int) (x.byteSize() / 4);
        double sum = 0, size = 0;
        for (int i = 0; i < n; i += 4) {
            long block = at + (long) i / layout.size() * layout.bytes();
            int in = i % layout.size();
            double factor = factor(layout, w, block, in), minimum = minimum(layout, w, block, in);
            Rounded rounded = kind.eightBits() ? rounded(x, i / 32) : null;
            double products = 0, plain = 0;
            for (int j = 0; j < 4; j++) {
                double xj = rounded == null ? x.getAtIndex(JAVA_FLOAT, i + j) : rounded.codes[i % 32 + j];
                int code = code(layout, w, block, in + j);
                products += code * xj;
                plain += xj;
                size += rounded == null ? Math.abs(factor * code * xj) + Math.abs(minimum * xj) : 0;
            }
            double d = rounded == null ? 1 : rounded.d;
            sum += d * (factor * products + minimum * plain);
            size += rounded == null ? 0 : d * (Math.abs(factor * products) + Math.abs(minimum * plain));
        }
        // below the smallest normal float nothing is relative; a float code of Q4_0 and Q6_K is exact too
        return new RowReference(sum, 1e-37 + size * (kind.eightBits() ? 1e-6 : 0x1p-23 * (8 + Math.sqrt(n))));
    }

    private static double half(MemorySegment w, long at) {
        return Float.float16ToFloat(w.get(JAVA_SHORT_UNALIGNED, at));
    }

    private static int u8(MemorySegment w, long at) {
        return w.get(JAVA_BYTE, at) & 255;
    }

    private static double factor(Layout layout, MemorySegment w, long block, int i) {
        return switch (layout) {
            case Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 -> half(w, block);
            case Q4_K, Q5_K -> half(w, block) * sixBits(w, block + 4, i / 32);
            case Q6_K -> half(w, block + 208) * w.get(JAVA_BYTE, block + 192 + i / 16);
        };
    }

    private static double minimum(Layout layout, MemorySegment w, long block, int i) {
        return switch (layout) {
            case Q4_0, Q5_0, Q8_0, Q6_K -> 0;
            case Q4_1, Q5_1 -> half(w, block + 2);
            case Q4_K, Q5_K -> -half(w, block + 2) * sixBits(w, block + 4, 8 + i / 32);
        };
    }

    /** Number i of eight scales and eight minima in twelve bytes. */
    private static int sixBits(MemorySegment w, long at, int i) {
        int upper = i % 8 < 4 ? 0 : u8(w, at + (i < 8 ? i - 4 : i - 8)) >> 6;
        if (i % 8 < 4) {
            return u8(w, at + (i < 8 ? i : i - 4)) & 63;
        }
        int both = u8(w, at + 4 + i % 8);
        return (i < 8 ? both & 15 : both >> 4) | upper << 4;
    }

    /** What a factor is multiplied with. */
    private static int code(Layout layout, MemorySegment w, long block, int i) {
        return switch (layout) {
            case Q4_0, Q4_1 -> {
                int both = u8(w, block + layout.bytes() - 16 + i % 16);
                yield (i < 16 ? both & 15 : both >> 4) - (layout == Layout.Q4_0 ? 8 : 0);
            }
            case Q5_0, Q5_1 -> {
                int both = u8(w, block + layout.bytes() - 16 + i % 16);
                int fifth = u8(w, block + layout.bytes() - 20 + i / 8) >> i % 8 & 1;
                yield (i < 16 ? both & 15 : both >> 4) + 16 * fifth - (layout == Layout.Q5_0 ? 16 : 0);
            }
            case Q8_0 -> w.get(JAVA_BYTE, block + 2 + i);
            case Q5_K ->
                u8(w, block + 48 + i / 64 * 32 + i % 32) >> i / 32 % 2 * 4 & 15
                        | (u8(w, block + 16 + i % 32) >> i / 32 & 1) << 4;
            case Q4_K -> u8(w, block + 16 + i / 64 * 32 + i % 32) >> i / 32 % 2 * 4 & 15;
            case Q6_K -> {
                int quarter = i / 32 % 4, low = u8(w, block + i / 128 * 64 + quarter % 2 * 32 + i % 32);
                int high = u8(w, block + 128 + i / 128 * 32 + i % 32) >> 2 * quarter & 3;
                yield (low >> quarter / 2 * 4 & 15 | high << 4) - 32;
            }
        };
    }
}
