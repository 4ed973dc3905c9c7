package anneal.kernels;

class BlasPrecisionTest extends PrecisionContract {
    private static final Kernels KERNELS = new BlasKernels(new ScalarKernels());

    @Override
    Kernels kernels() {
        return KERNELS;
    }
}
