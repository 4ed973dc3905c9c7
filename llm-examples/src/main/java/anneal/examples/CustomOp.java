package anneal.examples;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import anneal.tensor.Memory;
import anneal.tensor.Ops;
import anneal.tensor.Rng;
import anneal.tensor.Shape;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** Recipe: an op of your own, trained through: squared ReLU (So et al., arXiv:2109.08668) in a small network. */
public final class CustomOp {
    private CustomOp() {}

    /**
     * y = max(x, 0)^2, element-wise.
     *
     * <p>Shapes: x [..] -> the same. Gradient: dx = 2 max(x, 0) dy.
     */
    public static Tensor squaredRelu(Tensor x) {
        Tensor y = Tensor.like(x);
        for (long i = 0; i < x.size(); i++) {
            float positive = Math.max(x.get(i), 0);
            y.buf().setAtIndex(JAVA_FLOAT, i, positive * positive);
        }
        return Tape.record(y, () -> squaredReluGrad(x, y), x);
    }

    private static void squaredReluGrad(Tensor x, Tensor y) {
        MemorySegment dx = x.gradBuf(), dy = y.gradBuf();
        for (long i = 0; i < x.size(); i++) {
            float slope = 2 * Math.max(x.get(i), 0);
            dx.setAtIndex(JAVA_FLOAT, i, dx.getAtIndex(JAVA_FLOAT, i) + slope * dy.getAtIndex(JAVA_FLOAT, i));
        }
    }

    /** Fits sin(3 x) on [-1, 1] with one hidden layer and returns the mean squared error after each step. */
    public static double[] fit(int steps, float rate, long seed) {
        int points = 64, hidden = 32;
        double[] errors = new double[steps];
        try (Arena arena = Arena.ofShared()) {
            Rng rng = new Rng(seed);
            Tensor w1 = parameter(arena, rng, hidden, 2), w2 = parameter(arena, rng, 1, hidden);
            float[] inputs = new float[2 * points], wanted = new float[points];
            for (int i = 0; i < points; i++) {
                inputs[2 * i] = 2f * i / (points - 1) - 1;
                inputs[2 * i + 1] = 1;
                wanted[i] = (float) Math.sin(3 * inputs[2 * i]);
            }
            for (int step = 0; step < steps; step++) {
                try (Memory.Scope scope = Memory.scope()) {
                    Tensor x = Tensor.of(inputs, points, 2), target = Tensor.of(wanted, points, 1);
                    Tensor y = Ops.matmulT(squaredRelu(Ops.matmulT(x, w1)), w2);
                    Tensor miss = Ops.sub(y, target);
                    Tensor loss = Ops.scale(Ops.sum(Ops.mul(miss, miss)), 1f / points);
                    Tape.backward(loss);
                    errors[step] = loss.item();
                }
                descend(w1, rate);
                descend(w2, rate);
            }
        }
        return errors;
    }

    private static Tensor parameter(Arena arena, Rng rng, int... dims) {
        Tensor w = Tensor.allocate(arena, Shape.of(dims)).trainable(true);
        float[] values = new float[Math.toIntExact(w.size())];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) (rng.nextGaussian() / Math.sqrt(dims[1]));
        }
        w.set(values);
        return w;
    }

    /** w -= rate dw, then dw = 0. */
    private static void descend(Tensor w, float rate) {
        try (Memory.Scope scope = Memory.scope();
                Tape.Pause pause = Tape.pause()) {
            Ops.addInPlace(w, Ops.scale(w.grad(), -rate));
        }
        w.zeroGrad();
    }

    /** Prints how the error falls. */
    public static void main(String[] args) {
        double[] errors = fit(500, 0.05f, 1);
        for (int step = 0; step < errors.length; step += 100) {
            System.out.printf("step %3d  error %.5f%n", step, errors[step]);
        }
        System.out.printf("step %3d  error %.5f%n", errors.length - 1, errors[errors.length - 1]);
    }
}
