package anneal.tensor;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import anneal.kernels.Lapack;

/**
 * Factorisations of matrices: singular values, QR, eigenvalues of symmetric ones.
 *
 * <p>Computed in doubles by ND4J's LAPACK and rounded to floats at the end. ND4J is optional: without it every method here but
 * {@link #eigSymmetric} throws an {@link IllegalStateException} that names the artifact to add. Nothing here is differentiated. Signs of singular vectors and of the
 * columns of Q are LAPACK's, as in NumPy and PyTorch; only products of factors are unique.
 *
 * <p>Results are tensors of the current scope. A {@link ShapeException} names a matrix without rows or columns, an
 * {@link IllegalArgumentException} a number that is not finite or a rank that does not fit.
 */
public final class Linalg {
    /** Columns that the randomised search carries beside those asked for: they make it miss less (section 4.2 of the paper). */
    private static final int OVERSAMPLING = 10;

    private Linalg() {}

    /**
     * a = u diag(s) vt: orthonormal directions of the input (rows of vt) that become orthonormal directions of the output (columns of
     * u), stretched by s.
     *
     * @param u [m, k]
     * @param s [k], not negative, falling
     * @param vt [k, n]
     */
    public record Svd(Tensor u, Tensor s, Tensor vt) {
        /** Number of singular values kept. */
        public int rank() {
            return s.dim(0);
        }

        /**
         * The first {@code r} directions: u diag(s) vt of these is the matrix of rank r nearest to a, in the sum of squares and in the
         * largest singular value (Eckart and Young, 1936).
         */
        public Svd truncated(int r) {
            requireRank("truncated", r, rank(), u.dim(0), vt.dim(1));
            float[] values = new float[r];
            for (int i = 0; i < r; i++) {
                values[i] = s.get(i);
            }
            Tensor rows = Tensor.empty(r, vt.dim(1));
            rows.buf().copyFrom(vt.buf().asSlice(0, 4 * rows.size()));
            try (var _ = Tape.pause()) {
                return new Svd(Ops.columns(u, 0, r), Tensor.of(values, r), rows);
            }
        }

        /** u diag(s) vt. Shape [m, n]. */
        public Tensor product() {
            Tensor scaled = Tensor.empty(u.shape());
            for (int i = 0; i < u.dim(0); i++) {
                for (int j = 0; j < rank(); j++) {
                    scaled.buf().setAtIndex(JAVA_FLOAT, (long) i * rank() + j, u.get((long) i * rank() + j) * s.get(j));
                }
            }
            try (var _ = Tape.pause()) {
                return Ops.matmul(scaled, vt);
            }
        }
    }

    /**
     * a = q r.
     *
     * @param q [m, k], orthonormal columns
     * @param r [k, n], zero below the diagonal
     */
    public record Qr(Tensor q, Tensor r) {}

    /**
     * a = vectors diag(values) vectorsT.
     *
     * @param values [n], rising
     * @param vectors [n, n], one in each column
     */
    public record Eigen(Tensor values, Tensor vectors) {}

    /** The thin singular value decomposition. Shape: a [m, n], k = min(m, n). */
    public static Svd svd(Tensor a) {
        requireMatrix("svd", a);
        int m = a.dim(0), n = a.dim(1), k = Math.min(m, n);
        Svd result = new Svd(Tensor.empty(m, k), Tensor.empty(k), Tensor.empty(k, n));
        Lapack.svd(result.u.buf(), result.s.buf(), result.vt.buf(), a.buf(), m, n);
        return result;
    }

    /** The first {@code rank} directions of {@link #svd(Tensor)}. */
    public static Svd svd(Tensor a, int rank) {
        requireMatrix("svd", a);
        requireRank("svd", rank, Math.min(a.dim(0), a.dim(1)), a.dim(0), a.dim(1));
        return svd(a).truncated(rank);
    }

    /**
     * The first {@code rank} directions, nearly, at the cost of a few thin products: a random subspace is turned towards them by
     * powers of a aT, then the small matrix inside it is decomposed. Halko, Martinsson and Tropp, arXiv:0909.4061, algorithms 4.4 and
     * 5.1. Differs from PyTorch's svd_lowrank by {@value #OVERSAMPLING} more columns while searching.
     *
     * @param iterations powers: 2 are enough for falling singular values, flat ones need more
     * @param rng the random subspace
     */
    public static Svd randomizedSvd(Tensor a, int rank, int iterations, Rng rng) {
        requireMatrix("randomizedSvd", a);
        int m = a.dim(0), n = a.dim(1), k = Math.min(m, n);
        requireRank("randomizedSvd", rank, k, m, n);
        if (iterations < 0) {
            throw new IllegalArgumentException("randomizedSvd: iterations " + iterations + " must not be negative");
        }
        int width = Math.min(k, rank + OVERSAMPLING);
        float[] noise = new float[Math.multiplyExact(n, width)];
        for (int i = 0; i < noise.length; i++) {
            noise[i] = (float) rng.nextGaussian();
        }
        Tensor plain = a.detach(), turned = transposed(plain);
        try (var _ = Tape.pause()) {
            Tensor q = qr(Ops.matmul(plain, Tensor.of(noise, n, width))).q;
            for (int i = 0; i < iterations; i++) {
                q = qr(Ops.matmul(turned, q)).q;
                q = qr(Ops.matmul(plain, q)).q;
            }
            Svd inside = svd(Ops.matmul(transposed(q), plain)).truncated(rank);
            return new Svd(Ops.matmul(q, inside.u), inside.s, inside.vt);
        }
    }

    /** The reduced QR decomposition. Shape: a [m, n], k = min(m, n). */
    public static Qr qr(Tensor a) {
        requireMatrix("qr", a);
        int m = a.dim(0), n = a.dim(1), k = Math.min(m, n);
        Qr result = new Qr(Tensor.empty(m, k), Tensor.empty(k, n));
        Lapack.qr(result.q.buf(), result.r.buf(), a.buf(), m, n);
        return result;
    }

    /** Eigenvalues and eigenvectors of a symmetric matrix [n, n], of which only the lower triangle is read. */
    public static Eigen eigSymmetric(Tensor a) {
        requireMatrix("eigSymmetric", a);
        int n = a.dim(0);
        Shape.require(n == a.dim(1), "eigSymmetric", a, "the matrix must be square");
        Eigen result = new Eigen(Tensor.empty(n), Tensor.empty(n, n));
        Lapack.eigSymmetric(result.values.buf(), result.vectors.buf(), a.buf(), n);
        return result;
    }

    /** A copy of a [m, n] as [n, m]. */
    public static Tensor transposed(Tensor a) {
        Shape.require(a.shape().rank() == 2, "transposed", a, "must be a matrix [m, n]");
        int m = a.dim(0), n = a.dim(1);
        Tensor t = Tensor.empty(n, m);
        for (int i = 0; i < m; i++) {
            for (int j = 0; j < n; j++) {
                t.buf().setAtIndex(JAVA_FLOAT, (long) j * m + i, a.get((long) i * n + j));
            }
        }
        return t;
    }

    private static void requireMatrix(String op, Tensor a) {
        Shape.require(
                a.shape().rank() == 2 && a.size() > 0, op, a, "must be a matrix with at least one row and column");
        for (long i = 0; i < a.size(); i++) {
            if (!Float.isFinite(a.get(i))) {
                throw new IllegalArgumentException(op + ": " + a.shape() + " holds " + a.get(i) + " at [" + i / a.dim(1)
                        + ", " + i % a.dim(1) + "]: all numbers must be finite");
            }
        }
    }

    private static void requireRank(String op, int rank, int most, int m, int n) {
        if (rank < 1 || rank > most) {
            throw new IllegalArgumentException(op + ": rank " + rank + " does not fit a matrix [" + m + ", " + n
                    + "]: it must be in 1 .. " + most);
        }
    }
}
