package anneal.kernels;

/** {@link RowwiseContract} for the BLAS tier. */
class BlasRowwiseTest extends RowwiseContract {
    @Override
    Kernels kernels() {
        return new BlasKernels(new VectorKernels());
    }
}
