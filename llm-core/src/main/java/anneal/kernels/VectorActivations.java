package anneal.kernels;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/**
 * Activations and gated units, their values and slopes.
 *
 * <p>A block of 1,024 elements is brought to the heap and goes through short loops that each do one step in place; the block never
 * leaves the first-level cache. So each of the eight functions stands once for its value and once for its slope, the four
 * kernels share them, no loop is larger than C2 inlines, and the last block is padded instead of having a loop of its own. The
 * steps are called through an interface: inlined into one method they would together be too large, and GELU was five times slower.
 */
final class VectorActivations {
    private static final VectorSpecies<Float> F = VectorMath.F;
    private static final int L = VectorMath.L;
    private static final int BLOCK = 1024;
    private static final float GELU_SCALE = 0.797884561f, GELU_CUBE = 0.044715f;

    private VectorActivations() {}

    static void activation(MemorySegment y, MemorySegment x, long n, Activation f) {
        Chunks.run(n, (at, m) -> {
            float[] a = new float[BLOCK], t = new float[BLOCK];
            for (int c = 0; c < m; c += BLOCK) {
                int size = load(x, at + c, Math.min(BLOCK, m - c), a);
                values(f, a, t, size);
                MemorySegment.copy(a, 0, y, JAVA_FLOAT_UNALIGNED, 4 * (at + c), Math.min(BLOCK, m - c));
            }
        });
    }

    static void activationGrad(MemorySegment dx, MemorySegment dy, MemorySegment x, long n, Activation f) {
        Chunks.run(n, (at, m) -> {
            float[] a = new float[BLOCK], t = new float[BLOCK];
            for (int c = 0; c < m; c += BLOCK) {
                int length = Math.min(BLOCK, m - c);
                slopes(f, a, t, load(x, at + c, length, a));
                addProduct(dx, dy, a, at + c, length);
            }
        });
    }

    static void gated(MemorySegment y, MemorySegment gate, MemorySegment up, long n, Activation f) {
        Chunks.run(n, (at, m) -> {
            float[] a = new float[BLOCK], t = new float[BLOCK];
            for (int c = 0; c < m; c += BLOCK) {
                int length = Math.min(BLOCK, m - c);
                values(f, a, t, load(gate, at + c, length, a));
                product(y, up, a, at + c, length);
            }
        });
    }

    static void gatedGrad(
            MemorySegment dgate,
            MemorySegment dup,
            MemorySegment dy,
            MemorySegment gate,
            MemorySegment up,
            long n,
            Activation f) {
        Chunks.run(n, (at, m) -> {
            float[] a = new float[BLOCK], t = new float[BLOCK];
            for (int c = 0; c < m; c += BLOCK) {
                int length = Math.min(BLOCK, m - c);
                if (dup != null) {
                    values(f, a, t, load(gate, at + c, length, a));
                    addProduct(dup, dy, a, at + c, length);
                }
                if (dgate != null) {
                    slopes(f, a, t, load(gate, at + c, length, a));
                    times(a, up, at + c, length);
                    addProduct(dgate, dy, a, at + c, length);
                }
            }
        });
    }

    /** Brings elements to the heap, with zeros up to whole vectors; returns the number with those. */
    private static int load(MemorySegment x, long at, int n, float[] a) {
        MemorySegment.copy(x, JAVA_FLOAT_UNALIGNED, 4 * at, a, 0, n);
        int size = (n + L - 1) / L * L;
        Arrays.fill(a, n, size, 0f);
        return size;
    }

    /** y += b a. */
    private static void addProduct(MemorySegment y, MemorySegment b, float[] a, long at, int n) {
        int c = 0;
        for (; c <= n - L; c += L) {
            FloatVector sum = FloatVector.fromArray(F, a, c)
                    .fma(VectorElementwise.load(b, at + c), VectorElementwise.load(y, at + c));
            VectorElementwise.store(sum, y, at + c);
        }
        for (; c < n; c++) {
            float old = y.getAtIndex(JAVA_FLOAT_UNALIGNED, at + c);
            y.setAtIndex(JAVA_FLOAT_UNALIGNED, at + c, Math.fma(a[c], b.getAtIndex(JAVA_FLOAT_UNALIGNED, at + c), old));
        }
    }

    /** y = b a. */
    private static void product(MemorySegment y, MemorySegment b, float[] a, long at, int n) {
        int c = 0;
        for (; c <= n - L; c += L) {
            VectorElementwise.store(FloatVector.fromArray(F, a, c).mul(VectorElementwise.load(b, at + c)), y, at + c);
        }
        for (; c < n; c++) {
            y.setAtIndex(JAVA_FLOAT_UNALIGNED, at + c, a[c] * b.getAtIndex(JAVA_FLOAT_UNALIGNED, at + c));
        }
    }

    /** a *= b. */
    private static void times(float[] a, MemorySegment b, long at, int n) {
        int c = 0;
        for (; c <= n - L; c += L) {
            FloatVector.fromArray(F, a, c)
                    .mul(VectorElementwise.load(b, at + c))
                    .intoArray(a, c);
        }
        for (; c < n; c++) {
            a[c] *= b.getAtIndex(JAVA_FLOAT_UNALIGNED, at + c);
        }
    }

    // ---------------------------------------------------------------- values and slopes, in place

    /** One loop over a block: reads and writes a, the argument and later the result, and t, scratch. */
    private interface Step {
        void run(float[] a, float[] t, int n);
    }

    private static final Step EXP = (a, t, n) -> exp(a, t, 1, n), EXP_NEGATED = (a, t, n) -> exp(a, t, -1, n);

    private static Step[] steps(Step... steps) {
        return steps;
    }

    /** The steps of a = f(a). */
    private static Step[] valueSteps(Activation f) {
        return switch (f) {
            case RELU -> steps(VectorActivations::relu);
            case SILU -> steps(EXP_NEGATED, VectorActivations::silu);
            case GELU -> steps(VectorActivations::bell, VectorActivations::phi, VectorActivations::multiply);
            case GELU_TANH ->
                steps(VectorActivations::geluExponent, VectorActivations::expScratch, VectorActivations::silu);
            case TANH -> steps(VectorActivations::tanh);
            case SIGMOID -> steps(EXP_NEGATED, VectorActivations::sigmoid);
            case EXP -> steps((a, t, n) -> exp(a, a, 1, n));
            case LOG_SIGMOID -> steps(VectorActivations::decay, VectorActivations::logSigmoid);
        };
    }

    /** The steps of a = f'(a). */
    private static Step[] slopeSteps(Activation f) {
        return switch (f) {
            case RELU -> steps(VectorActivations::step);
            case SILU -> steps(EXP_NEGATED, VectorActivations::siluSlope);
            case GELU -> steps(VectorActivations::bell, VectorActivations::geluSlope);
            case GELU_TANH ->
                steps(VectorActivations::geluExponent, VectorActivations::expScratch, VectorActivations::geluTanhSlope);
            case TANH -> steps(VectorActivations::tanhSlope);
            case SIGMOID -> steps(EXP_NEGATED, VectorActivations::sigmoidSlope);
            case EXP -> valueSteps(f);
            case LOG_SIGMOID -> steps(EXP, VectorActivations::sigmoid);
        };
    }

    private static final Step[][] VALUES = Arrays.stream(Activation.values())
            .map(VectorActivations::valueSteps)
            .toArray(Step[][]::new);
    private static final Step[][] SLOPES = Arrays.stream(Activation.values())
            .map(VectorActivations::slopeSteps)
            .toArray(Step[][]::new);

    private static void values(Activation f, float[] a, float[] t, int n) {
        for (Step step : VALUES[f.ordinal()]) {
            step.run(a, t, n);
        }
    }

    private static void slopes(Activation f, float[] a, float[] t, int n) {
        for (Step step : SLOPES[f.ordinal()]) {
            step.run(a, t, n);
        }
    }

    private static FloatVector at(float[] a, int c) {
        return FloatVector.fromArray(F, a, c);
    }

    /** t = e^(sign a). */
    private static void exp(float[] a, float[] t, float sign, int n) {
        for (int c = 0; c < n; c += L) {
            VectorMath.exp(at(a, c).mul(sign)).intoArray(t, c);
        }
    }

    /** t = e^-t. */
    private static void expScratch(float[] a, float[] t, int n) {
        exp(t, t, -1, n);
    }

    private static void relu(float[] a, float[] t, int n) {
        for (int c = 0; c < n; c += L) {
            FloatVector x = at(a, c);
            x.blend(0f, x.compare(VectorOperators.LT, 0f)).intoArray(a, c);
        }
    }

    private static void step(float[] a, float[] t, int n) {
        FloatVector zero = FloatVector.zero(F);
        for (int c = 0; c < n; c += L) {
            zero.blend(1f, at(a, c).compare(VectorOperators.GT, 0f)).intoArray(a, c);
        }
    }

    /** a = a / (1 + t). */
    private static void silu(float[] a, float[] t, int n) {
        for (int c = 0; c < n; c += L) {
            at(a, c).div(at(t, c).add(1f)).intoArray(a, c);
        }
    }

    /** a = s (1 + a (1 - s)), s = 1 / (1 + t); where t is infinite, 0. */
    private static void siluSlope(float[] a, float[] t, int n) {
        FloatVector one = VectorMath.broadcast(1f);
        for (int c = 0; c < n; c += L) {
            FloatVector e = at(t, c), s = one.div(e.add(1f));
            s.mul(at(a, c).fma(one.sub(s), one)).intoArray(a, c);
        }
    }

    /** a = 1 / (1 + t). */
    private static void sigmoid(float[] a, float[] t, int n) {
        FloatVector one = VectorMath.broadcast(1f);
        for (int c = 0; c < n; c += L) {
            one.div(at(t, c).add(1f)).intoArray(a, c);
        }
    }

    /** a = t / (1 + t)^2 with t = e^-|a|, which is even and does not cancel. */
    private static void sigmoidSlope(float[] a, float[] t, int n) {
        FloatVector one = VectorMath.broadcast(1f);
        for (int c = 0; c < n; c += L) {
            FloatVector e = at(t, c), inverse = one.div(e);
            // e^-x is above 1 for negative x; the slope is the same for x and -x.
            FloatVector small = e.blend(inverse, e.compare(VectorOperators.GT, 1f)), s = one.div(small.add(1f));
            small.mul(s).mul(s).intoArray(a, c);
        }
    }

    private static void tanh(float[] a, float[] t, int n) {
        for (int c = 0; c < n; c += L) {
            VectorMath.tanh(at(a, c)).intoArray(a, c);
        }
    }

    private static void tanhSlope(float[] a, float[] t, int n) {
        FloatVector one = VectorMath.broadcast(1f);
        for (int c = 0; c < n; c += L) {
            FloatVector y = VectorMath.tanh(at(a, c));
            one.sub(y).mul(one.add(y)).intoArray(a, c);
        }
    }

    /** t = e^(-a^2 / 2). */
    private static void bell(float[] a, float[] t, int n) {
        for (int c = 0; c < n; c += L) {
            VectorMath.bell(at(a, c)).intoArray(t, c);
        }
    }

    /** t = Phi(a) from t = e^(-a^2 / 2). */
    private static void phi(float[] a, float[] t, int n) {
        for (int c = 0; c < n; c += L) {
            VectorMath.phi(at(a, c), at(t, c)).intoArray(t, c);
        }
    }

    private static void multiply(float[] a, float[] t, int n) {
        for (int c = 0; c < n; c += L) {
            at(a, c).mul(at(t, c)).intoArray(a, c);
        }
    }

    /** a = Phi(a) + a e^(-a^2 / 2) / sqrt(2 pi), from t = e^(-a^2 / 2). */
    private static void geluSlope(float[] a, float[] t, int n) {
        FloatVector scale = VectorMath.broadcast(VectorMath.DENSITY);
        for (int c = 0; c < n; c += L) {
            FloatVector x = at(a, c), bell = at(t, c);
            x.mul(scale).fma(bell, VectorMath.phi(x, bell)).intoArray(a, c);
        }
    }

    /** t = 2 u with u = sqrt(2/pi) (a + 0.044715 a^3): (1 + tanh u) / 2 = 1 / (1 + e^(-2u)), which keeps the lower tail. */
    private static void geluExponent(float[] a, float[] t, int n) {
        FloatVector cube = VectorMath.broadcast(2 * GELU_SCALE * GELU_CUBE);
        FloatVector line = VectorMath.broadcast(2 * GELU_SCALE);
        for (int c = 0; c < n; c += L) {
            FloatVector x = at(a, c);
            x.mul(x).fma(cube, line).mul(x).intoArray(t, c);
        }
    }

    /** a = s + a s (1 - s) 2u' with s = 1 / (1 + t). */
    private static void geluTanhSlope(float[] a, float[] t, int n) {
        FloatVector one = VectorMath.broadcast(1f);
        FloatVector square = VectorMath.broadcast(6 * GELU_SCALE * GELU_CUBE);
        FloatVector line = VectorMath.broadcast(2 * GELU_SCALE);
        for (int c = 0; c < n; c += L) {
            FloatVector x = at(a, c), s = one.div(at(t, c).add(1f));
            FloatVector inner = x.mul(x).fma(square, line).mul(x).mul(one.sub(s));
            // Far out s is 0 and the polynomial infinite.
            VectorMask<Float> flat = s.compare(VectorOperators.EQ, 0f);
            s.fma(inner.blend(0f, flat), s).intoArray(a, c);
        }
    }

    /** t = e^-|a|. */
    private static void decay(float[] a, float[] t, int n) {
        for (int c = 0; c < n; c += L) {
            VectorMath.exp(at(a, c).abs().neg()).intoArray(t, c);
        }
    }

    /** a = min(a, 0) - ln(1 + t). */
    private static void logSigmoid(float[] a, float[] t, int n) {
        for (int c = 0; c < n; c += L) {
            FloatVector x = at(a, c);
            x.blend(0f, x.compare(VectorOperators.GT, 0f))
                    .sub(VectorMath.log1p(at(t, c)))
                    .intoArray(a, c);
        }
    }
}
