package anneal.kernels;

import java.lang.foreign.MemorySegment;

/**
 * Matrix factorisations by the LAPACK that ND4J brings, on row-major floats; computed in doubles.
 *
 * <p>ND4J is an optional dependency. Its types are only named in {@link Nd4jLapack}, which is loaded at the first call; without
 * ND4J that call throws and names the artifact to add, but for {@link #eigSymmetric}, which Java computes then. Sizes must be positive and numbers finite: the caller checks.
 */
public final class Lapack {
    private static final String NEED = "matrix factorisations (SVD, QR) need LAPACK: ";

    private Lapack() {}

    /**
     * Thin singular value decomposition a = u diag(s) vt with k = min(m, n).
     *
     * @param u written, [m, k], orthonormal columns
     * @param s written, [k], falling
     * @param vt written, [k, n], orthonormal rows
     * @param a [m, n]
     */
    public static void svd(MemorySegment u, MemorySegment s, MemorySegment vt, MemorySegment a, int m, int n) {
        run(() -> Nd4jLapack.svd(u, s, vt, a, m, n));
    }

    /**
     * Reduced QR decomposition a = q r with k = min(m, n), by Householder reflections: signs are LAPACK's.
     *
     * @param q written, [m, k], orthonormal columns
     * @param r written, [k, n], zero below the diagonal
     * @param a [m, n]
     */
    public static void qr(MemorySegment q, MemorySegment r, MemorySegment a, int m, int n) {
        run(() -> Nd4jLapack.qr(q, r, a, m, n));
    }

    /**
     * Eigenvalues and eigenvectors of a symmetric matrix: a = vectors diag(values) vectorsT.
     *
     * @param values written, [n], rising
     * @param vectors written, [n, n], one in each column
     * @param a [n, n], only its lower triangle is read
     */
    public static void eigSymmetric(MemorySegment values, MemorySegment vectors, MemorySegment a, int n) {
        if (BlasKernels.obstacle() == null) {
            run(() -> Nd4jLapack.eigSymmetric(values, vectors, a, n));
        } else {
            SymmetricEigen.run(values, vectors, a, n);
        }
    }

    private static void run(Runnable factorisation) {
        String obstacle = BlasKernels.obstacle();
        if (obstacle != null) {
            throw new IllegalStateException(NEED + obstacle);
        }
        try {
            factorisation.run();
        } catch (LinkageError e) {
            throw new IllegalStateException(
                    NEED
                            + "ND4J is there but does not start: add org.nd4j:nd4j-native with the classifier of your platform",
                    e);
        }
    }
}
