package anneal.kernels;

/** {@link UpdatesContract} for the scalar tier. */
class ScalarUpdatesTest extends UpdatesContract {
    @Override
    Kernels kernels() {
        return new ScalarKernels();
    }
}
