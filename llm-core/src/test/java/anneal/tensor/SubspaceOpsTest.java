package anneal.tensor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import anneal.ArenaFixture;
import anneal.tensor.SubspaceOps.Span;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** {@link SubspaceOps}: the value is the input's, the gradient that of the projection's formula in double. */
class SubspaceOpsTest extends ArenaFixture {
    private static Tensor random(Rng rng, int rows, int columns) {
        float[] x = new float[rows * columns];
        for (int i = 0; i < x.length; i++) {
            x[i] = (float) rng.nextGaussian();
        }
        return Tensor.of(x, rows, columns);
    }

    private Tensor trained(Tensor x) {
        Tensor p = Tensor.allocate(arena, x.shape()).trainable(true);
        p.set(x);
        return p;
    }

    /** Orthonormal rows, as they come from a decomposition. */
    private static Tensor basis(Rng rng, int count, int length) {
        return Linalg.svd(random(rng, count, length)).vt();
    }

    @ParameterizedTest
    @CsvSource({"4, 9, 3", "1, 5, 5", "7, 6, 1"})
    void theGradientIsProjected(int rows, int length, int directions) {
        try (var _ = Memory.scope()) {
            Rng rng = new Rng(rows);
            Tensor basis = basis(rng, directions, length), g = random(rng, rows, length);
            float[] out = gradient(g, new Span(basis, false), false), in = gradient(g, new Span(basis, true), false);
            for (int r = 0; r < rows; r++) {
                for (int k = 0; k < directions; k++) {
                    double left = 0;
                    for (int d = 0; d < length; d++) {
                        left += (double) out[r * length + d] * basis.get((long) k * length + d);
                    }
                    assertThat(left).as("orthogonal to direction %d", k).isCloseTo(0, within(2e-6));
                }
            }
            for (int i = 0; i < out.length; i++) { // the two parts are all of it
                assertThat(out[i] + in[i]).isCloseTo(g.get(i), within(2e-6f));
            }
            Tensor turned = Linalg.transposed(g);
            for (boolean keep : new boolean[] {true, false}) {
                float[] columns = gradient(turned, new Span(basis, keep), true);
                for (int i = 0; i < columns.length; i++) {
                    float same = (keep ? in : out)[i % rows * length + i / rows];
                    assertThat(columns[i]).isCloseTo(same, within(2e-6f));
                }
            }
        }
    }

    /** Of sum (x * g), which is g without a projection; given twice, so that gradients are added. */
    private float[] gradient(Tensor g, Span span, boolean columns) {
        Tensor x = trained(g);
        for (int i = 0; i < 2; i++) {
            Tensor y = columns ? SubspaceOps.columnsWithin(x, span) : SubspaceOps.rowsWithin(x, span);
            assertThat(y.toArray()).containsExactly(x.toArray());
            Tape.backward(Ops.sum(Ops.mul(y, Ops.scale(g, 0.5f))));
        }
        return x.grad().toArray();
    }

    @Test
    void saysWhatDoesNotFit() {
        Span span = new Span(Tensor.zeros(2, 3), true);
        assertThatThrownBy(() -> SubspaceOps.rowsWithin(Tensor.zeros(3, 4), span))
                .isInstanceOf(ShapeException.class)
                .hasMessage(
                        "rowsWithin: [3, 4] does not fit [2, 3]: rows of the basis must be as long as what is projected");
        assertThatThrownBy(() -> SubspaceOps.columnsWithin(Tensor.zeros(4, 3), span))
                .hasMessage(
                        "columnsWithin: [4, 3] does not fit [2, 3]: rows of the basis must be as long as what is projected");
        assertThatThrownBy(() -> new Span(Tensor.zeros(3), true))
                .hasMessage("Span: [3]: the basis must be a matrix of rows");
    }
}
