package anneal.tensor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import anneal.kernels.Activation;
import java.lang.foreign.Arena;
import java.util.List;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class TapeTest {
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

    // ---------------------------------------------------------------- recording

    @Test
    void recordsOnlyWhatDependsOnATrainedTensor() {
        Tensor frozen = parameter(1, 2, 3).trainable(false), trained = parameter(2, 2, 3);
        assertThat(Ops.scale(frozen, 2f).tracked()).isFalse();
        assertThat(Tape.size()).isZero();
        assertThat(Ops.add(frozen, trained).tracked()).isTrue();
        assertThat(Tape.size()).isEqualTo(1);
    }

    @Test
    void pauseStopsRecordingAndDropoutUntilTheOutermostIsClosed() {
        Tensor x = parameter(1, 4);
        try (Tape.Pause outer = Tape.pause()) {
            try (Tape.Pause inner = Tape.pause()) {
                assertThat(Tape.recording()).isFalse();
            }
            assertThat(Tape.recording()).isFalse();
            assertThat(Tape.training()).isFalse();
            assertThat(Ops.dropout(x, 0.5f)).isSameAs(x);
            assertThat(Ops.scale(x, 2f).tracked()).isFalse();
        }
        assertThat(Tape.recording()).isTrue();
        assertThat(Tape.training()).isTrue();
        assertThat(Tape.size()).isZero();
    }

    @Test
    void pausesCloseOnceAndInReverseOrder() {
        Tape.Pause outer = Tape.pause(), inner = Tape.pause();
        assertThatThrownBy(outer::close)
                .isInstanceOf(IllegalStateException.class)
                .hasMessage("Tape: pauses must be closed once, in reverse order");
        inner.close();
        outer.close();
        assertThatThrownBy(outer::close).isInstanceOf(IllegalStateException.class);
        assertThat(Tape.recording()).isTrue();
    }

    @Test
    void theOutermostScopeTakesAForgottenRecordingWithIt() throws Exception {
        Tensor x = parameter(1, 4);
        int[] left = new int[1];
        Thread thread = new Thread(() -> {
            try (Memory.Scope step = Memory.scope()) {
                Ops.scale(x, 2f);
                try (Memory.Scope part = Memory.scope()) {
                    Ops.scale(x, 2f);
                }
                left[0] = Tape.size();
            }
            left[0] = 10 * left[0] + Tape.size();
        });
        thread.start();
        thread.join();
        assertThat(left[0]).isEqualTo(20);
    }

    // ---------------------------------------------------------------- backward

    @Test
    void aLossThatDependsOnNothingTrainedIsAnError() {
        Tensor x = parameter(1, 4).trainable(false);
        assertThatIllegalArgumentException()
                .isThrownBy(() -> Tape.backward(Ops.sum(x)))
                .withMessage("backward: the loss depends on no trained parameter");
    }

    @Test
    void aLossMustBeOneNumber() {
        Tensor y = Ops.scale(parameter(1, 2, 3), 2f);
        assertThatThrownBy(() -> Tape.backward(y))
                .isInstanceOf(ShapeException.class)
                .hasMessage("backward: [2, 3]: the loss must be one number");
    }

    @Test
    void aSecondBackwardPassIsAnError() {
        Tensor x = parameter(1, 4), loss = Ops.sum(x);
        Tape.backward(loss);
        assertThatIllegalArgumentException()
                .isThrownBy(() -> Tape.backward(loss))
                .withMessage("backward: this loss is not on the tape;"
                        + " a second backward pass needs a second forward pass");
        assertThat(x.grad().toArray()).containsOnly(1f);
    }

    @Test
    void aParameterIsNoLoss() {
        Tensor x = parameter(1, 1);
        assertThatIllegalArgumentException()
                .isThrownBy(() -> Tape.backward(x))
                .withMessageContaining("not on the tape");
    }

    @Test
    void changingAParameterInPlaceIsAnErrorUnlessPaused() {
        Tensor x = parameter(1, 2, 3), b = parameter(2, 3);
        float[] before = x.toArray();
        List<Runnable> changes = List.of(
                () -> Ops.addBiasInPlace(x, b),
                () -> Ops.addInPlace(x, x),
                () -> Ops.addMatmulTInPlace(x, x, parameter(3, 3, 3), 1f));
        for (Runnable change : changes) {
            assertThatIllegalArgumentException()
                    .isThrownBy(change::run)
                    .withMessageContaining("[2, 3] is trained and must not be changed in place while recording");
        }
        assertThat(x.toArray()).isEqualTo(before);
        try (Tape.Pause pause = Tape.pause()) {
            Ops.addInPlace(x, x);
        }
        assertThat(x.get(0)).isEqualTo(2 * before[0]);
    }

    @Test
    void changingInPlaceWhatAnOpHasReadIsAnError() {
        Tensor x = Ops.scale(parameter(1, 2, 3), 1f);
        Tensor y = Ops.mul(x, x);
        Ops.addInPlace(x.view(6), parameter(2, 6));
        assertThatIllegalArgumentException()
                .isThrownBy(() -> Tape.backward(Ops.sum(y)))
                .withMessage("backward: [2, 3] was changed in place after the op that made [2, 3] had used it;"
                        + " its gradient needs the old numbers");
    }

    @Test
    void changingInPlaceAResultThatItsOwnOpNeedsIsAnError() {
        Tensor y = Ops.softmax(parameter(1, 2, 3));
        Ops.addInPlace(y, parameter(2, 2, 3));
        assertThatIllegalArgumentException()
                .isThrownBy(() -> Tape.backward(Ops.sum(y)))
                .withMessageContaining("changed in place");
    }

    @Test
    void anExceptionLeavesTheTapeUsable() {
        Tensor x = parameter(1, 2, 3);
        assertThatThrownBy(() -> Ops.add(Ops.scale(x, 2f), parameter(2, 3))).isInstanceOf(ShapeException.class);
        Tape.clear();
        Tensor broken = Tape.record(
                Tensor.of(new float[] {1}, 1),
                () -> {
                    throw new IllegalStateException("broken op");
                },
                x);
        assertThatThrownBy(() -> Tape.backward(broken)).hasMessage("broken op");
        assertThat(Tape.recording()).isTrue();
        assertThat(Tape.size()).isZero();
        Tape.backward(Ops.sum(x));
        assertThat(x.grad().toArray()).containsOnly(1f);
    }

    @Test
    void gradientsOfIntermediateResultsAreGivenBack() {
        long forwardOnly = bytesAfterWarmUp(false), withBackward = bytesAfterWarmUp(true);
        long one = 4L * 4096;
        // 20 layers: at most a handful of gradients live at once, not one a layer.
        assertThat(withBackward - forwardOnly).isBetween(1L, 5 * one);
    }

    private long bytesAfterWarmUp(boolean backward) {
        Tensor x = parameter(1, 4096);
        try (Memory.Scope step = Memory.scope(true)) {
            Tensor y = x;
            for (int i = 0; i < 20; i++) {
                y = Ops.activation(y, Activation.TANH);
            }
            Tensor loss = Ops.sum(y);
            if (backward) {
                Tape.backward(loss);
            }
            return step.bytes();
        } finally {
            Tape.clear();
        }
    }

    @Test
    void theGradientOfAnInPlaceResultThatWasUntrackedIsGivenBackToo() {
        Tensor bias = parameter(1, 4096), frozen = parameter(2, 1, 4096).trainable(false);
        long[] bytes = new long[2];
        for (int run = 0; run < 2; run++) {
            try (Memory.Scope step = Memory.scope(true)) {
                Tensor loss = Tensor.zeros(1);
                for (int i = 0; i < 10; i++) {
                    loss = Ops.add(loss, Ops.sum(Ops.addBiasInPlace(Ops.scale(frozen, 1f), bias)));
                }
                if (run == 1) {
                    Tape.backward(loss);
                }
                bytes[run] = step.bytes();
            }
            Tape.clear();
        }
        assertThat(bytes[1] - bytes[0]).isLessThan(4 * 4L * 4096);
    }

    // ---------------------------------------------------------------- remake

    /** Layers x + matmulT(tanh x, w); the tanh is kept, or remade. */
    private static Tensor layers(Tensor x, Tensor w, int count, boolean keep) {
        Tensor y = x;
        for (int i = 0; i < count; i++) {
            Tensor in = y, hidden = Ops.activation(in, Activation.TANH), branch = Ops.matmulT(hidden, w);
            if (!keep) {
                Tape.remake(hidden, branch, () -> Ops.activation(in, Activation.TANH), in);
            }
            y = Ops.addInPlace(branch, in);
        }
        return y;
    }

    @Test
    void whatIsRemadeGivesTheSameGradientsBitForBitInLessMemory() {
        Tensor w = parameter(1, 64, 64), x = parameter(2, 64, 64);
        long[] bytes = new long[2];
        float[][][] grads = new float[2][][];
        for (int run = 0; run < 2; run++) {
            boolean keep = run == 0;
            try (Memory.Scope step = Memory.scope(true)) {
                grads[run] = gradients(List.of(w, x), () -> Ops.sum(layers(x, w, 20, keep)));
                bytes[run] = step.bytes();
            }
        }
        assertThat(grads[1]).isDeepEqualTo(grads[0]);
        assertThat(bytes[1]).isLessThan(bytes[0] * 2 / 3);
    }

    @Test
    void whatIsRemadeInAnInnerScopeOutlivesIt() {
        Tensor w = parameter(1, 8, 8), x = parameter(2, 8, 8);
        float[][] kept = gradients(List.of(w, x), () -> Ops.sum(layers(x, w, 3, true)));
        w.zeroGrad();
        x.zeroGrad();
        Tensor loss = Ops.sum(layers(x, w, 3, false));
        try (Memory.Scope inner = Memory.scope(true)) {
            Tape.backward(loss);
        }
        assertThat(w.grad().toArray()).isEqualTo(kept[0]);
        assertThat(x.grad().toArray()).isEqualTo(kept[1]);
    }

    @Test
    void whatIsRemadeInsideACheckpointIsRemadeThere() {
        Tensor w = parameter(1, 8, 8), x = parameter(2, 8, 8);
        float[][] kept = gradients(List.of(w, x), () -> Ops.sum(layers(x, w, 3, true)));
        UnaryOperator<Tensor> two = y -> layers(y, w, 2, false);
        float[][] remade = gradients(List.of(w, x), () -> Ops.sum(layers(Tape.checkpoint(two, x), w, 1, false)));
        assertThat(remade).isDeepEqualTo(kept);
    }

    @Test
    void whatNoBackwardPassWillReadIsGivenBackForGood() {
        Tensor frozen = parameter(1, 4, 4).trainable(false);
        Tensor hidden = Ops.scale(frozen, 2f), y = Ops.scale(hidden, 3f);
        try (Tape.Pause pause = Tape.pause()) {
            Tape.remake(hidden, y, () -> Ops.scale(frozen, 2f), frozen);
            assertThat(hidden.get(0)).as("kept while paused").isEqualTo(2 * frozen.get(0));
        }
        Tape.remake(hidden, y, () -> Ops.scale(frozen, 2f), frozen);
        assertThat(Tape.size()).isZero();
        assertThatIllegalStateException().isThrownBy(hidden::toArray).withMessageContaining("[4, 4] were given back");
    }

    @Test
    void changingInPlaceWhatIsToBeRemadeFromIsAnError() {
        Tensor w = parameter(1, 8, 8), x = parameter(2, 8, 8);
        Tensor in = Ops.scale(x, 1f), hidden = Ops.scale(in, 2f), y = Ops.matmulT(hidden, w);
        Tape.remake(hidden, y, () -> Ops.scale(in, 2f), in);
        Ops.addInPlace(in, x);
        assertThatIllegalArgumentException()
                .isThrownBy(() -> Tape.backward(Ops.sum(y)))
                .withMessageContaining("was changed in place");
    }

    // ---------------------------------------------------------------- checkpoint

    /** Two linear layers with dropout between. */
    private static UnaryOperator<Tensor> block(Tensor w1, Tensor w2) {
        return x -> {
            Tensor h = Ops.dropout(Ops.activation(Ops.matmulT(x, w1), Activation.SILU), 0.25f);
            return Ops.add(x, Ops.dropout(Ops.matmulT(h, w2), 0.25f));
        };
    }

    /** The gradients of all parameters after one pass, and the next number of the noise. */
    private static float[][] gradients(List<Tensor> parameters, Supplier<Tensor> loss) {
        parameters.forEach(Tensor::zeroGrad);
        Tape.noise().restore(99);
        Tape.backward(loss.get());
        float[][] all = new float[parameters.size() + 1][];
        for (int i = 0; i < parameters.size(); i++) {
            all[i] = parameters.get(i).grad().toArray();
        }
        all[parameters.size()] = new float[] {(float) Tape.noise().nextDouble()};
        return all;
    }

    @Test
    void aCheckpointGivesTheSameGradientsBitForBit() {
        Tensor x = parameter(1, 5, 8), a = parameter(2, 16, 8), b = parameter(3, 8, 16), c = parameter(4, 8, 16);
        List<Tensor> parameters = List.of(x, a, b, c);
        UnaryOperator<Tensor> first = block(a, b), second = block(a, c);
        float[][] plain = gradients(parameters, () -> Ops.sum(second.apply(first.apply(x))));
        float[][] saved = gradients(parameters, () -> Ops.sum(Tape.checkpoint(second, Tape.checkpoint(first, x))));
        float[][] nested =
                gradients(parameters, () -> Ops.sum(Tape.checkpoint(y -> second.apply(Tape.checkpoint(first, y)), x)));
        assertThat(saved).isDeepEqualTo(plain);
        assertThat(nested).isDeepEqualTo(plain);
        assertThat(plain[1]).doesNotContain(0f);
    }

    @Test
    void aCheckpointOfComputedInputsReachesWhatTheyWereComputedFrom() {
        Tensor x = parameter(1, 5, 8), a = parameter(2, 16, 8), b = parameter(3, 8, 16);
        List<Tensor> parameters = List.of(x, a, b);
        UnaryOperator<Tensor> f = block(a, b);
        Supplier<Tensor> plain = () -> {
            Tensor h = Ops.scale(x, 2f), shift = Ops.scale(x, 3f);
            return Ops.sum(Ops.mul(Ops.add(f.apply(h), shift), h));
        };
        // shift is neither a parameter nor the input: captured, it must still get its gradient.
        Supplier<Tensor> saved = () -> {
            Tensor h = Ops.scale(x, 2f), shift = Ops.scale(x, 3f);
            return Ops.sum(Ops.mul(Tape.checkpoint(y -> Ops.add(f.apply(y), shift), h), h));
        };
        assertThat(gradients(parameters, saved)).isDeepEqualTo(gradients(parameters, plain));
    }

    @Test
    void aCheckpointThatDoesNothingPassesTheGradientOn() {
        Tensor x = parameter(1, 4);
        Tensor h = Ops.scale(x, 1f);
        Tape.backward(Ops.sum(Ops.add(Tape.checkpoint(y -> y, h), h)));
        assertThat(x.grad().toArray()).containsOnly(2f);
    }

    @Test
    void aCheckpointWithNothingTrainedIsNotRecorded() {
        Tensor x = parameter(1, 4).trainable(false);
        assertThat(Tape.checkpoint(y -> Ops.scale(y, 2f), x).tracked()).isFalse();
        assertThat(Tape.size()).isZero();
    }

    @Test
    void aPausedCheckpointJustComputes() {
        Tensor x = parameter(1, 4);
        try (Tape.Pause pause = Tape.pause()) {
            assertThat(Tape.checkpoint(y -> Ops.scale(y, 2f), x).get(1)).isEqualTo(2 * x.get(1));
        }
        assertThat(Tape.size()).isZero();
    }

    @Test
    void aCheckpointKeepsTheShapeAndLeavesItsInputAlone() {
        Tensor x = Ops.scale(parameter(1, 2, 4), 1f);
        assertThatThrownBy(() -> Tape.checkpoint(Ops::sumLast, x))
                .isInstanceOf(ShapeException.class)
                .hasMessage("checkpoint: [2, 4] does not fit [2]: f must keep the shape");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> Tape.checkpoint(y -> Ops.addInPlace(y, y.detach()), x))
                .withMessage("checkpoint: f must not change its input in place");
        assertThat(Tape.size()).as("only x itself").isEqualTo(1);
    }

    @Test
    void aFailureInsideACheckpointLeavesTheTapeAsItWas() {
        Tensor x = parameter(1, 4);
        boolean[] fail = {false};
        Tensor loss = Ops.sum(Tape.checkpoint(
                y -> {
                    if (fail[0]) {
                        throw new IllegalStateException("second time");
                    }
                    return Ops.scale(y, 2f);
                },
                x));
        fail[0] = true;
        assertThatThrownBy(() -> Tape.backward(loss)).hasMessage("second time");
        assertThat(Tape.recording()).isTrue();
        assertThat(Tape.size()).isZero();
        Tape.backward(Ops.sum(x));
    }

    @Test
    void aCheckpointHoldsNoMoreThanItsResult() {
        Tensor w = parameter(1, 64, 64), x = parameter(2, 64, 64);
        UnaryOperator<Tensor> deep = y -> {
            Tensor h = y;
            for (int i = 0; i < 10; i++) {
                h = Ops.activation(Ops.matmulT(h, w), Activation.TANH);
            }
            return h;
        };
        long[] bytes = new long[2];
        float[][] grads = new float[2][];
        for (int run = 0; run < 2; run++) {
            w.zeroGrad();
            try (Memory.Scope step = Memory.scope(true)) {
                Tensor y = run == 0 ? deep.apply(deep.apply(x)) : Tape.checkpoint(deep, Tape.checkpoint(deep, x));
                Tape.backward(Ops.sum(y));
                bytes[run] = step.bytes();
            }
            grads[run] = w.grad().toArray();
        }
        assertThat(grads[1]).isEqualTo(grads[0]);
        assertThat(bytes[1]).isLessThan(bytes[0] / 4);
    }

    // ---------------------------------------------------------------- custom ops

    @Test
    void aUsersOpIsRecordedLikeOurs() {
        Tensor x = parameter(1, 3);
        OpContract.check(
                new OpContract.Case(
                        false,
                        new int[][] {{2, 3}},
                        in -> cube(in[0]),
                        in -> References.map(in[0], v -> v.times(v).times(v))),
                5);
        Tape.backward(Ops.sum(cube(x)));
        for (int i = 0; i < 3; i++) {
            assertThat(x.grad().get(i)).isEqualTo(3 * x.get(i) * x.get(i));
        }
    }

    private static Tensor cube(Tensor x) {
        float[] a = x.toArray(), cubes = new float[a.length];
        for (int i = 0; i < a.length; i++) {
            cubes[i] = a[i] * a[i] * a[i];
        }
        Tensor y = Tensor.of(cubes, x.shape().dims());
        return Tape.record(
                y,
                () -> {
                    float[] dx = x.grad().toArray(), dy = y.grad().toArray();
                    for (int i = 0; i < dx.length; i++) {
                        dx[i] += dy[i] * 3 * a[i] * a[i];
                    }
                    x.grad().set(dx);
                },
                x);
    }

    @Test
    void eachThreadHasATapeOfItsOwn() throws Exception {
        Tensor x = parameter(1, 4);
        Ops.scale(x, 2f);
        int[] seen = {-1};
        Thread other = new Thread(() -> seen[0] = Tape.size());
        other.start();
        other.join();
        assertThat(seen[0]).isZero();
        assertThat(Tape.size()).isEqualTo(1);
    }
}
