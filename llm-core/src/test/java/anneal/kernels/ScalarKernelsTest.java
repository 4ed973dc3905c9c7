package anneal.kernels;

class ScalarKernelsTest extends KernelsContract {
    private final Kernels kernels = new ScalarKernels();

    @Override
    Kernels kernels() {
        return kernels;
    }
}
