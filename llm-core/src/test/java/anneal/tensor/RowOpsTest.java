package anneal.tensor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class RowOpsTest {
    /** Rows of two parts, turn about: a0 b0 a1 b1 .., with the last of a's at the end. */
    private static int[][] places(int n) {
        int[][] places = new int[2][];
        places[0] = new int[n];
        places[1] = new int[Math.max(0, n - 1)];
        for (int i = 0; i < n; i++) {
            places[0][i] = 2 * i;
        }
        for (int i = 0; i < n - 1; i++) {
            places[1][i] = 2 * i + 1;
        }
        return places;
    }

    @ParameterizedTest
    @ValueSource(ints = {0, 1, 4})
    void placeAgainstDoubles(int n) {
        int[][] places = places(n);
        OpContract.check(
                new OpContract.Case(
                        false, new int[][] {{n, 3}, {Math.max(0, n - 1), 3}}, in -> RowOps.place(in, places), in -> {
                            Var[] y = new Var[3 * (places[0].length + places[1].length)];
                            for (int p = 0; p < 2; p++) {
                                for (int i = 0; i < places[p].length; i++) {
                                    System.arraycopy(in[p], 3 * i, y, 3 * places[p][i], 3);
                                }
                            }
                            return y;
                        }),
                50 + n);
    }

    @Test
    void placeUndoesRows() {
        Tensor x = Tensor.of(new float[] {1, 2, 3, 4, 5, 6}, 3, 2);
        int[] first = {2, 0}, second = {1};
        Tensor[] parts = {Ops.rows(x, first), Ops.rows(x, second)};
        assertThat(RowOps.place(parts, new int[][] {first, second}).toArray()).containsExactly(1, 2, 3, 4, 5, 6);
    }

    @Test
    void saysWhatDoesNotFit() {
        Tensor a = Tensor.zeros(2, 3), b = Tensor.zeros(1, 4);
        assertThatThrownBy(() -> RowOps.place(new Tensor[] {a}, new int[][] {{0}}))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("place: [2, 3]")
                .hasMessageContaining("needs a place for each row, got 1");
        assertThatThrownBy(() -> RowOps.place(new Tensor[] {a, b}, new int[][] {{0, 1}, {2}}))
                .hasMessageContaining("all parts must have the same last dim");
        assertThatThrownBy(() -> RowOps.place(new Tensor[] {a}, new int[][] {{0, 0}}))
                .hasMessage("place: row 0 of 2 is given twice: each place must be given exactly once");
        assertThatThrownBy(() -> RowOps.place(new Tensor[] {a}, new int[][] {{0, 2}}))
                .hasMessage("place: row 2 of 2 does not exist: each place must be given exactly once");
        assertThatThrownBy(() -> RowOps.place(new Tensor[] {a, a}, new int[][] {{0, 1}}))
                .hasMessageStartingWith("place: 2 parts do not fit 1 lists of places");
    }
}
