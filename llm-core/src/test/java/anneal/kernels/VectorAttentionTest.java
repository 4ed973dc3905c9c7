package anneal.kernels;

/** {@link AttentionContract} for the vector tier. */
class VectorAttentionTest extends AttentionContract {
    @Override
    Kernels kernels() {
        return new VectorKernels();
    }
}
