package anneal.kernels;

import static anneal.kernels.LittleEndian.SHORT;

import java.lang.foreign.MemorySegment;

/**
 * A matrix of bfloat16 numbers: the upper halves of IEEE singles.
 *
 * @param data row-major [rows, cols], little-endian, at any alignment
 */
public record BF16Matrix(MemorySegment data, int rows, int cols) implements Matrix {
    /** The nearest bfloat16, ties to even; NaN stays NaN, what rounds above the largest value becomes infinite. */
    public static short bits(float x) {
        return (short) (Float.floatToRawIntBits(Rounding.bfloat(x)) >>> 16);
    }

    @Override
    public void widen(int row, int col, int count, float[] dst, int at) {
        long from = 2 * ((long) row * cols + col);
        for (int i = 0; i < count; i++) {
            dst[at + i] = Float.intBitsToFloat(data.get(SHORT, from + 2L * i) << 16);
        }
    }

    @Override
    public long bytes() {
        return 2L * rows * cols;
    }
}
