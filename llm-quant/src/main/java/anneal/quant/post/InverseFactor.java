package anneal.quant.post;

import anneal.kernels.Parallel;

/**
 * The upper triangular U with H^-1 = UT U, which is all that GPTQ needs of the inverse Hessian.
 *
 * <p>Neither the inverse nor its factorisation is computed. With J the reversal of rows or columns, factor J H J = VT V (Cholesky, V
 * upper). Then H = R RT with R = J VT J upper triangular, so H^-1 = (R^-1)T R^-1 and U = R^-1 = J (V^-1)T J: one factorisation and
 * one triangular inverse, 2/3 n^3 operations instead of the 4/3 n^3 of Cholesky, inverse, Cholesky. In double precision, since errors
 * are passed on from column to column.
 */
final class InverseFactor {
    /** Columns of the triangular inverse that make a task. */
    private static final int STRIP = 64;

    private InverseFactor() {}

    /**
     * U [n, n] of H [n, n], both row-major; H is used up.
     *
     * @throws IllegalArgumentException if H is not positive definite
     */
    static double[] of(double[] h, int n) {
        reverse(h);
        cholesky(h, n);
        double[] inverse = invert(h, n);
        double[] u = h;
        for (int i = 0; i < n; i++) {
            for (int j = 0; j < n; j++) {
                u[i * n + j] = j < i ? 0 : inverse[(n - 1 - j) * n + n - 1 - i];
            }
        }
        return u;
    }

    /** J H J: both orders reversed is the whole array reversed. */
    private static void reverse(double[] h) {
        for (int i = 0, j = h.length - 1; i < j; i++, j--) {
            double t = h[i];
            h[i] = h[j];
            h[j] = t;
        }
    }

    /** A becomes V in its upper half: row k is finished, then taken out of all rows below. */
    private static void cholesky(double[] a, int n) {
        for (int k = 0; k < n; k++) {
            double pivot = a[k * n + k];
            if (!(pivot > 0)) {
                throw new IllegalArgumentException("gptq: the Hessian of " + n
                        + " inputs is not positive definite (pivot " + pivot + " at " + (n - 1 - k)
                        + "): give more calibration text or more damping");
            }
            double root = 1 / Math.sqrt(pivot);
            int at = k * n, row = k;
            for (int j = k; j < n; j++) {
                a[at + j] *= root;
            }
            Parallel.run(n - k - 1, t -> {
                int i = row + 1 + t, to = i * n;
                double factor = a[at + i];
                for (int j = i; j < n; j++) {
                    a[to + j] -= factor * a[at + j];
                }
            });
        }
    }

    /** V^-1 for V in the upper half of v, from the last row up: row k = (e_k - sum over i > k of V_ki row i) / V_kk. */
    private static double[] invert(double[] v, int n) {
        double[] w = new double[n * n];
        Parallel.run((n + STRIP - 1) / STRIP, strip -> {
            int from = strip * STRIP, to = Math.min(n, from + STRIP);
            for (int k = to - 1; k >= 0; k--) {
                int at = k * n;
                if (k >= from) {
                    w[at + k] = 1;
                }
                for (int i = k + 1; i < to; i++) {
                    double factor = v[at + i];
                    for (int j = Math.max(from, i); j < to; j++) {
                        w[at + j] -= factor * w[i * n + j];
                    }
                }
                double pivot = v[at + k];
                for (int j = Math.max(from, k); j < to; j++) {
                    w[at + j] /= pivot;
                }
            }
        });
        return w;
    }
}
