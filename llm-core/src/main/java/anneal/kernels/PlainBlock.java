package anneal.kernels;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** The bytes of one block of 32 codes in GGUF's plain formats, Q4_0 to Q8_0: what {@link BlockFormat} widens. */
public final class PlainBlock {
    /** Codes of a block. */
    public static final int SIZE = 32;

    private PlainBlock() {}

    /** Bits of a code; 0 for formats of another kind. */
    public static int bits(BlockFormat format) {
        return switch (format) {
            case Q4_0, Q4_1 -> 4;
            case Q5_0, Q5_1 -> 5;
            case Q8_0 -> 8;
            default -> 0;
        };
    }

    /** True for the formats whose middle code is zero: they have no minimum. */
    public static boolean symmetric(BlockFormat format) {
        return format != BlockFormat.Q4_1 && format != BlockFormat.Q5_1;
    }

    /**
     * Writes a block. Numbers i and i + 16 share a byte; fifth bits come first, together.
     *
     * @param d what a code is multiplied with, rounded to 16 bits
     * @param m what is added then, in formats that have a minimum
     * @param codes 0 .. 2^bits - 1 each
     * @throws IllegalArgumentException if d or m is beyond 16 bits
     */
    public static void put(BlockFormat format, float d, float m, int[] codes, MemorySegment to, long byteAt) {
        to.set(LittleEndian.SHORT, byteAt, half(d));
        long at = byteAt + 2;
        if (!symmetric(format)) {
            to.set(LittleEndian.SHORT, at, half(m));
            at += 2;
        }
        if (bits(format) == 8) {
            for (int i = 0; i < SIZE; i++) {
                to.set(ValueLayout.JAVA_BYTE, at + i, (byte) (codes[i] - 128));
            }
            return;
        }
        if (bits(format) == 5) {
            int fifths = 0;
            for (int i = 0; i < SIZE; i++) {
                fifths |= codes[i] >> 4 << i;
            }
            to.set(LittleEndian.INT, at, fifths);
            at += 4;
        }
        for (int i = 0; i < SIZE / 2; i++) {
            to.set(ValueLayout.JAVA_BYTE, at + i, (byte) (codes[i] & 15 | (codes[i + SIZE / 2] & 15) << 4));
        }
    }

    /** A scale in 16 bits, which must not become infinite. */
    public static short half(float x) {
        short half = Float.floatToFloat16(x);
        if ((half & 0x7FFF) == 0x7C00) {
            throw new IllegalArgumentException("quantize: a scale of " + x + " is beyond the 16 bits of GGUF's blocks");
        }
        return half;
    }
}
