package anneal.kernels;

/** {@link AttentionContract} for the scalar tier. */
class ScalarAttentionTest extends AttentionContract {
    @Override
    Kernels kernels() {
        return new ScalarKernels();
    }
}
