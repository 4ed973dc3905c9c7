package anneal.quant.post;

/**
 * Takes multiples of rows from a row: what elimination, triangular inverses and the passing on of errors spend their time on.
 *
 * <pre>
 * y = y - f_0 row_0 - f_1 row_1 - ...
 * </pre>
 *
 * <p>Four rows at a time, so y is read and written a quarter as often; each number sees the operations in the order of the rows, so the
 * bits are those of one row after the other. Rows are arrays of their own: C2 makes vector code only where it sees that they do not
 * overlap.
 */
final class RowSums {
    /** Columns at a time when several rows take from the same ones: a block of them stays in the second-level cache. */
    static final int COLUMNS = 256;

    private RowSums() {}

    /** y[from .. to) -= sum of f[k] rows[first + k][from .. to) for k in [0, count). */
    static void subtract(double[] y, double[] f, double[][] rows, int first, int count, int from, int to) {
        int k = 0;
        for (; k + 4 <= count; k += 4) {
            int r = first + k;
            four(y, rows[r], f[k], rows[r + 1], f[k + 1], rows[r + 2], f[k + 2], rows[r + 3], f[k + 3], from, to);
        }
        for (; k < count; k++) {
            one(y, rows[first + k], f[k], from, to);
        }
    }

    private static void four(
            double[] y,
            double[] a,
            double fa,
            double[] b,
            double fb,
            double[] c,
            double fc,
            double[] d,
            double fd,
            int from,
            int to) {
        for (int j = from; j < to; j++) {
            y[j] = y[j] - fa * a[j] - fb * b[j] - fc * c[j] - fd * d[j];
        }
    }

    static void one(double[] y, double[] a, double f, int from, int to) {
        for (int j = from; j < to; j++) {
            y[j] -= f * a[j];
        }
    }
}
