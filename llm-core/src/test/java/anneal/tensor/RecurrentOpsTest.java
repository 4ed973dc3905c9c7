package anneal.tensor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import anneal.kernels.Activation;
import java.util.Arrays;
import java.util.function.Supplier;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** {@link RecurrentOps} by the contract of every op: a formula on numbers that differentiate themselves. */
class RecurrentOpsTest {
    private static final int SIZE = 3;

    @ParameterizedTest
    @CsvSource({"0,false", "1,false", "2,false", "5,false", "0,true", "1,true", "2,true", "5,true"})
    void theRecurrenceAndItsGradient(int steps, boolean reverse) {
        OpContract.check(
                new OpContract.Case(
                        false,
                        new int[][] {{steps, 4 * SIZE}, {4 * SIZE, SIZE}},
                        in -> RecurrentOps.lstm(in[0], in[1], reverse),
                        in -> lstm(in[0], in[1], reverse)),
                10 + steps);
    }

    private static Var[] lstm(Var[] a, Var[] w, boolean reverse) {
        int steps = a.length / (4 * SIZE);
        Var[] h = new Var[steps * SIZE];
        Var[] state = References.map(new Var[SIZE], _ -> Var.of(0)), cell = state;
        for (int n = 0; n < steps; n++) {
            int t = reverse ? steps - 1 - n : n;
            Var[] gates = References.zip(
                    Arrays.copyOfRange(a, t * 4 * SIZE, (t + 1) * 4 * SIZE),
                    References.matmulT(state, w, SIZE),
                    Var::plus);
            Var[] in = gate(gates, 0, Activation.SIGMOID), forget = gate(gates, 1, Activation.SIGMOID);
            Var[] fresh = gate(gates, 2, Activation.TANH), out = gate(gates, 3, Activation.SIGMOID);
            cell = References.zip(
                    References.zip(forget, cell, Var::times), References.zip(in, fresh, Var::times), Var::plus);
            state = References.zip(out, References.map(cell, Var::tanh), Var::times);
            System.arraycopy(state, 0, h, t * SIZE, SIZE);
        }
        return h;
    }

    private static Var[] gate(Var[] gates, int which, Activation f) {
        Var[] part = Arrays.copyOfRange(gates, which * SIZE, (which + 1) * SIZE);
        return References.map(part, v -> References.activation(v, f));
    }

    @ParameterizedTest
    @ValueSource(ints = {0, 1, 4})
    void concatAndItsGradient(int rows) {
        OpContract.check(
                new OpContract.Case(
                        false, new int[][] {{rows, 2}, {rows, 3}}, in -> RecurrentOps.concat(in[0], in[1]), in -> {
                            Var[] y = new Var[5 * rows];
                            for (int i = 0; i < y.length; i++) {
                                int row = i / 5, column = i % 5;
                                y[i] = column < 2 ? in[0][row * 2 + column] : in[1][row * 3 + column - 2];
                            }
                            return y;
                        }),
                20 + rows);
    }

    /** With all gates' inputs 0: i = f = o = 1/2, g = 0; with g's at infinity, c_1 = 1/2 and h_1 = tanh(1/2) / 2. */
    @Test
    void aStepByHand() {
        try (var _ = Memory.scope()) {
            Tensor w = Tensor.zeros(4, 1);
            assertThat(RecurrentOps.lstm(Tensor.zeros(1, 4), w, false).toArray())
                    .containsExactly(0f);
            float[] h = RecurrentOps.lstm(Tensor.of(new float[] {0, 0, 100, 0, 0, 0, 100, 0}, 2, 4), w, false)
                    .toArray();
            assertThat((double) h[0]).isCloseTo(Math.tanh(0.5) / 2, within(1e-6));
            assertThat((double) h[1]).isCloseTo(Math.tanh(0.75) / 2, within(1e-6)); // c_2 = c_1 / 2 + 1 / 2
        }
    }

    @Test
    void whatDoesNotFitIsSaid() {
        refused(
                () -> RecurrentOps.lstm(Tensor.zeros(5, 8), Tensor.zeros(12, 3), false),
                "lstm: [5, 8] does not fit [12, 3]: a must be [T, 4 H] and w [4 H, H]");
        refused(
                () -> RecurrentOps.lstm(Tensor.zeros(1, 5, 12), Tensor.zeros(12, 3), false),
                "lstm: [1, 5, 12] does not fit [12, 3]: both must have two dimensions");
        refused(
                () -> RecurrentOps.concat(Tensor.zeros(2, 3), Tensor.zeros(3, 3)),
                "concat: [2, 3] does not fit [3, 3]: both must have equally many rows");
    }

    private static void refused(Supplier<Tensor> call, String message) {
        try (var _ = Memory.scope()) {
            assertThatThrownBy(call::get).isInstanceOf(ShapeException.class).hasMessage(message);
        }
    }
}
