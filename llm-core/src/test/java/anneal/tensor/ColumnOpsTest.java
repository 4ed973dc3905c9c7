package anneal.tensor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** {@link OpContract} for the ops of {@link ColumnOps}, and what they refuse. */
class ColumnOpsTest {
    @ParameterizedTest
    @ValueSource(ints = {0, 1, 4})
    void rescaleColumns(int rows) {
        float[] norm = {2, 0.5f, 3};
        OpContract.check(
                new OpContract.Case(
                        false,
                        new int[][] {{rows, 2, 3}, {3}},
                        in -> ColumnOps.rescaleColumns(in[0], in[1], Tensor.of(norm, 3)),
                        in -> {
                            Var[] y = new Var[in[0].length];
                            for (int i = 0; i < y.length; i++) {
                                y[i] = in[0][i].times(in[1][i % 3]).times(1.0 / norm[i % 3]);
                            }
                            return y;
                        }),
                7 + rows);
    }

    @ParameterizedTest
    @ValueSource(ints = {0, 1, 4})
    void gatherColumns(int count) {
        int[] ids = java.util.Arrays.copyOf(new int[] {4, 1, 1, 0}, count);
        OpContract.check(
                new OpContract.Case(false, new int[][] {{2, 5}}, in -> ColumnOps.gatherColumns(in[0], ids), in -> {
                    Var[] y = new Var[2 * count];
                    for (int i = 0; i < y.length; i++) {
                        y[i] = in[0][i % 2 * 5 + ids[i / 2]];
                    }
                    return y;
                }),
                17 + count);
    }

    @Test
    void anEqualLengthChangesNoBit() {
        Tensor x = Tensor.of(new float[] {0.1f, 0.3f, -0.7f, 11}, 2, 2), m = Tensor.of(new float[] {0.3f, 7.1f}, 2);
        assertThat(ColumnOps.rescaleColumns(x, m, m).toArray()).containsExactly(x.toArray());
    }

    @Test
    void badInputIsNamed() {
        Tensor x = Tensor.zeros(2, 3), two = Tensor.zeros(2), three = Tensor.zeros(3);
        assertThatThrownBy(() -> ColumnOps.rescaleColumns(x, two, two))
                .hasMessage("rescaleColumns: [2, 3] does not fit [2]: m must be the last dim of x");
        assertThatThrownBy(() -> ColumnOps.rescaleColumns(x, three, two))
                .hasMessage("rescaleColumns: [3] does not fit [2]: shapes must be equal");
        assertThatThrownBy(() -> ColumnOps.gatherColumns(x, new int[] {3}))
                .hasMessage("gatherColumns: id 3 is outside the 3 columns of [2, 3]");
    }
}
