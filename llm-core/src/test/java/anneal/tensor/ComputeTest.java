package anneal.tensor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import anneal.kernels.Attention;
import anneal.kernels.Compute;
import anneal.kernels.F32Matrix;
import anneal.kernels.Kernels;
import anneal.kernels.Matrix;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What the precision of the tape means for ops: who rounds, when it is asked for, and that the backward pass has the same one. */
class ComputeTest {
    private static final int ROWS = 24, IN = 40, OUT = 33;

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
        Rng rng = new Rng(seed);
        float[] values = new float[Math.toIntExact(x.size())];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) rng.nextGaussian();
        }
        x.set(values);
        return x;
    }

    /** A copy whose numbers are bfloat16. */
    private Tensor rounded(Tensor x) {
        Tensor y = Tensor.allocate(arena, x.shape()).trainable(true);
        Kernels.get().round(y.buf(), x.buf(), x.size(), Compute.BF16);
        return y;
    }

    private static Matrix matrix(Tensor w) {
        return new F32Matrix(w.buf(), w.dim(0), w.dim(1));
    }

    /** What an op computes, then the gradients of its inputs, given dy of bfloat16 numbers. */
    private static List<float[]> run(Compute compute, boolean closeFirst, Function<Tensor[], Tensor> op, Tensor... in) {
        for (Tensor x : in) {
            x.zeroGrad();
        }
        List<float[]> all = new ArrayList<>();
        Tape.Precision precision = Tape.compute(compute);
        Tensor y = op.apply(in);
        if (closeFirst) {
            precision.close();
        }
        float[] weights = new float[Math.toIntExact(y.size())];
        for (int i = 0; i < weights.length; i++) {
            weights[i] = i % 7 - 3;
        }
        Tape.backward(Ops.sum(Ops.mul(y, Tensor.of(weights, y.shape().dims()))));
        if (!closeFirst) {
            precision.close();
        }
        all.add(y.toArray());
        for (Tensor x : in) {
            all.add(x.grad().toArray());
        }
        return all;
    }

    private static void assertSame(List<float[]> got, List<float[]> expected) {
        assertThat(got).hasSameSizeAs(expected);
        for (int i = 0; i < got.size(); i++) {
            assertThat(got.get(i)).as("result %d", i).isEqualTo(expected.get(i));
        }
    }

    /** Far less than rounding an operand costs; a processor that multiplies bfloat16 in pairs adds up in another order. */
    private static void assertClose(List<float[]> got, List<float[]> expected) {
        assertThat(got).hasSameSizeAs(expected);
        for (int i = 0; i < got.size(); i++) {
            assertThat(got.get(i))
                    .as("result %d", i)
                    .usingComparatorWithPrecision(1e-5f)
                    .containsExactly(expected.get(i));
        }
    }

    /** The op in bfloat16 is the op in f32 on rounded inputs, and closing the scope before the backward pass changes not a bit. */
    private void roundsItsOperands(Function<Tensor[], Tensor> op, Tensor... in) {
        List<float[]> got = run(Compute.BF16, false, op, in);
        assertSame(run(Compute.BF16, true, op, in), got);
        Tensor[] rounded = new Tensor[in.length];
        for (int i = 0; i < in.length; i++) {
            rounded[i] = rounded(in[i]);
        }
        assertClose(got, run(Compute.F32, false, op, rounded));
        assertThat(got.getFirst()).isNotEqualTo(run(Compute.F32, false, op, in).getFirst());
    }

    @Test
    void productsAndAttentionRoundTheirOperands() {
        Tensor x = parameter(1, ROWS, IN), w = parameter(2, OUT, IN), wT = parameter(3, IN, OUT);
        roundsItsOperands(in -> Ops.matmulT(in[0], in[1]), x, w);
        roundsItsOperands(in -> Ops.matmul(in[0], in[1]), x, wT);
        roundsItsOperands(in -> Ops.addMatmulTInPlace(Tensor.zeros(ROWS, OUT), in[0], in[1], 0.5f), x, w);
        roundsItsOperands(
                in -> Ops.attention(in[0], in[1], in[2], Attention.causal(2, 12, 4, 2, 10)), x, half(5), half(6));
    }

    private Tensor half(long seed) {
        return parameter(seed, ROWS, IN / 2);
    }

    /** u = z aT is a sum in f32 that becomes an operand: the gradients are held to those of the two products one by one. */
    @Test
    void theLowRankAdditionIsTheTwoProducts() {
        Tensor x = parameter(1, ROWS, IN), w = parameter(2, OUT, IN).trainable(false);
        Tensor a = parameter(3, 4, IN), b = parameter(4, OUT, 4);
        List<float[]> joined =
                run(Compute.BF16, true, in -> Ops.matmulTLowRank(in[0], matrix(w), in[0], in[1], in[2], 1f), x, a, b);
        List<float[]> apart = run(
                Compute.BF16,
                true,
                in -> Ops.addMatmulTInPlace(Ops.matmulT(in[0], matrix(w)), Ops.matmulT(in[0], in[1]), in[2], 1f),
                x,
                a,
                b);
        for (int i = 0; i < joined.size(); i++) {
            assertThat(joined.get(i)).usingComparatorWithPrecision(1e-4f).containsExactly(apart.get(i));
        }
    }

    @Test
    void theFusedLossRoundsTheOperandsOfItsProducts() {
        Tensor h = parameter(1, ROWS, IN), w = parameter(2, OUT, IN);
        int[] targets = new int[ROWS];
        for (int i = 0; i < ROWS; i++) {
            targets[i] = i % OUT;
        }
        Function<Tensor[], Tensor> op = in -> Ops.nll(in[0], in[1], targets, NllOptions.PLAIN);
        List<float[]> got = run(Compute.BF16, true, op, h, w);
        assertSame(run(Compute.BF16, false, op, h, w), got);
        List<float[]> onRounded = run(Compute.F32, true, op, rounded(h), rounded(w));
        assertClose(got.subList(0, 1), onRounded.subList(0, 1));
        assertThat(got.getFirst()).isNotEqualTo(run(Compute.F32, true, op, h, w).getFirst());
    }

    @Test
    void everythingElseStaysF32() {
        Tensor x = parameter(1, ROWS, IN), w = parameter(2, IN);
        List<Function<Tensor[], Tensor>> ops = List.of(
                in -> Ops.sumLast(in[0]),
                in -> Ops.softmax(in[0]),
                in -> Ops.rmsNorm(in[0], w, 1e-5f),
                in -> Ops.mul(in[0], in[0]),
                in -> Ops.embedding(in[0], new int[] {3, 1}));
        for (Function<Tensor[], Tensor> op : ops) {
            assertSame(run(Compute.BF16, false, op, x), run(Compute.F32, false, op, x));
        }
    }

    @Test
    void aCheckpointIsComputedAgainInThePrecisionThatItHad() {
        Tensor x = parameter(1, ROWS, IN), w = parameter(2, IN, IN);
        Function<Tensor[], Tensor> block = in -> Ops.matmulT(Ops.softmax(in[0]), in[1]);
        Function<Tensor[], Tensor> kept = in -> Tape.checkpoint(z -> block.apply(new Tensor[] {z, in[1]}), in[0]);
        assertSame(run(Compute.BF16, true, kept, x, w), run(Compute.BF16, true, block, x, w));
        assertThat(Tape.compute()).isEqualTo(Compute.F32);
    }

    @Test
    void scopesNestBelongToTheirThreadAndCloseInOrder() throws InterruptedException {
        Tape.Precision outer = Tape.compute(Compute.BF16), inner = Tape.compute(Compute.INT8);
        assertThat(Tape.compute()).isEqualTo(Compute.INT8);
        Compute[] elsewhere = new Compute[1];
        Thread other = new Thread(() -> elsewhere[0] = Tape.compute());
        other.start();
        other.join();
        assertThat(elsewhere[0]).isEqualTo(Compute.F32);
        assertThatThrownBy(outer::close)
                .isInstanceOf(IllegalStateException.class)
                .hasMessage("Tape: choices of precision must be closed once, in reverse order");
        inner.close();
        assertThat(Tape.compute()).isEqualTo(Compute.BF16);
        outer.close();
        assertThatThrownBy(outer::close).isInstanceOf(IllegalStateException.class);
        assertThat(Tape.compute()).isEqualTo(Compute.F32);
    }

    @Test
    void bytesAreNotForTraining() {
        Tensor x = parameter(1, ROWS, IN), w = parameter(2, OUT, IN);
        try (Tape.Precision precision = Tape.compute(Compute.INT8)) {
            assertThatIllegalArgumentException()
                    .isThrownBy(() -> Ops.matmulT(x, w))
                    .withMessage(
                            "INT8 is for using a model: to train it, compute in F32 or BF16; to use it, pause the tape");
            assertThatIllegalArgumentException()
                    .isThrownBy(() -> Ops.addInPlace(Tensor.zeros(ROWS, IN), x))
                    .withMessageStartingWith("INT8 is for using a model");
            try (Tape.Pause pause = Tape.pause()) {
                assertThat(Ops.matmulT(x, w).tracked()).isFalse();
            }
        }
    }
}
