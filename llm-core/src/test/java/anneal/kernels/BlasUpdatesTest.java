package anneal.kernels;

/** {@link UpdatesContract} for the BLAS tier. */
class BlasUpdatesTest extends UpdatesContract {
    @Override
    Kernels kernels() {
        return new BlasKernels(new VectorKernels());
    }
}
