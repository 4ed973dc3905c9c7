package anneal.quant.post;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import anneal.tensor.Memory;
import anneal.tensor.Ops;
import anneal.tensor.Rng;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import anneal.train.AdamW;
import anneal.train.Optimizer;
import java.lang.foreign.Arena;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Rounding in the forward pass, identity in the backward pass. */
class QuantAwareTest {
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

    private float[] gradient(UnaryOperator<Tensor> op, Tensor x, float[] dy) {
        x.trainable(true);
        x.zeroGrad();
        Tape.backward(Ops.sum(Ops.mul(op.apply(x), Tensor.of(dy, x.shape().dims()))));
        return x.grad().toArray();
    }

    private static float[] ramp(int n) {
        float[] dy = new float[n];
        for (int i = 0; i < n; i++) {
            dy[i] = 1 + 0.1f * i;
        }
        return dy;
    }

    /**
     * A staircase is differentiable where it is flat for good, and over whole steps elsewhere: central differences over {@code steps}
     * steps of the grid are then exact. In double, from the op's own values.
     */
    private static double slope(UnaryOperator<Tensor> op, float[] x, int i, double step) {
        float[] up = x.clone(), down = x.clone();
        up[i] += (float) step;
        down[i] -= (float) step;
        double a = op.apply(Tensor.of(up, 1, x.length)).get(i),
                b = op.apply(Tensor.of(down, 1, x.length)).get(i);
        return (a - b) / (2 * step);
    }

    @Test
    void clippedInputsHaveTheSlopeOfTheStaircase() {
        float a = 0.03125f; // a power of two: whole steps are exact
        float[] x = {0.4f, -1.3f, 2.22f, 3.1f, 3.5f, 4.8f, 60f, -77f, -4.7f, 0f};
        UnaryOperator<Tensor> op = t -> FakeQuantise.clipped(t, a);
        float[] dy = ramp(x.length);
        float[] dx = gradient(op, parameter(x), dy);
        for (int i = 0; i < x.length; i++) {
            // 127 a = 3.97
            double expected = slope(op, x, i, 4 * a);
            assertThat(expected).isEqualTo(Math.abs(x[i]) < 3.9 ? 1.0 : 0.0);
            assertThat((double) dx[i]).as("x = %s", x[i]).isCloseTo(expected * dy[i], within(1e-6));
        }
    }

    private Tensor parameter(float[] x) {
        Tensor t = Tensor.allocate(arena, anneal.tensor.Shape.of(1, x.length));
        t.set(x);
        return t;
    }

    @Test
    void weightsAndTokensHaveSlopeOneOverWholeSteps() {
        float[] x = {0.4f, -1.3f, 2.22f, 3.1f, -7.9375f, 0.8f};
        // The largest sets the step and stays as it is: 127 a = 7.9375.
        for (UnaryOperator<Tensor> op : List.<UnaryOperator<Tensor>>of(
                FakeQuantise::tokens, t -> FakeQuantise.weights(t, Grid.bits(8).symmetrical()))) {
            float[] dy = ramp(x.length);
            float[] dx = gradient(op, parameter(x), dy);
            for (int i = 0; i < x.length; i++) {
                if (i != 4) {
                    assertThat(slope(op, x, i, 0.125)).isCloseTo(1, within(1e-6));
                }
                assertThat(dx[i]).isCloseTo(dy[i], within(1e-6f));
            }
        }
    }

    /** The same numbers whether rounding is imitated in floats or done in integers. */
    @Test
    void finishedLayersComputeWhatTheyWereTrainedToCompute() {
        for (boolean tokens : new boolean[] {false, true}) {
            Planted.One model = new Planted.One(Planted.normal(arena, new Rng(1), 0.2, 12, 32));
            Tensor x = Planted.normal(arena, new Rng(2), 1, 9, 32);
            QuantAware aware = new QuantAware(Grid.bits(4).groups(16).symmetrical(), tokens);
            Map<String, Tensor> trained = aware.prepare(model, p -> true);
            assertThat(trained.keySet()).containsExactly("layer.weight");
            assertThat(model.trainable()).isEqualTo(trained);
            float[] before = model.layer.forward(x).toArray();
            aware.finish(model);
            assertThat(model.layer.weight().format()).isEqualTo(tokens ? "W4A8 g16" : "INT4 g16 sym");
            assertThat(Planted.largestDifference(model.layer.forward(x).toArray(), before))
                    .isLessThan(1e-5);
        }
    }

    @Test
    void trainingThroughTheRoundingBeatsRoundingAfterwards() {
        Tensor teacher = Planted.normal(arena, new Rng(1), 0.2, 12, 32);
        Tensor x = Planted.correlated(arena, new Rng(2), 128, 32);
        float[] y = Ops.matmulT(x, teacher).toArray();
        Grid grid = Grid.bits(3).symmetrical();
        Planted.One model = new Planted.One(teacher);
        QuantAware aware = new QuantAware(grid, true);
        Map<String, Tensor> trained = aware.prepare(model, p -> true);
        double first = error(model, x, y);
        int steps = 300;
        try (Optimizer optimizer = new Optimizer(trained, new AdamW(0), List.of())) {
            for (int i = 0; i < steps; i++) {
                try (var _ = Memory.scope()) {
                    optimizer.zeroGrad();
                    Tensor off = Ops.sub(model.layer.forward(x), Tensor.of(y, 128, 12));
                    Tape.backward(Ops.sum(Ops.mul(off, off)));
                    // Down to nothing: weights at the edge of two codes would go on changing sides.
                    optimizer.step(1.0 / y.length, 1e-4 * (1 - (double) i / steps));
                }
            }
        }
        aware.finish(model);
        double last = error(model, x, y);
        System.out.printf("W3A8: rounded %.4f, after quantisation-aware training %.4f%n", first, last);
        assertThat(last).isLessThan(0.85 * first);
    }

    private static double error(Planted.One model, Tensor x, float[] y) {
        try (var _ = Tape.pause()) {
            return Planted.relative(model.layer.forward(x).toArray(), y);
        }
    }

    @Test
    void badInputIsOneSentence() {
        assertThatThrownBy(() -> new QuantAware(Grid.bits(4), true))
                .hasMessage("QuantAware: the grid INT4 must be symmetric for products of integers");
        Planted.One model = new Planted.One(Planted.normal(arena, new Rng(1), 0.2, 12, 32));
        new QuantAware(Grid.bits(4), false).prepare(model, p -> true);
        assertThatThrownBy(() -> new QuantAware(Grid.bits(4), false).prepare(model, p -> true))
                .hasMessage("quantise: layer is stored as QAT INT4 already; quantise from the original weights");
        assertThatThrownBy(() -> FakeQuantise.clipped(Tensor.zeros(2), 0))
                .hasMessage("fakeQuantise: [2]: the scale 0.0 must be positive");
        assertThatThrownBy(() -> FakeQuantise.weights(Tensor.zeros(2), Grid.bits(4)))
                .hasMessage("fakeQuantise: [2]: the weight must have two dimensions");
    }
}
