package anneal.kernels;

/** {@link RowwiseContract} for the scalar tier. */
class ScalarRowwiseTest extends RowwiseContract {
    @Override
    Kernels kernels() {
        return new ScalarKernels();
    }
}
