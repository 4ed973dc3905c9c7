package anneal.tensor;

import static org.assertj.core.api.Assertions.assertThat;

import anneal.kernels.CodebookMatrix;
import org.junit.jupiter.api.Test;

class RoundOpsTest {
    @Test
    void everyValueOfNf4IsItsOwnNearestAndBetweenTwoTheNearerIs() {
        float last = -1;
        for (float value : CodebookMatrix.NF4) {
            assertThat(RoundOps.nearestNf4(value)).isEqualTo(value);
            assertThat(RoundOps.nearestNf4(last + 0.49f * (value - last))).isEqualTo(last);
            assertThat(RoundOps.nearestNf4(last + 0.51f * (value - last))).isEqualTo(value);
            last = value;
        }
        assertThat(RoundOps.nearestNf4(7)).isEqualTo(1);
    }

    /** Blocks of two: (0.2, -4), (3, 0), (0, 0); the last of an odd number is alone. */
    @Test
    void eachBlockHasItsOwnScale() {
        float step = CodebookMatrix.NF4.get(8); // 0.0796, nearer to 0.2 / 4 than 0
        try (var _ = Memory.scope()) {
            Tensor x = Tensor.of(new float[] {0.2f, -4, 3, 0, 0, 0, -0.5f}, 1, 7);
            assertThat(RoundOps.nf4(x, 2).toArray()).containsExactly(4 * step, -4, 3, 0, 0, 0, -0.5f);
            assertThat(x.toArray()).as("x stays").containsExactly(0.2f, -4, 3, 0, 0, 0, -0.5f);
        }
    }
}
