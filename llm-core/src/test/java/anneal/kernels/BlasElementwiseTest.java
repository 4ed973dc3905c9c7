package anneal.kernels;

/** {@link ElementwiseContract} for the BLAS tier. */
class BlasElementwiseTest extends ElementwiseContract {
    @Override
    Kernels kernels() {
        return new BlasKernels(new VectorKernels());
    }
}
