package anneal.kernels;

class BlasKernelsTest extends KernelsContract {
    private static final Kernels KERNELS = new BlasKernels(new ScalarKernels());

    @Override
    Kernels kernels() {
        return KERNELS;
    }
}
