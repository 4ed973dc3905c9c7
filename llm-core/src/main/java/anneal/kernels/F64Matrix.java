package anneal.kernels;

import java.lang.foreign.MemorySegment;

/**
 * A matrix of IEEE doubles, read as floats.
 *
 * @param data row-major [rows, cols], little-endian, at any alignment
 */
public record F64Matrix(MemorySegment data, int rows, int cols) implements Matrix {
    @Override
    public void widen(int row, int col, int count, float[] dst, int at) {
        long from = 8 * ((long) row * cols + col);
        for (int i = 0; i < count; i++) {
            dst[at + i] = (float) data.get(LittleEndian.DOUBLE, from + 8L * i);
        }
    }

    @Override
    public long bytes() {
        return 8L * rows * cols;
    }
}
