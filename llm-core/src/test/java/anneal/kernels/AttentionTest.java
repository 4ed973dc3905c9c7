package anneal.kernels;

import org.junit.jupiter.api.Nested;

/** {@link AttentionContract} for each tier. */
class AttentionTest {
    @Nested
    class Scalar extends AttentionContract {
        @Override
        Kernels kernels() {
            return new ScalarKernels();
        }
    }

    @Nested
    class Vector extends AttentionContract {
        @Override
        Kernels kernels() {
            return new VectorKernels();
        }
    }
}
