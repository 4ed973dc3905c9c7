package anneal.kernels;

/** {@link UpdatesContract} for the vector tier. */
class VectorUpdatesTest extends UpdatesContract {
    @Override
    Kernels kernels() {
        return new VectorKernels();
    }
}
