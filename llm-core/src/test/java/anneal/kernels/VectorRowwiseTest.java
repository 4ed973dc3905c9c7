package anneal.kernels;

/** {@link RowwiseContract} for the vector tier. */
class VectorRowwiseTest extends RowwiseContract {
    @Override
    Kernels kernels() {
        return new VectorKernels();
    }
}
