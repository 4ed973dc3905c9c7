package anneal.tensor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import anneal.kernels.Parallel;
import java.lang.foreign.Arena;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** {@link PenaltyOps} against their formulas in double precision. */
class PenaltyOpsTest {
    private final int threads = Parallel.threads();

    @AfterEach
    void restore() {
        Parallel.threads(threads);
        Tape.clear();
    }

    private static float[] random(long seed, int n) {
        Rng rng = new Rng(seed);
        float[] x = new float[n];
        for (int i = 0; i < n; i++) {
            x[i] = (float) rng.nextGaussian();
        }
        return x;
    }

    @ParameterizedTest
    @CsvSource({"1, 1", "3, 7", "0, 4"})
    void drift(int rows, int columns) {
        float[] from = random(1, rows * columns), weight = random(2, rows * columns);
        OpContract.check(
                new OpContract.Case(
                        false,
                        new int[][] {{rows, columns}},
                        in -> PenaltyOps.drift(in[0], Tensor.of(from, rows, columns), Tensor.of(weight, rows, columns)),
                        in -> {
                            Var[] parts = new Var[from.length];
                            for (int i = 0; i < parts.length; i++) {
                                Var moved = in[0][i].plus(-from[i]);
                                parts[i] = moved.times(moved).times(weight[i]);
                            }
                            return new Var[] {Var.sum(parts)};
                        }),
                rows * 10L + columns);
    }

    @ParameterizedTest
    @CsvSource({"1, 1, 1", "3, 2, 7", "4, 5, 3"})
    void overlap(int rows, int others, int length) {
        float[] b = random(3, others * length);
        OpContract.check(
                new OpContract.Case(
                        false,
                        new int[][] {{rows, length}},
                        in -> PenaltyOps.overlap(in[0], Tensor.of(b, others, length)),
                        in -> {
                            Var[] fixed = new Var[b.length];
                            for (int i = 0; i < b.length; i++) {
                                fixed[i] = Var.of(b[i]);
                            }
                            return new Var[] {
                                Var.sum(References.map(
                                        References.matmulT(in[0], fixed, length),
                                        v -> v.relu().plus(v.times(-1).relu())))
                            };
                        }),
                rows * 100L + others * 10L + length);
    }

    @ParameterizedTest
    @CsvSource({"1, 3", "4, 5"})
    void norm(int rows, int columns) {
        OpContract.check(
                new OpContract.Case(
                        false, new int[][] {{rows, columns}}, in -> PenaltyOps.norm(in[0]), in -> new Var[] {
                            Var.sum(References.map(in[0], v -> v.times(v))).sqrt()
                        }),
                rows);
    }

    @Test
    void whereAPenaltyIsZeroSoIsItsGradient() {
        try (Arena arena = Arena.ofShared();
                var _ = Memory.scope()) {
            Tensor a = Tensor.allocate(arena, Shape.of(2, 3)).trainable(true);
            Tape.backward(PenaltyOps.norm(a)); // B of a fresh LoRA
            assertThat(a.grad().toArray()).containsOnly(0);
            a.set(new float[] {0, 1, 0, 0, 2, 0});
            Tensor other = Tensor.of(new float[] {3, 0, 0, 0, 0, 4}, 2, 3);
            Tensor y = PenaltyOps.overlap(a, other);
            assertThat(y.item()).isZero();
            Tape.backward(y);
            assertThat(a.grad().toArray()).containsOnly(0);
        }
    }

    @Test
    void threadsChangeNoBit() {
        int n = 100_003;
        try (Arena arena = Arena.ofShared()) {
            Tensor p = Tensor.allocate(arena, Shape.of(n)).trainable(true);
            p.set(random(5, n));
            float[][] results = new float[2][], grads = new float[2][];
            for (int t = 0; t < 2; t++) {
                Parallel.threads(t == 0 ? 1 : 5);
                p.zeroGrad();
                try (var _ = Memory.scope()) {
                    Tensor y = Ops.add(
                            PenaltyOps.drift(p, Tensor.of(random(6, n), n), Tensor.of(random(7, n), n)),
                            PenaltyOps.norm(p));
                    results[t] = y.toArray();
                    Tape.backward(y);
                    grads[t] = p.grad().toArray();
                }
            }
            assertThat(results[1]).containsExactly(results[0]);
            assertThat(grads[1]).containsExactly(grads[0]);
        }
    }

    @Test
    void saysWhatDoesNotFit() {
        assertThatThrownBy(() -> PenaltyOps.drift(Tensor.zeros(2, 3), Tensor.zeros(3, 2), Tensor.zeros(2, 3)))
                .isInstanceOf(ShapeException.class)
                .hasMessage("drift: [2, 3] does not fit [3, 2]: shapes must be equal");
        assertThatThrownBy(() -> PenaltyOps.drift(Tensor.zeros(2, 3), Tensor.zeros(2, 3), Tensor.zeros(6)))
                .hasMessage("drift: [2, 3] does not fit [6]: shapes must be equal");
        assertThatThrownBy(() -> PenaltyOps.overlap(Tensor.zeros(2, 3), Tensor.zeros(2, 4)))
                .isInstanceOf(ShapeException.class)
                .hasMessage("overlap: [2, 3] does not fit [2, 4]: both must be matrices with equally long rows");
    }
}
