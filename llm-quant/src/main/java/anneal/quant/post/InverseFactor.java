package anneal.quant.post;

import anneal.kernels.Parallel;
import java.util.Arrays;

/**
 * The upper triangular U with H^-1 = UT U, which is all that GPTQ needs of the inverse Hessian.
 *
 * <p>Neither the inverse nor its factorisation is computed. With J the reversal of rows or columns, factor J H J = VT V (Cholesky, V
 * upper). Then H = R RT with R = J VT J upper triangular, so H^-1 = (R^-1)T R^-1 and U = R^-1 = J (V^-1)T J: one factorisation and
 * one triangular inverse, 2/3 n^3 operations instead of the 4/3 n^3 of Cholesky, inverse, Cholesky. In double precision, since errors
 * are passed on from column to column. Both are done in blocks of rows, so that what is taken from many rows is read from the cache.
 */
final class InverseFactor {
    /** Rows that are factored before the rest is brought up to date, and rows of a task. */
    private static final int BLOCK = 32;

    /** Columns of the triangular inverse that make a task. */
    private static final int STRIP = 128;

    private InverseFactor() {}

    /**
     * U, rows [n][n], of H [n][n], which is used up.
     *
     * @throws IllegalArgumentException if H is not positive definite
     */
    static double[][] of(double[][] h) {
        int n = h.length;
        double[][] reversed = new double[n][n];
        turn(reversed, (i, j) -> h[n - 1 - i][n - 1 - j]);
        cholesky(reversed);
        double[][] inverse = invert(reversed);
        turn(h, (i, j) -> j < i ? 0 : inverse[n - 1 - j][n - 1 - i]);
        return h;
    }

    private interface Entry {
        double at(int i, int j);
    }

    private static void turn(double[][] to, Entry entry) {
        Parallel.run(to.length, i -> {
            for (int j = 0; j < to.length; j++) {
                to[i][j] = entry.at(i, j);
            }
        });
    }

    /** A becomes V in its upper half: a block of rows is finished, then taken out of all rows below. */
    private static void cholesky(double[][] a) {
        int n = a.length;
        for (int start = 0; start < n; start += BLOCK) {
            int first = start, end = Math.min(n, start + BLOCK);
            for (int k = start; k < end; k++) {
                RowSums.subtract(a[k], column(a, start, k, k), a, start, k - start, k, n);
                scale(a[k], k);
            }
            Parallel.run((n - end + BLOCK - 1) / BLOCK, t -> {
                int from = end + t * BLOCK;
                takeOut(a, first, end, from, Math.min(n, from + BLOCK));
            });
        }
    }

    /** Takes rows [first, end) out of rows [from, to). */
    private static void takeOut(double[][] a, int first, int end, int from, int to) {
        double[][] factors = new double[to - from][];
        for (int i = from; i < to; i++) {
            factors[i - from] = column(a, first, end, i);
        }
        for (int j = from; j < a.length; j += RowSums.COLUMNS) {
            int last = Math.min(a.length, j + RowSums.COLUMNS);
            for (int i = from; i < to; i++) {
                RowSums.subtract(a[i], factors[i - from], a, first, end - first, Math.max(i, j), last);
            }
        }
    }

    /** Entries of column i in rows [from, to). */
    private static double[] column(double[][] a, int from, int to, int i) {
        double[] c = new double[to - from];
        for (int k = from; k < to; k++) {
            c[k - from] = a[k][i];
        }
        return c;
    }

    private static void scale(double[] row, int k) {
        int n = row.length;
        double pivot = row[k];
        if (!(pivot > 0)) {
            throw new IllegalArgumentException("gptq: the Hessian of " + n + " inputs is not positive definite (pivot "
                    + pivot + " at " + (n - 1 - k) + "): give more calibration text or more damping");
        }
        double root = 1 / Math.sqrt(pivot);
        for (int j = k; j < n; j++) {
            row[j] *= root;
        }
    }

    /** V^-1 for V in the upper half of v, from the last row up: row k = (e_k - sum over i > k of V_ki row i) / V_kk. */
    private static double[][] invert(double[][] v) {
        int n = v.length, strips = (n + STRIP - 1) / STRIP;
        double[][] w = new double[n][n];
        Parallel.run(strips, t -> {
            int from = (strips - 1 - t) * STRIP, to = Math.min(n, from + STRIP);
            for (int end = to; end > 0; end = (end - 1) / BLOCK * BLOCK) {
                int start = (end - 1) / BLOCK * BLOCK;
                for (int i = end; i < to; i += BLOCK) {
                    int count = Math.min(BLOCK, to - i);
                    for (int k = start; k < end; k++) {
                        double[] factors = Arrays.copyOfRange(v[k], i, i + count);
                        RowSums.subtract(w[k], factors, w, i, count, from, to);
                    }
                }
                for (int k = end - 1; k >= start; k--) {
                    finish(w, v[k], k, end, from, to);
                }
            }
        });
        return w;
    }

    /** Row k of a strip, from which all rows from {@code end} on are taken already. */
    private static void finish(double[][] w, double[] vk, int k, int end, int from, int to) {
        double[] row = w[k];
        if (k >= from) {
            row[k] = 1;
        }
        RowSums.subtract(row, Arrays.copyOfRange(vk, k + 1, end), w, k + 1, end - k - 1, from, to);
        for (int j = Math.max(from, k); j < to; j++) {
            row[j] /= vk[k];
        }
    }
}
