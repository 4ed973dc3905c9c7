package anneal.kernels;

import java.lang.foreign.MemorySegment;

/**
 * Products by the BLAS that ND4J brings, everything else by the best tier that needs no library.
 *
 * <p>ND4J is an optional dependency. Its types are only named in {@link Nd4jGemm}, which is loaded when this tier is chosen.
 */
public final class BlasKernels extends ForwardingKernels {
    private final Nd4jGemm gemm;

    BlasKernels(Kernels rest) {
        super(rest);
        this.gemm = new Nd4jGemm();
        gemm.checkAgainst(rest);
    }

    /** Why ND4J cannot be used, with the remedy; null if it can. */
    static String obstacle() {
        for (String[] need : new String[][] {
            {"org.nd4j.linalg.factory.Nd4j", "org.nd4j:nd4j-api"},
            {"org.nd4j.linalg.cpu.nativecpu.CpuBackend", "org.nd4j:nd4j-native (with the classifier of your platform)"}
        }) {
            try {
                Class.forName(need[0], false, BlasKernels.class.getClassLoader());
            } catch (ClassNotFoundException | LinkageError e) {
                return "ND4J is not on the class path: add the artifact " + need[1];
            }
        }
        return null;
    }

    @Override
    public String name() {
        return "blas";
    }

    @Override
    public void matmulT(MemorySegment y, MemorySegment x, Matrix w, int m, float alpha, boolean add) {
        gemm.matmulT(y, x, w, m, alpha, add);
    }

    @Override
    public void matmul(MemorySegment y, MemorySegment x, Matrix w, int m, float alpha, boolean add) {
        gemm.matmul(y, x, w, m, alpha, add);
    }

    @Override
    public void matmulTN(
            MemorySegment y, MemorySegment a, MemorySegment b, int n, int k, int m, float alpha, boolean add) {
        gemm.matmulTN(y, a, b, n, k, m, alpha, add);
    }
}
