package anneal.tensor;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * What every op must keep, one of ours or a user's: give a {@link Case} and call {@link #check}.
 *
 * <p>First the reference is held to itself: its analytic gradient against central differences, in double. Then the op is held to the
 * reference, forward and backward, however its inputs came about and wherever else they are used.
 */
public final class OpContract {
    private static final double STEP = 1e-5;
    private static final float EXTRA = 0.75f;

    private OpContract() {}

    /** The op on tensors. */
    public interface FloatOp {
        Tensor apply(Tensor... in);
    }

    /** The op as a formula. */
    public interface DoubleOp {
        Var[] apply(Var[]... in);
    }

    /**
     * An op with everything but its tensor inputs fixed.
     *
     * @param inPlace true if the op changes its first input
     * @param shapes of the inputs
     */
    public record Case(boolean inPlace, int[][] shapes, FloatOp op, DoubleOp reference) {}

    /** Checks the case with random inputs of this seed. */
    public static void check(Case c, long seed) {
        float[][] in = new float[c.shapes.length][];
        Rng rng = new Rng(seed);
        for (int i = 0; i < in.length; i++) {
            in[i] = random(rng, Math.toIntExact(Shape.of(c.shapes[i]).size()));
        }
        Var.clear();
        Var[][] vars = vars(in);
        Var[] out = c.reference.apply(vars);
        float[] weights = random(rng, out.length);
        double[] expected = Arrays.stream(out).mapToDouble(Var::value).toArray();
        Var loss = weighted(out, weights);
        double[][] grads = Arrays.stream(vars).map(loss::gradient).toArray(double[][]::new);
        checkReference(c, in, weights, grads);
        new Checker(c, in, weights, expected, grads).all();
        Var.clear();
    }

    private static float[] random(Rng rng, int n) {
        float[] x = new float[n];
        for (int i = 0; i < n; i++) {
            x[i] = (float) rng.nextGaussian();
        }
        return x;
    }

    private static Var[][] vars(float[][] in) {
        Var[][] vars = new Var[in.length][];
        for (int i = 0; i < in.length; i++) {
            vars[i] = new Var[in[i].length];
            for (int k = 0; k < in[i].length; k++) {
                vars[i][k] = Var.of(in[i][k]);
            }
        }
        return vars;
    }

    private static Var weighted(Var[] out, float[] weights) {
        Var[] parts = new Var[out.length];
        for (int i = 0; i < parts.length; i++) {
            parts[i] = out[i].times(weights[i]);
        }
        return Var.sum(parts);
    }

    private static void checkReference(Case c, float[][] in, float[] weights, double[][] grads) {
        for (int i = 0; i < in.length; i++) {
            double[] numeric = new double[in[i].length];
            for (int k = 0; k < numeric.length; k++) {
                numeric[k] = (shifted(c, in, weights, i, k, STEP) - shifted(c, in, weights, i, k, -STEP)) / (2 * STEP);
            }
            assertClose("reference gradient against central differences, input " + i, numeric, grads[i], 1e-7);
        }
    }

    private static double shifted(Case c, float[][] in, float[] weights, int i, int k, double by) {
        Var.clear();
        Var[][] vars = vars(in);
        vars[i][k] = Var.of(in[i][k] + by);
        return weighted(c.reference.apply(vars), weights).value();
    }

    private static void assertClose(String what, double[] actual, double[] expected, double tolerance) {
        assertThat(actual).as(what).hasSameSizeAs(expected);
        double scale = 1 + Arrays.stream(expected).map(Math::abs).max().orElse(0);
        for (int i = 0; i < expected.length; i++) {
            if (!(Math.abs(actual[i] - expected[i]) <= tolerance * scale)) {
                throw new AssertionError(what + ": element " + i + " of " + expected.length + " is " + actual[i]
                        + ", expected " + expected[i]);
            }
        }
    }

    /** The op on tensors against the numbers of the reference. */
    private record Checker(Case c, float[][] in, float[] weights, double[] expected, double[][] grads) {
        private static final double TOLERANCE = 3e-5;

        void all() {
            inputsAreParameters();
            inputsAreComputed();
            inputsAreViews();
            usedElsewhereLater();
            usedElsewhereBefore();
            usedTwice();
            gradientsAddUpUntilCleared();
            untrackedGetsNoGradient();
            pausedRecordsNothing();
        }

        private Tensor[] leaves(Arena arena) {
            Tensor[] leaves = new Tensor[in.length];
            for (int i = 0; i < leaves.length; i++) {
                leaves[i] = Tensor.allocate(arena, Shape.of(c.shapes[i])).trainable(true);
                leaves[i].set(in[i]);
            }
            return leaves;
        }

        /** The op; a parameter that would be changed in place is copied first. */
        private Tensor apply(Tensor... inputs) {
            Tensor[] own = inputs.clone();
            if (c.inPlace) {
                own[0] = Ops.scale(own[0], 1f);
            }
            return c.op.apply(own);
        }

        private Tensor loss(Tensor y) {
            return Ops.sum(Ops.mul(y, Tensor.of(weights, y.shape().dims())));
        }

        private void assertGrads(String how, Tensor[] leaves, double factor, double plus) {
            for (int i = 0; i < leaves.length; i++) {
                double[] want =
                        Arrays.stream(grads[i]).map(g -> factor * g + plus).toArray();
                assertClose(how + ": gradient of input " + i, doubles(leaves[i].grad()), want, TOLERANCE);
            }
        }

        private static double[] doubles(Tensor x) {
            float[] a = x.toArray();
            double[] d = new double[a.length];
            Arrays.setAll(d, i -> a[i]);
            return d;
        }

        private interface Run {
            void run(Tensor[] leaves);
        }

        private void each(Run run) {
            try (Arena arena = Arena.ofShared();
                    Memory.Scope scope = Memory.scope()) {
                run.run(leaves(arena));
                assertThat(Tape.size()).as("ops left on the tape").isZero();
            }
        }

        private void inputsAreParameters() {
            each(leaves -> {
                Tensor y = apply(leaves);
                assertClose("forward", doubles(y), expected, TOLERANCE);
                assertThat(y.tracked()).isTrue();
                Tape.backward(loss(y));
                assertGrads("parameters", leaves, 1, 0);
                for (int i = 0; i < leaves.length; i++) {
                    assertThat(leaves[i].toArray())
                            .as("input %d is left alone", i)
                            .isEqualTo(in[i]);
                }
            });
        }

        private void inputsAreComputed() {
            each(leaves -> {
                Tensor[] computed = map(leaves, x -> Ops.scale(x, 1f));
                Tape.backward(loss(c.op.apply(computed)));
                assertGrads("computed inputs", leaves, 1, 0);
            });
        }

        private void inputsAreViews() {
            each(leaves -> {
                Tensor[] flat = map(leaves, x -> x.view(Math.toIntExact(x.size())));
                Tensor[] views = new Tensor[flat.length];
                for (int i = 0; i < views.length; i++) {
                    views[i] = flat[i].view(c.shapes[i]);
                }
                Tensor y = apply(views);
                Tape.backward(loss(y.view(Math.toIntExact(y.size()))));
                assertGrads("views", leaves, 1, 0);
            });
        }

        /** The other use runs first on the way back, so the op finds a gradient to add to. */
        private void usedElsewhereLater() {
            each(leaves -> {
                Tensor[] computed = map(leaves, x -> Ops.scale(x, 1f));
                Tensor loss = loss(apply(computed));
                Tape.backward(plusUses(loss, computed));
                assertGrads("used elsewhere later", leaves, 1, EXTRA);
            });
        }

        private void usedElsewhereBefore() {
            each(leaves -> {
                Tensor uses = plusUses(Tensor.zeros(1), leaves);
                Tape.backward(Ops.add(uses, loss(apply(leaves))));
                assertGrads("used elsewhere before", leaves, 1, EXTRA);
            });
        }

        private static Tensor plusUses(Tensor loss, Tensor[] inputs) {
            Tensor total = loss;
            for (Tensor x : inputs) {
                total = Ops.add(total, Ops.scale(Ops.sum(x), EXTRA));
            }
            return total;
        }

        private void usedTwice() {
            each(leaves -> {
                Tape.backward(Ops.add(loss(apply(leaves)), loss(apply(leaves))));
                assertGrads("used twice", leaves, 2, 0);
            });
        }

        private void gradientsAddUpUntilCleared() {
            each(leaves -> {
                Tape.backward(loss(apply(leaves)));
                Tape.backward(loss(apply(leaves)));
                assertGrads("two backward passes", leaves, 2, 0);
                for (Tensor x : leaves) {
                    x.zeroGrad();
                    assertThat(x.hasGrad()).isFalse();
                }
                Tape.backward(loss(apply(leaves)));
                assertGrads("after zeroGrad", leaves, 1, 0);
            });
        }

        /** Each input in turn is the only one that is trained, then the only one that is not. */
        private void untrackedGetsNoGradient() {
            for (int mask = 1; mask < 1 << in.length; mask++) {
                int trained = mask;
                each(leaves -> {
                    for (int i = 0; i < leaves.length; i++) {
                        leaves[i].trainable((trained >> i & 1) == 1);
                    }
                    Tensor y = apply(leaves);
                    assertClose("forward", doubles(y), expected, TOLERANCE);
                    Tape.backward(loss(y));
                    for (int i = 0; i < leaves.length; i++) {
                        if (leaves[i].tracked()) {
                            assertClose(
                                    "alone: gradient of input " + i, doubles(leaves[i].grad()), grads[i], TOLERANCE);
                        } else {
                            assertThat(leaves[i].hasGrad())
                                    .as("gradient of untracked input %d", i)
                                    .isFalse();
                        }
                    }
                });
            }
        }

        private void pausedRecordsNothing() {
            each(leaves -> {
                try (Tape.Pause pause = Tape.pause()) {
                    Tensor y = apply(leaves);
                    boolean isInput = Arrays.asList(leaves).contains(y);
                    assertThat(y.tracked()).as("tracked while paused").isEqualTo(isInput);
                }
            });
        }

        private interface Make {
            Tensor apply(Tensor x);
        }

        private static Tensor[] map(Tensor[] xs, Make f) {
            List<Tensor> ys = new ArrayList<>();
            for (Tensor x : xs) {
                ys.add(f.apply(x));
            }
            return ys.toArray(Tensor[]::new);
        }
    }
}
