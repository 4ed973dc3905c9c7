package anneal.kernels;

/** {@link AttentionContract} for the BLAS tier. */
class BlasAttentionTest extends AttentionContract {
    @Override
    Kernels kernels() {
        return new BlasKernels(new VectorKernels());
    }
}
