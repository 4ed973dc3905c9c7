package anneal.tensor;

import anneal.kernels.Erf;
import java.util.ArrayList;
import java.util.List;

/**
 * A double that remembers what it was computed from: reverse-mode differentiation of single numbers, independent of everything
 * under test but {@link Erf}.
 *
 * <p>A reference formula is written once on these; its value is the forward reference, the walk back its analytic gradient.
 */
public final class Var {
    private static final ThreadLocal<List<Var>> ORDER = ThreadLocal.withInitial(ArrayList::new);

    final double value;
    private final Var[] from;
    private final double[] slopes;
    private double grad;

    private Var(double value, Var[] from, double... slopes) {
        this.value = value;
        this.from = from;
        this.slopes = slopes;
        ORDER.get().add(this);
    }

    /** A number that depends on nothing. */
    public static Var of(double value) {
        return new Var(value, new Var[0]);
    }

    /** Numbers that depend on nothing. */
    public static Var[] of(double[] values) {
        Var[] all = new Var[values.length];
        for (int i = 0; i < all.length; i++) {
            all[i] = of(values[i]);
        }
        return all;
    }

    /** Forgets everything computed so far on this thread. */
    static void clear() {
        ORDER.get().clear();
    }

    /** d this / d x for each of {@code xs}, by one walk from the newest number to the oldest. */
    double[] gradient(Var[] xs) {
        List<Var> order = ORDER.get();
        order.forEach(v -> v.grad = 0);
        grad = 1;
        for (int i = order.size() - 1; i >= 0; i--) {
            Var v = order.get(i);
            for (int k = 0; k < v.from.length; k++) {
                v.from[k].grad += v.slopes[k] * v.grad;
            }
        }
        double[] g = new double[xs.length];
        for (int i = 0; i < g.length; i++) {
            g[i] = xs[i].grad;
        }
        return g;
    }

    /** The value. */
    public double value() {
        return value;
    }

    public Var plus(Var b) {
        return new Var(value + b.value, new Var[] {this, b}, 1, 1);
    }

    public Var plus(double b) {
        return new Var(value + b, new Var[] {this}, 1);
    }

    public Var minus(Var b) {
        return new Var(value - b.value, new Var[] {this, b}, 1, -1);
    }

    public Var times(Var b) {
        return new Var(value * b.value, new Var[] {this, b}, b.value, value);
    }

    public Var times(double b) {
        return new Var(value * b, new Var[] {this}, b);
    }

    public Var over(Var b) {
        return new Var(value / b.value, new Var[] {this, b}, 1 / b.value, -value / (b.value * b.value));
    }

    public Var exp() {
        return new Var(Math.exp(value), new Var[] {this}, Math.exp(value));
    }

    public Var log() {
        return new Var(Math.log(value), new Var[] {this}, 1 / value);
    }

    public Var sqrt() {
        return new Var(Math.sqrt(value), new Var[] {this}, 0.5 / Math.sqrt(value));
    }

    public Var tanh() {
        double t = Math.tanh(value);
        return new Var(t, new Var[] {this}, 1 - t * t);
    }

    public Var erf() {
        return new Var(Erf.erf(value), new Var[] {this}, 2 / Math.sqrt(Math.PI) * Math.exp(-value * value));
    }

    public Var relu() {
        return new Var(Math.max(value, 0), new Var[] {this}, value > 0 ? 1 : 0);
    }

    /** Sum of all. */
    public static Var sum(Var... xs) {
        double total = 0;
        double[] ones = new double[xs.length];
        for (int i = 0; i < xs.length; i++) {
            total += xs[i].value;
            ones[i] = 1;
        }
        return new Var(total, xs.clone(), ones);
    }
}
