package anneal.tensor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import anneal.kernels.F32Matrix;
import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The projection with its loss in chunks against the same in plain steps: logits, then their loss. */
class ProjectedNllTest {
    private static final int ROWS = 70;
    private static final int DIM = 6;
    private static final int VOCAB = 11;

    private final Arena arena = Arena.ofShared();
    private Memory.Scope scope;

    @BeforeEach
    void open() {
        scope = Memory.scope();
    }

    @AfterEach
    void close() {
        Tape.clear();
        scope.close();
        arena.close();
    }

    private Tensor parameter(long seed, int... dims) {
        Tensor x = Tensor.allocate(arena, Shape.of(dims)).trainable(true);
        x.set(numbers(seed, Math.toIntExact(x.size())));
        return x;
    }

    private static float[] numbers(long seed, int n) {
        Rng rng = new Rng(seed);
        float[] values = new float[n];
        for (int i = 0; i < n; i++) {
            values[i] = (float) rng.nextGaussian();
        }
        return values;
    }

    /** Which rows have a target. */
    enum Targets {
        ALL,
        SOME,
        ONE,
        NONE;

        int[] make() {
            Rng rng = new Rng(3);
            int[] targets = new int[ROWS];
            for (int i = 0; i < ROWS; i++) {
                boolean trained = switch (this) {
                    case ALL -> true;
                    case SOME -> i % 3 != 1;
                    case ONE -> i == 41;
                    case NONE -> false;
                };
                targets[i] = trained ? rng.nextInt(VOCAB) : -1;
            }
            return targets;
        }
    }

    private record Result(float[] nll, float[] dHidden, float[] dW) {}

    /** Runs with a different weight for the loss of each row. */
    private Result run(Tensor hidden, Tensor w, Tensor nll) {
        return run(hidden, w, nll, Ops.sum(Ops.mul(nll, Tensor.of(numbers(9, ROWS), ROWS))));
    }

    private Result run(Tensor hidden, Tensor w, Tensor nll, Tensor loss) {
        Result r;
        if (loss.tracked()) {
            Tape.backward(loss);
        }
        r = new Result(
                nll.toArray(),
                hidden.hasGrad() ? hidden.grad().toArray() : null,
                w.hasGrad() ? w.grad().toArray() : null);
        hidden.zeroGrad();
        w.zeroGrad();
        return r;
    }

    private static void assertSame(float[] actual, float[] expected) {
        if (expected == null) {
            assertThat(actual).isNull();
            return;
        }
        assertThat(actual).hasSameSizeAs(expected);
        for (int i = 0; i < expected.length; i++) {
            assertThat(actual[i]).as("element %d", i).isCloseTo(expected[i], within(2e-5f));
        }
    }

    @ParameterizedTest
    @EnumSource
    void equalsLogitsAndTheirLoss(Targets kind) {
        int[] targets = kind.make();
        for (NllOptions options :
                List.of(NllOptions.PLAIN, new NllOptions(0.1f, 0), new NllOptions(0.1f, 0.01f), NllOptions.SUMMED)) {
            for (boolean trainHidden : new boolean[] {true, false}) {
                for (boolean trainW : new boolean[] {true, false}) {
                    // One chunk; chunks that fit (35 rows), that leave a rest (32), and the smallest (16).
                    for (int chunkRows : new int[] {ROWS, 35, 32, 1}) {
                        compare(targets, options, trainHidden, trainW, chunkRows);
                    }
                }
            }
        }
    }

    /** The hint that rows count the same, where they do: the first time the gradient is written, then it is added to. */
    @Test
    void aSumOfRowsHasTheSameGradient() {
        Tensor hidden = parameter(1, ROWS, DIM), w = parameter(2, VOCAB, DIM);
        F32Matrix matrix = new F32Matrix(w.buf(), VOCAB, DIM);
        int[] targets = Targets.SOME.make();
        NllOptions plain = new NllOptions(0.1f, 0.01f), summed = new NllOptions(0.1f, 0.01f, true);
        Tensor expected = Ops.nll(Ops.matmulT(hidden, w), targets, plain);
        Result e = run(hidden, w, expected, Ops.scale(Ops.sum(expected), 0.5f));
        Tensor nll = ProjectedNll.of(hidden, matrix, w, targets, summed, 16 * VOCAB);
        Result a = run(hidden, w, nll, Ops.scale(Ops.sum(nll), 0.5f));
        assertSame(a.dHidden, e.dHidden);
        assertSame(a.dW, e.dW);
        Tensor again = ProjectedNll.of(hidden, matrix, w, targets, summed, 16 * VOCAB);
        Tensor both = Ops.add(Ops.sum(again), Ops.sum(Ops.matmulT(Tensor.zeros(1, DIM), w)));
        assertSame(run(hidden, w, again, Ops.scale(both, 0.5f)).dW, e.dW);
    }

    private void compare(int[] targets, NllOptions options, boolean trainHidden, boolean trainW, int chunkRows) {
        Tensor hidden = parameter(1, 2, ROWS / 2, DIM).trainable(trainHidden);
        Tensor w = parameter(2, VOCAB, DIM).trainable(trainW);
        Result plain = run(hidden, w, Ops.nll(Ops.matmulT(hidden, w), targets, options));
        F32Matrix matrix = new F32Matrix(w.buf(), VOCAB, DIM);
        Result fused = run(hidden, w, ProjectedNll.of(hidden, matrix, w, targets, options, chunkRows * VOCAB));
        assertSame(fused.nll, plain.nll);
        if (Arrays.stream(targets).anyMatch(t -> t >= 0)) {
            assertSame(fused.dHidden, plain.dHidden);
            assertSame(fused.dW, plain.dW);
        } else if (trainHidden) {
            assertThat(fused.dHidden).containsOnly(0f);
        }
    }

    @Test
    void aStoredProjectionIsWidenedNotCopied() {
        Bf16Matrix stored = Bf16Matrix.random(VOCAB, DIM, 4);
        Tensor hidden = parameter(1, ROWS, DIM),
                dense = parameter(2, VOCAB, DIM).trainable(false);
        dense.set(stored.floats());
        int[] targets = Targets.SOME.make();
        Result expected = run(hidden, dense, Ops.nll(hidden, dense, targets, NllOptions.PLAIN));
        Result actual = run(hidden, dense, Ops.nll(hidden, stored, targets, NllOptions.PLAIN));
        assertSame(actual.nll, expected.nll);
        assertSame(actual.dHidden, expected.dHidden);
        assertThat(actual.dW).isNull();
    }

    /** As in a model with a tied embedding, whose table gets its gradient from both ends. */
    @Test
    void aTiedTableGetsBothGradients() {
        Tensor w = parameter(2, VOCAB, DIM);
        int[] ids = new int[ROWS], targets = Targets.SOME.make();
        Arrays.setAll(ids, i -> i % VOCAB);
        Result plain = run(w, w, Ops.nll(Ops.matmulT(Ops.embedding(w, ids), w), targets, NllOptions.PLAIN));
        Result fused = run(w, w, Ops.nll(Ops.embedding(w, ids), w, targets, NllOptions.PLAIN));
        assertSame(fused.dW, plain.dW);
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void neverHoldsAllLogits(boolean trainW) {
        int vocab = 5000, rows = 512, chunk = 16 * vocab;
        Tensor hidden = parameter(1, rows, 8), w = parameter(2, vocab, 8).trainable(trainW);
        int[] targets = new int[rows];
        long bytes;
        try (Memory.Scope step = Memory.scope(true)) {
            F32Matrix matrix = new F32Matrix(w.buf(), vocab, 8);
            Tape.backward(Ops.sum(ProjectedNll.of(hidden, matrix, w, targets, NllOptions.PLAIN, chunk)));
            bytes = step.bytes();
        }
        assertThat(bytes).isLessThan(4L * rows * vocab / 10);
    }

    @Test
    void computesNoGradientThatNobodyWants() {
        Tensor hidden = parameter(1, ROWS, DIM), w = parameter(2, VOCAB, DIM);
        int[] targets = Targets.ALL.make();
        long[] bytes = new long[2];
        for (int run = 0; run < 2; run++) {
            hidden.trainable(run == 0);
            w.trainable(run == 0);
            try (Memory.Scope step = Memory.scope(true)) {
                Ops.nll(hidden, w, targets, NllOptions.PLAIN);
                bytes[run] = step.bytes();
            }
        }
        assertThat(bytes[0] - bytes[1]).isGreaterThanOrEqualTo(4L * ROWS * DIM);
    }

    @Test
    void theCallersTargetsMayChangeAfterwards() {
        Tensor hidden = parameter(1, ROWS, DIM), w = parameter(2, VOCAB, DIM);
        int[] targets = Targets.SOME.make();
        Result expected = run(hidden, w, Ops.nll(hidden, w, targets.clone(), NllOptions.PLAIN));
        Tensor nll = Ops.nll(hidden, w, targets, NllOptions.PLAIN);
        Arrays.fill(targets, 0);
        assertSame(run(hidden, w, nll).dHidden, expected.dHidden);
    }

    @Test
    void saysWhatDoesNotFit() {
        Tensor hidden = parameter(1, 2, 3, DIM), w = parameter(2, VOCAB, DIM), other = parameter(2, VOCAB, 5);
        assertThatThrownBy(() -> Ops.nll(hidden, other, new int[6], NllOptions.PLAIN))
                .isInstanceOf(ShapeException.class)
                .hasMessage("nll: hidden [2, 3, 6] does not fit projection [11, 5]: last dim 6 must equal 5");
        assertThatThrownBy(() -> Ops.nll(hidden, w, new int[5], NllOptions.PLAIN))
                .isInstanceOf(ShapeException.class)
                .hasMessage("nll: [2, 3, 6]: needs one target per row, got 5");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> Ops.nll(hidden, w, new int[] {0, 1, 2, 3, 4, 11}, NllOptions.PLAIN))
                .withMessage("nll: target 11 is outside the 11 classes");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> Ops.nll(hidden, w, new int[] {0, 1, 2, 3, 4, -2}, NllOptions.PLAIN))
                .withMessage("nll: target -2 is outside the 11 classes");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> new NllOptions(1f, 0))
                .withMessage("label smoothing 1.0 must be in [0, 1)");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> new NllOptions(0, -1))
                .withMessage("z-loss weight -1.0 must not be negative");
    }
}
