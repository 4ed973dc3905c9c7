package anneal.kernels;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/**
 * A matrix of floats, in native memory or in a file.
 *
 * @param data row-major [rows, cols], little-endian, at any alignment
 */
public record F32Matrix(MemorySegment data, int rows, int cols) implements Matrix {
    private static final ValueLayout.OfFloat FLOAT =
            ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    @Override
    public void widen(int row, int col, int count, float[] dst, int at) {
        MemorySegment.copy(data, FLOAT, 4L * ((long) row * cols + col), dst, at, count);
    }

    @Override
    public long bytes() {
        return 4L * rows * cols;
    }
}
