package anneal.kernels;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import anneal.kernels.emit.CpuFeatures;
import org.junit.jupiter.api.BeforeAll;

/** {@link AttentionContract} for the emitted tier. */
class EmittedAttentionTest extends AttentionContract {
    private static Kernels emitted;

    @BeforeAll
    static void start() {
        String obstacle = EmittedKernels.obstacle();
        assumeTrue(obstacle == null, "no emitted code here: " + obstacle);
        emitted = new EmittedKernels(new VectorKernels(), CpuFeatures.best());
    }

    @Override
    Kernels kernels() {
        return emitted;
    }
}
