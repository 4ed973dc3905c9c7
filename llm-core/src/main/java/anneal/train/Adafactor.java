package anneal.train;

import anneal.tensor.Memory;
import anneal.tensor.Ops;
import anneal.tensor.Shape;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import anneal.tensor.UpdateOps;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Adam whose mean squares of a matrix are kept as one mean per row and one per column: state of n + m numbers for n m.
 *
 * <pre>
 * keep = 1 - t^decayRate
 * R = keep R + (1 - keep) rowMean(g^2 + eps)      C = keep C + (1 - keep) columnMean(g^2 + eps)
 * u = g / sqrt(R C / mean(R))                     vectors: V as Adam's, u = g / sqrt(V)
 * u = u / max(1, rms(u) / clipThreshold)
 * alpha = rate relative(t) scale(p)               relative(t) = min(1e-2, 1/sqrt(t)) or, with warmupInit, min(1e-6 t, 1/sqrt(t))
 * p = p (1 - alpha weightDecay) - alpha u         with beta1 > 0 the steps alpha u are averaged first
 * </pre>
 * where relative(t) is 1 unless {@code relativeStep}, and scale(p) = max(minScale, rms(p)) if {@code scaleParameter}, else 1.
 *
 * <p>Shazeer and Stern, arXiv:1804.04235; the options are those of transformers' Adafactor. There the learning rate must be absent
 * when steps are relative; here it is a factor of them, so that a {@code Schedule.Constant(1)} gives the same.
 *
 * @param scaleParameter steps in proportion to the parameter's size
 * @param relativeStep rates that fall with the number of steps by themselves
 * @param warmupInit relative steps that begin small; needs relativeStep
 * @param clipThreshold largest root mean square of an update before the rate
 * @param decayRate negative: the memory's length grows with the number of steps
 * @param beta1 memory of the mean of updates; 0 = none kept
 * @param eps added to squared gradients
 * @param minScale least scale(p)
 * @param weightDecay part of the parameter taken away per unit of rate
 */
public record Adafactor(
        boolean scaleParameter,
        boolean relativeStep,
        boolean warmupInit,
        double clipThreshold,
        double decayRate,
        double beta1,
        double eps,
        double minScale,
        double weightDecay)
        implements UpdateRule {
    public Adafactor {
        UpdateRule.requireIn("Adafactor", "clipThreshold", clipThreshold, Double.MIN_VALUE, Double.POSITIVE_INFINITY);
        UpdateRule.requireIn("Adafactor", "decayRate", decayRate, -1, 0);
        UpdateRule.requireIn("Adafactor", "beta1", beta1, 0, 1);
        UpdateRule.requireIn("Adafactor", "eps", eps, 0, Double.POSITIVE_INFINITY);
        UpdateRule.requireIn("Adafactor", "minScale", minScale, 0, Double.POSITIVE_INFINITY);
        UpdateRule.requireIn("Adafactor", "weightDecay", weightDecay, 0, Double.POSITIVE_INFINITY);
        if (warmupInit && !relativeStep) {
            throw new IllegalArgumentException("Adafactor: warmupInit needs relativeStep");
        }
    }

    /** transformers' defaults: relative steps in proportion to the parameter; train with {@code Schedule.Constant(1)}. */
    public Adafactor() {
        this(true, true, false, 1, -0.8, 0, 1e-30, 1e-3, 0);
    }

    /** The defaults but for relative steps: the learning rate comes from the schedule. */
    public static Adafactor withRate(boolean scaleParameter) {
        return new Adafactor(scaleParameter, false, false, 1, -0.8, 0, 1e-30, 1e-3, 0);
    }

    @Override
    public List<Slot> slots(Shape p) {
        List<Slot> slots = new ArrayList<>();
        if (p.rank() == 2) {
            slots.add(new Slot("row", Shape.of(p.dim(0))));
            slots.add(new Slot("column", Shape.of(p.dim(1))));
        } else if (p.rank() == 1) {
            slots.add(new Slot("square", p));
        } else {
            throw new IllegalArgumentException("Adafactor: a parameter " + p + " is neither a matrix nor a vector");
        }
        if (beta1 > 0) {
            slots.add(new Slot("mean", p));
        }
        return slots;
    }

    @Override
    public void update(Tensor p, RuleState state, Update u) {
        try (Memory.Scope scope = Memory.scope();
                Tape.Pause pause = Tape.pause()) {
            double keep = 1 - Math.pow(u.step(), decayRate);
            Tensor g = Ops.scale(p.grad(), (float) u.gradScale());
            Tensor d = p.shape().rank() == 2
                    ? byRowAndColumn(g, state.tensor(0), state.tensor(1), keep)
                    : byElement(g, state.tensor(0), keep);
            double alpha = u.rate() * relative(u.step()) * (scaleParameter ? Math.max(minScale, rms(p)) : 1);
            d = Ops.scale(d, (float) (alpha / Math.max(1, rms(d) / clipThreshold)));
            if (beta1 > 0) {
                Tensor mean = state.tensor(state.size() - 1);
                blend(mean, d, beta1);
                d = mean;
            }
            double decay = u.decay() ? alpha * weightDecay : 0;
            p.set(Ops.sub(Ops.scale(p, (float) (1 - decay)), d));
        }
    }

    private double relative(long step) {
        return relativeStep ? Math.min(warmupInit ? 1e-6 * step : 1e-2, 1 / Math.sqrt(step)) : 1;
    }

    private Tensor byRowAndColumn(Tensor g, Tensor row, Tensor column, double keep) {
        int rows = g.dim(0), columns = g.dim(1);
        Tensor squares = Ops.mul(g, g);
        blend(row, plus(Ops.scale(Ops.sumLast(squares), 1f / columns), eps), keep);
        blend(column, plus(Ops.scale(Ops.matmul(filled(1, 1, rows), squares), 1f / rows), eps), keep);
        double mean = 0;
        for (float r : row.toArray()) {
            mean += (double) r / rows;
        }
        Tensor r = inverseRoot(row, 1 / mean), c = inverseRoot(column, 1);
        return Ops.mul(Ops.matmul(r.view(rows, 1), c.view(1, columns)), g);
    }

    private Tensor byElement(Tensor g, Tensor square, double keep) {
        blend(square, plus(Ops.mul(g, g), eps), keep);
        return Ops.mul(inverseRoot(square, 1), g);
    }

    /** state = keep state + (1 - keep) x. */
    private static void blend(Tensor state, Tensor x, double keep) {
        Tensor old = Ops.scale(state, (float) keep);
        state.set(
                Ops.add(old, Ops.scale(x, (float) (1 - keep)).view(state.shape().dims())));
    }

    /** 1 / sqrt(factor x): only of vectors, so a plain loop. */
    private static Tensor inverseRoot(Tensor x, double factor) {
        float[] a = x.toArray();
        for (int i = 0; i < a.length; i++) {
            a[i] = (float) (1 / Math.sqrt(a[i] * factor));
        }
        return Tensor.of(a, x.shape().dims());
    }

    private static Tensor plus(Tensor x, double value) {
        return Ops.add(x, filled(value, x.shape().dims()));
    }

    private static Tensor filled(double value, int... dims) {
        float[] a = new float[Math.toIntExact(Shape.of(dims).size())];
        Arrays.fill(a, (float) value);
        return Tensor.of(a, dims);
    }

    private static double rms(Tensor x) {
        return Math.sqrt(UpdateOps.squaredNorm(x) / x.size());
    }
}
