package anneal.kernels;

class ScalarPrecisionTest extends PrecisionContract {
    private static final Kernels KERNELS = new ScalarKernels();

    @Override
    Kernels kernels() {
        return KERNELS;
    }
}
