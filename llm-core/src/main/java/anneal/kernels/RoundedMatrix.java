package anneal.kernels;

/**
 * A matrix whose numbers are rounded to bfloat16 as they are widened: a view, nothing is copied.
 *
 * @param stored the matrix in memory
 */
record RoundedMatrix(Matrix stored) implements Matrix {
    /** The view of a matrix, or itself if all its numbers are bfloat16 already. */
    static Matrix of(Matrix w) {
        return switch (w) {
            case BF16Matrix exact -> exact;
            case TransposedMatrix t -> new TransposedMatrix(of(t.stored()));
            default -> new RoundedMatrix(w);
        };
    }

    @Override
    public int rows() {
        return stored.rows();
    }

    @Override
    public int cols() {
        return stored.cols();
    }

    @Override
    public void widen(int row, int col, int count, float[] dst, int at) {
        stored.widen(row, col, count, dst, at);
        Rounding.bfloats(dst, at, count);
    }

    @Override
    public int block() {
        return stored.block();
    }

    @Override
    public long bytes() {
        return stored.bytes();
    }
}
