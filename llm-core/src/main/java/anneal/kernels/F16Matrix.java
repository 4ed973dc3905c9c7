package anneal.kernels;

import static anneal.kernels.LittleEndian.SHORT;

import java.lang.foreign.MemorySegment;

/**
 * A matrix of IEEE half-precision numbers.
 *
 * @param data row-major [rows, cols], little-endian, at any alignment
 */
public record F16Matrix(MemorySegment data, int rows, int cols) implements Matrix {
    @Override
    public void widen(int row, int col, int count, float[] dst, int at) {
        long from = 2 * ((long) row * cols + col);
        for (int i = 0; i < count; i++) {
            dst[at + i] = Float.float16ToFloat(data.get(SHORT, from + 2L * i));
        }
    }

    @Override
    public long bytes() {
        return 2L * rows * cols;
    }
}
