package anneal.kernels;

/** {@link ElementwiseContract} for the scalar tier. */
class ScalarElementwiseTest extends ElementwiseContract {
    @Override
    Kernels kernels() {
        return new ScalarKernels();
    }
}
