package anneal.kernels;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import java.lang.foreign.MemorySegment;

/** How a number becomes an operand of lower precision, in plain loops; results are floats. */
final class Rounding {
    /** Numbers of x that share a scale in {@link Compute#INT8}. */
    static final int BLOCK = 32;

    private Rounding() {}

    /** The nearest bfloat16, ties to even; NaN stays NaN, what rounds above the largest value becomes infinite. */
    static float bfloat(float x) {
        int bits = Float.floatToRawIntBits(x);
        // The upper half goes up where the lower one is above one half, or is one half and the upper one is odd.
        // A NaN must not be counted up: its upper half is made a quiet NaN.
        int rounded = Float.isNaN(x) ? bits | 0x400000 : bits + 0x7FFF + (bits >>> 16 & 1);
        return Float.intBitsToFloat(rounded & 0xFFFF0000);
    }

    /** {@link #bfloat} of {@code count} floats of an array, in place. */
    static void bfloats(float[] x, int at, int count) {
        for (int i = at; i < at + count; i++) {
            x[i] = bfloat(x[i]);
        }
    }

    /** See {@link Kernels#round}. */
    static void round(MemorySegment y, MemorySegment x, long n, Compute compute) {
        switch (compute) {
            case F32 -> MemorySegment.copy(x, 0, y, 0, 4 * n);
            case BF16 -> {
                for (long i = 0; i < n; i++) {
                    y.setAtIndex(JAVA_FLOAT, i, bfloat(x.getAtIndex(JAVA_FLOAT, i)));
                }
            }
            case INT8 -> {
                for (long at = 0; at < n; at += BLOCK) {
                    int8(y, x, at);
                }
            }
        }
    }

    private static void int8(MemorySegment y, MemorySegment x, long at) {
        float most = 0;
        for (int i = 0; i < BLOCK; i++) {
            most = Math.max(most, Math.abs(x.getAtIndex(JAVA_FLOAT, at + i)));
        }
        float scale = scale(most), inverse = inverse(most);
        for (int i = 0; i < BLOCK; i++) {
            float code = (float) Math.rint(x.getAtIndex(JAVA_FLOAT, at + i) * inverse);
            y.setAtIndex(JAVA_FLOAT, at + i, scale * code);
        }
    }

    /** What a code of a block is multiplied with whose largest magnitude is this. */
    static float scale(float most) {
        return most / 127;
    }

    /** What numbers are multiplied with to become codes: 127 / most, or 0 where that would be infinite. */
    static float inverse(float most) {
        float inverse = 127 / most;
        return inverse == Float.POSITIVE_INFINITY ? 0 : inverse;
    }
}
