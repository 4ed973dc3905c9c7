package anneal.quant;

import anneal.kernels.BlockFormat;
import anneal.kernels.PlainBlock;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/**
 * Floats into GGUF's blocks of 32 with one scale d, and in the formats whose name ends in 1 one minimum m. Codes are computed with the
 * scale as it is before it is rounded to 16 bits, as the gguf package does.
 */
final class PlainBlocks {
    static final ValueLayout.OfShort SHORT = ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    static final ValueLayout.OfByte BYTE = ValueLayout.JAVA_BYTE;
    private static final int SIZE = PlainBlock.SIZE;

    private PlainBlocks() {}

    /** Writes the block of the 32 floats from {@code at}. */
    static void write(BlockFormat format, float[] x, int at, MemorySegment to, long byteAt) {
        switch (format) {
            case Q4_0, Q5_0 -> symmetric(format, x, at, to, byteAt);
            case Q4_1, Q5_1 -> withMinimum(format, x, at, to, byteAt);
            case Q8_0 -> bytes(x, at, to, byteAt);
            default -> throw new AssertionError(format + " is no plain format");
        }
    }

    /** d maps the number of the largest absolute value to the lowest code: d = x / -2^(bits-1), code = x / d + 2^(bits-1). */
    private static void symmetric(BlockFormat format, float[] x, int at, MemorySegment to, long byteAt) {
        float largest = 0;
        for (int i = 0; i < SIZE; i++) {
            if (Math.abs(x[at + i]) > Math.abs(largest)) {
                largest = x[at + i];
            }
        }
        int half = 1 << PlainBlock.bits(format) - 1;
        float d = largest / -half, inverse = d == 0 ? 0 : 1 / d;
        int[] codes = new int[SIZE];
        for (int i = 0; i < SIZE; i++) {
            codes[i] = Math.min(2 * half - 1, (int) (x[at + i] * inverse + (half + 0.5f)));
        }
        PlainBlock.put(format, d, 0, codes, to, byteAt);
    }

    /** d = (max - min) / (2^bits - 1), code = (x - min) / d. */
    private static void withMinimum(BlockFormat format, float[] x, int at, MemorySegment to, long byteAt) {
        float min = x[at], max = x[at];
        for (int i = 1; i < SIZE; i++) {
            min = Math.min(min, x[at + i]);
            max = Math.max(max, x[at + i]);
        }
        int most = (1 << PlainBlock.bits(format)) - 1;
        float d = (max - min) / most, inverse = d == 0 ? 0 : 1 / d;
        int[] codes = new int[SIZE];
        for (int i = 0; i < SIZE; i++) {
            codes[i] = Math.min(most, (int) ((x[at + i] - min) * inverse + 0.5f));
        }
        PlainBlock.put(format, d, min, codes, to, byteAt);
    }

    /** d = max |x| / 127; halves are rounded away from zero. */
    private static void bytes(float[] x, int at, MemorySegment to, long byteAt) {
        float max = 0;
        for (int i = 0; i < SIZE; i++) {
            max = Math.max(max, Math.abs(x[at + i]));
        }
        float d = max / 127, inverse = d == 0 ? 0 : 1 / d;
        to.set(SHORT, byteAt, PlainBlock.half(d));
        for (int i = 0; i < SIZE; i++) {
            float q = x[at + i] * inverse, size = Math.abs(q);
            int code = (int) size;
            code += size - code >= 0.5f ? 1 : 0; // adding 0.5 first would round once more
            to.set(BYTE, byteAt + 2 + i, (byte) (q < 0 ? -code : code));
        }
    }
}
