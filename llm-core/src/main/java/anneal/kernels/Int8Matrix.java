package anneal.kernels;

import static anneal.kernels.LittleEndian.FLOAT;
import static anneal.kernels.LittleEndian.i8;

import java.lang.foreign.MemorySegment;

/**
 * Signed bytes times a scale of their row: code * (absmax / 127).
 *
 * @param codes rows * cols signed bytes
 * @param absmax one float for each row: its largest absolute value
 */
public record Int8Matrix(MemorySegment codes, MemorySegment absmax, int rows, int cols) implements Matrix {
    @Override
    public void widen(int row, int col, int count, float[] dst, int at) {
        float scale = scale(row);
        long from = (long) row * cols + col;
        for (int i = 0; i < count; i++) {
            dst[at + i] = i8(codes, from + i) * scale;
        }
    }

    /** The scale of a row. */
    public float scale(int row) {
        return absmax.get(FLOAT, 4L * row) / 127;
    }

    @Override
    public long bytes() {
        return (long) rows * cols + 4L * rows;
    }
}
