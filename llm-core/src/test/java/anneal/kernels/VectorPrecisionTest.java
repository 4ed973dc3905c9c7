package anneal.kernels;

class VectorPrecisionTest extends PrecisionContract {
    private static final Kernels KERNELS = new VectorKernels();

    @Override
    Kernels kernels() {
        return KERNELS;
    }
}
