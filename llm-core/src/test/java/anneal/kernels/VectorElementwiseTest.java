package anneal.kernels;

/** {@link ElementwiseContract} for the vector tier. */
class VectorElementwiseTest extends ElementwiseContract {
    @Override
    Kernels kernels() {
        return new VectorKernels();
    }
}
