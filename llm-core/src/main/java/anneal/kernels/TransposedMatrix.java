package anneal.kernels;

/**
 * A matrix that is stored the other way round, such as GPT-2's weights [in, out]: a view, nothing is copied.
 *
 * <p>The fast tiers multiply with {@link #stored} by the opposite product; only what asks for single rows pays for the view.
 *
 * @param stored the matrix in memory, [cols, rows] of this view
 */
public record TransposedMatrix(Matrix stored) implements Matrix {
    /** wT: what is stored, if w is such a view itself. */
    static Matrix of(Matrix w) {
        return w instanceof TransposedMatrix t ? t.stored : new TransposedMatrix(w);
    }

    @Override
    public int rows() {
        return stored.cols();
    }

    @Override
    public int cols() {
        return stored.rows();
    }

    @Override
    public void widen(int row, int col, int count, float[] dst, int at) {
        int block = stored.block(), first = row / block * block;
        float[] numbers = new float[block];
        for (int i = 0; i < count; i++) {
            stored.widen(col + i, first, Math.min(block, stored.cols() - first), numbers, 0);
            dst[at + i] = numbers[row - first];
        }
    }

    @Override
    public long bytes() {
        return stored.bytes();
    }
}
