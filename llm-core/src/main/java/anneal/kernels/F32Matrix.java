package anneal.kernels;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * A matrix of floats in native memory.
 *
 * @param data row-major [rows, cols]
 */
public record F32Matrix(MemorySegment data, int rows, int cols) implements Matrix {
    @Override
    public void widen(int row, int col, int count, float[] dst, int at) {
        MemorySegment.copy(data, ValueLayout.JAVA_FLOAT_UNALIGNED, 4L * ((long) row * cols + col), dst, at, count);
    }

    @Override
    public long bytes() {
        return 4L * rows * cols;
    }
}
