package anneal.kernels;

/**
 * A matrix [rows, cols] that is only read, stored in any way: f32, bf16, GGUF blocks, NF4.
 *
 * <p>The one thing a storage format must be able to do is to widen a piece of a row to floats. The GEMM calls it while it
 * packs its panels, so a quantised matrix is never held as floats.
 */
public interface Matrix {
    /** Number of rows: output features of a linear layer, or entries of a vocabulary. */
    int rows();

    /** Number of columns: the contiguous dimension. */
    int cols();

    /**
     * Writes the floats of {@code [row, col .. col + count)} to {@code dst[at ..]}.
     *
     * @param col first column; block formats get only multiples of {@link #block()}
     * @param count number of columns; block formats get whole blocks, or up to the end of the row
     */
    void widen(int row, int col, int count, float[] dst, int at);

    /** Columns that can only be widened together: 1 for plain floats, 32 or 256 for block formats. */
    default int block() {
        return 1;
    }

    /** Bytes that hold the matrix: what reading it once costs. */
    long bytes();
}
