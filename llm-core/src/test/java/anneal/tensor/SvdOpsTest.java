package anneal.tensor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.lang.foreign.Arena;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** {@link SvdOps} against their formulas in double precision. */
class SvdOpsTest {
    @ParameterizedTest
    @CsvSource({"1, 1", "1, 4", "3, 7", "5, 5", "6, 2", "0, 3"})
    void scaleRows(int rows, int columns) {
        OpContract.check(
                new OpContract.Case(
                        false, new int[][] {{rows, columns}, {rows, 1}}, in -> SvdOps.scaleRows(in[0], in[1]), in -> {
                            Var[] y = new Var[rows * columns];
                            for (int i = 0; i < y.length; i++) {
                                y[i] = in[0][i].times(in[1][i / columns]);
                            }
                            return y;
                        }),
                rows * 10L + columns);
    }

    @ParameterizedTest
    @CsvSource({"1, 4", "3, 7", "5, 5", "6, 2"})
    void orthogonality(int rows, int columns) {
        OpContract.check(
                new OpContract.Case(false, new int[][] {{rows, columns}}, in -> SvdOps.orthogonality(in[0]), in ->
                        new Var[] {norm(in[0], rows, columns)}),
                rows * 10L + columns);
        OpContract.check(
                new OpContract.Case(false, new int[][] {{columns, rows}}, in -> SvdOps.columnOrthogonality(in[0]), in ->
                        new Var[] {norm(References.transpose(in[0], rows), rows, columns)}),
                rows * 10L + columns);
    }

    private static Var norm(Var[] a, int rows, int columns) {
        Var[] gram = References.matmulT(a, a, columns);
        for (int i = 0; i < rows; i++) {
            gram[i * rows + i] = gram[i * rows + i].plus(-1);
        }
        return Var.sum(References.map(gram, g -> g.times(g))).sqrt();
    }

    @Test
    void orthonormalVectorsAreAtZeroWithoutAGradient() {
        try (Arena arena = Arena.ofShared();
                var _ = Memory.scope()) {
            Tensor a = Tensor.allocate(arena, Shape.of(2, 3)).trainable(true);
            a.set(new float[] {0, 1, 0, -1, 0, 0});
            Tensor y = SvdOps.orthogonality(a);
            assertThat(y.item()).isZero();
            Tape.backward(y);
            assertThat(a.grad().toArray()).containsOnly(0);
            a.set(new float[] {0, 2, 0, -1, 0, 0}); // one product is 4 in place of 1
            assertThat(SvdOps.orthogonality(a).item()).isCloseTo(3, within(1e-6f));
            Tape.clear();
        }
        assertThat(SvdOps.orthogonality(Tensor.zeros(0, 3)).item()).isZero();
    }

    @Test
    void saysWhatDoesNotFit() {
        assertThatThrownBy(() -> SvdOps.scaleRows(Tensor.zeros(2, 3), Tensor.zeros(3, 1)))
                .isInstanceOf(ShapeException.class)
                .hasMessage("scaleRows: [2, 3] does not fit [3, 1]: there must be one number per row");
        assertThatThrownBy(() -> SvdOps.orthogonality(Tensor.zeros(4)))
                .isInstanceOf(ShapeException.class)
                .hasMessage("orthogonality: [4]: it must be a matrix");
        assertThatThrownBy(() -> SvdOps.columnOrthogonality(Tensor.zeros(4)))
                .hasMessage("columnOrthogonality: [4]: it must be a matrix");
    }
}
