package anneal.nn;

import static org.assertj.core.api.Assertions.assertThat;

import anneal.ArenaFixture;
import anneal.kernels.F32Matrix;
import anneal.kernels.Matrix;
import anneal.kernels.TransposedMatrix;
import anneal.tensor.Shape;
import anneal.tensor.Tensor;
import org.junit.jupiter.api.Test;

class DenseWeightTest extends ArenaFixture {
    private Matrix matrix(int rows, int cols) {
        Tensor t = Tensor.allocate(arena, Shape.of(rows, cols));
        float[] x = new float[rows * cols];
        for (int i = 0; i < x.length; i++) {
            x[i] = i;
        }
        t.set(x);
        return new F32Matrix(t.buf(), rows, cols);
    }

    @Test
    void rowsComeInTheOrderAskedFor() {
        assertThat(DenseWeight.rows(matrix(3, 2), new int[] {2, 0, 2}, arena)
                        .tensor()
                        .toArray())
                .containsExactly(4, 5, 0, 1, 4, 5);
    }

    /** A view of a matrix that stands the other way round gives what is stored; any other matrix its columns. */
    @Test
    void turnedRoundRowsAreColumns() {
        Matrix m = matrix(2, 3);
        for (Matrix each : new Matrix[] {m, new TransposedMatrix(new TransposedMatrix(m))}) {
            Tensor turned = DenseWeight.turned(each, arena).tensor();
            assertThat(turned.shape()).isEqualTo(Shape.of(3, 2));
            assertThat(turned.toArray()).containsExactly(0, 3, 1, 4, 2, 5);
        }
        assertThat(DenseWeight.turned(new TransposedMatrix(m), arena).tensor().toArray())
                .containsExactly(0, 1, 2, 3, 4, 5);
    }
}
