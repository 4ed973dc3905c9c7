package anneal.kernels;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * What every tier's element-wise kernels and sums must do, within rounding: the formulas in double precision, and for gradients their
 * central differences; and that all kernels on numbers give the same bits for any number of threads.
 */
abstract class ElementwiseContract extends NumbersContract {
    // ---------------------------------------------------------------- activations

    static double value(Activation f, double x) {
        return switch (f) {
            case RELU -> Math.max(0, x);
            case SILU -> x / (1 + Math.exp(-x));
            case GELU -> x * Erf.erfc(-x / Math.sqrt(2)) / 2;
            case GELU_TANH -> x / (1 + Math.exp(-2 * Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x)));
            case TANH -> Math.tanh(x);
            case SIGMOID -> 1 / (1 + Math.exp(-x));
            case EXP -> Math.exp(x);
            case LOG_SIGMOID -> x < 0 ? x - Math.log1p(Math.exp(x)) : -Math.log1p(Math.exp(-x));
        };
    }

    /** Numbers from far below to far above, the hard places among them, then noise up to n. */
    private MemorySegment arguments(int n) {
        float[] hard = {
            0f, -0f, 1e-8f, -1e-8f, 1e-3f, -1e-3f, 0.3f, -0.3f, 0.6249f, 0.6251f, -0.6249f, -0.6251f, 1f, -1f, 3.3f,
            -3.3f, 5.7f, -5.7f, 9f, -9f, 12f, -12f, 20f, -20f, 40f, -40f, 80f, -80f, 86f, -86f
        };
        float[] all = new float[n];
        for (int i = 0; i < n; i++) {
            all[i] = i < hard.length ? hard[i] : (float) (4 * random.nextGaussian());
        }
        return m.of(all);
    }

    @ParameterizedTest
    @EnumSource(Activation.class)
    void activations(Activation f) {
        for (int n : SIZES) {
            MemorySegment x = arguments(n), y = m.filled(n, Float.NaN), dx = m.filled(n, 0.25f), dy = normal(n);
            kernels().activation(y, x, n, f);
            // the polynomial under GELU_TANH's exponential rounds at about 1e-7 of an exponent that may be 60
            double relative = f == Activation.GELU_TANH ? 2e-5 : 2e-6;
            Buffers.assertClose(f + " of " + n, y, map(x, v -> value(f, v)), relative, 0x1p-126 / relative);
            kernels().activationGrad(dx, dy, x, n, f);
            double[] expected = slope(row -> new double[] {value(f, row[0])}, x, dy, 1, 0.25);
            for (int i = 0; i < n && f == Activation.RELU; i++) {
                boolean up = x.getAtIndex(JAVA_FLOAT, i) > 0;
                expected[i] = 0.25 + (up ? dy.getAtIndex(JAVA_FLOAT, i) : 0);
            }
            Buffers.assertClose(f + "' of " + n, dx, expected, 3e-6, 1);
        }
    }

    @Test
    void lowerTailsOfGeluKeepTheirDigits() {
        int n = 1300;
        MemorySegment x = m.filled(n, 0), y = m.filled(n, 0);
        for (int i = 0; i < n; i++) {
            x.setAtIndex(JAVA_FLOAT, i, -i / 100f);
        }
        kernels().activation(y, x, n, Activation.GELU);
        Buffers.assertClose("gelu", y, map(x, v -> value(Activation.GELU, v)), 2e-6, 0x1p-126 / 2e-6);
    }

    @ParameterizedTest
    @EnumSource(Activation.class)
    void activationsOfInfinityAndNaN(Activation f) {
        for (int n : new int[] {3, 64}) {
            MemorySegment x = m.filled(n, Float.NaN), y = m.filled(n, 0);
            x.setAtIndex(JAVA_FLOAT, 0, Float.POSITIVE_INFINITY);
            x.setAtIndex(JAVA_FLOAT, 1, Float.NEGATIVE_INFINITY);
            kernels().activation(y, x, n, f);
            float[] got = Buffers.floats(y);
            boolean one = f == Activation.TANH || f == Activation.SIGMOID;
            assertThat(got[0]).isEqualTo(one ? 1f : f == Activation.LOG_SIGMOID ? 0f : Float.POSITIVE_INFINITY);
            if (f == Activation.SIGMOID || f == Activation.EXP || f == Activation.RELU) {
                assertThat(got[1]).isZero();
            } else if (f == Activation.TANH || f == Activation.LOG_SIGMOID) {
                assertThat(got[1]).isEqualTo(f == Activation.TANH ? -1f : Float.NEGATIVE_INFINITY);
            }
            assertThat(got[2]).isNaN();
            assertThat(got[n - 1]).isNaN();
        }
    }

    @Test
    void exponentialOverItsWholeRange() {
        int n = 20_000;
        MemorySegment x = m.filled(n, 0), y = m.filled(n, 0);
        for (int i = 0; i < n; i++) {
            x.setAtIndex(JAVA_FLOAT, i, -110 + 0.01f * i);
        }
        kernels().activation(y, x, n, Activation.EXP);
        // a denormal result has fewer bits: compare it with the smallest normal number
        double[] expected = map(x, v -> (float) Math.exp(v));
        Buffers.assertClose("exp", y, expected, 5e-7, 0x1p-126);
    }

    @ParameterizedTest
    @EnumSource(Activation.class)
    void gatedUnits(Activation f) {
        for (int n : SIZES) {
            MemorySegment gate = normal(n), up = normal(n), dy = normal(n), y = m.filled(n, Float.NaN);
            kernels().gated(y, gate, up, n, f);
            Buffers.assertClose("gated", y, map(gate, up, (g, u) -> value(f, g) * u), 3e-6, 0.1);
            MemorySegment dgate = m.filled(n, 1), dup = m.filled(n, 1);
            kernels().gatedGrad(dgate, dup, dy, gate, up, n, f);
            double[] dg = slope(r -> new double[] {value(f, r[0])}, gate, m.of(products(dy, up)), 1, 1);
            Buffers.assertClose("dgate", dgate, dg, 3e-6, 1);
            double[] du = map(gate, dy, (g, d) -> 1 + value(f, g) * d);
            Buffers.assertClose("dup", dup, du, 3e-6, 1);
            MemorySegment only = m.filled(n, 1);
            kernels().gatedGrad(only, null, dy, gate, up, n, f);
            assertThat(only.mismatch(dgate)).isEqualTo(-1);
            only.copyFrom(m.filled(n, 1));
            kernels().gatedGrad(null, only, dy, gate, up, n, f);
            assertThat(only.mismatch(dup)).isEqualTo(-1);
        }
    }

    private static float[] products(MemorySegment a, MemorySegment b) {
        double[] d = map(a, b, (x, y) -> x * y);
        float[] result = new float[d.length];
        for (int i = 0; i < d.length; i++) {
            result[i] = (float) d[i];
        }
        return result;
    }

    // ---------------------------------------------------------------- dropout

    @Test
    void dropoutKeepsByTheNoiseOfItsSeed() {
        for (int n : SIZES) {
            for (float p : new float[] {0, 0.1f, 0.5f}) {
                MemorySegment x = normal(n), y = m.filled(n, 2), z = m.copy(x);
                double[] kept = Buffers.doubles(x);
                for (int i = 0; i < n; i++) {
                    kept[i] = Noise.keeps(77L << 40, i, p) ? kept[i] / (1 - (double) p) : 0;
                }
                kernels().dropout(z, z, n, p, 77L << 40, false);
                Buffers.assertClose("dropout", z, kept, 2e-7, 1e-30);
                kernels().dropout(y, x, n, p, 77L << 40, true);
                Buffers.assertClose(
                        "dropout added", y, Arrays.stream(kept).map(v -> v + 2).toArray(), 3e-7, 1);
            }
        }
    }

    @Test
    void dropoutDropsItsShare() {
        int n = 100_000;
        MemorySegment y = m.filled(n, 0);
        kernels().dropout(y, m.filled(n, 1), n, 0.3f, 5, false);
        long dropped = Arrays.stream(Buffers.doubles(y)).filter(v -> v == 0).count();
        assertThat((double) dropped / n).isCloseTo(0.3, within(0.005));
    }

    // ---------------------------------------------------------------- element-wise and reductions

    @Test
    void arithmetic() {
        for (int n : SIZES) {
            MemorySegment a = normal(n), b = normal(n), y = m.filled(n, Float.NaN), sum = m.copy(a);
            kernels().add(y, a, b, n);
            Buffers.assertClose("add", y, map(a, b, (p, q) -> (float) (p + q)), 0, 0);
            kernels().add(sum, sum, b, n);
            assertThat(sum.mismatch(y)).as("add in place").isEqualTo(-1);
            kernels().axpy(sum, a, -1.7f, n);
            Buffers.assertClose("axpy", sum, map(a, b, (p, q) -> p + q - (double) 1.7f * p), 3e-7, 1);
            kernels().mul(y, a, b, n, false);
            Buffers.assertClose("mul", y, map(a, b, (p, q) -> (float) (p * q)), 0, 0);
            kernels().mul(y, a, b, n, true);
            Buffers.assertClose("mul added", y, map(a, b, (p, q) -> 2 * p * q), 3e-7, 1);
            kernels().scale(y, a, 0.3f, n);
            Buffers.assertClose("scale", y, map(a, p -> (float) (p * 0.3f)), 1e-7, 0);
            MemorySegment in = m.copy(a);
            kernels().scale(in, in, 0.3f, n);
            assertThat(in.mismatch(y)).as("scale in place").isEqualTo(-1);
        }
    }

    @Test
    void reductions() {
        for (int n : new int[] {1, 7, 8, 25, 1000, 4098, 100_003}) {
            MemorySegment a = normal(n), b = normal(n);
            double[] ad = Buffers.doubles(a), products = map(a, b, (p, q) -> p * q);
            assertThat(kernels().sum(a, n)).isCloseTo(Arrays.stream(ad).sum(), within(2e-7 * n));
            assertThat(kernels().dot(a, b, n)).isCloseTo(Arrays.stream(products).sum(), within(2e-7 * n));
            double squares = Arrays.stream(ad).map(v -> v * v).sum();
            assertThat(kernels().dot(a, a, n)).isCloseTo(squares, within(1e-6 * squares));
        }
        assertThat(kernels().sum(m.filled(0, 0), 0)).isZero();
        assertThat(kernels().sum(m.filled(40, Float.NaN), 40)).isNaN();
    }

    // ---------------------------------------------------------------- threads

    /** Everything once on buffers long enough to be cut into tasks, with one thread and with four. */
    @Test
    void theSameBitsForAnyNumberOfThreads() {
        List<MemorySegment> one = everything(1), four = everything(4);
        for (int i = 0; i < one.size(); i++) {
            assertThat(four.get(i).mismatch(one.get(i))).as("result %d", i).isEqualTo(-1);
        }
    }

    private List<MemorySegment> everything(int threads) {
        Parallel.threads(threads);
        Kernels k = kernels();
        Random random = new Random(9);
        int rows = 333, dim = 310, n = rows * dim;
        List<MemorySegment> out = new ArrayList<>();
        MemorySegment a = m.normal(random, n, 1), b = m.normal(random, n, 1), w = m.normal(random, dim, 1);
        MemorySegment scalars = m.filled(2, 0), mean = m.filled(rows, 0), rstd = m.filled(rows, 0);
        for (int i = 0; i < 12; i++) {
            out.add(m.filled(n, 0.125f));
        }
        k.activation(out.get(0), a, n, Activation.GELU);
        k.gatedGrad(out.get(1), out.get(2), b, a, b, n, Activation.SILU);
        k.dropout(out.get(3), a, n, 0.2f, 3, true);
        k.layerNorm(out.get(4), mean, rstd, a, w, w, rows, dim, 1e-5f);
        MemorySegment dw = m.filled(dim, 0), db = m.filled(dim, 0);
        k.layerNormGrad(out.get(5), dw, db, b, a, w, mean, rstd, rows, dim);
        k.rmsNorm(out.get(6), rstd, a, w, rows, dim, 1e-5f);
        MemorySegment dw2 = m.filled(dim, 0);
        k.rmsNormGrad(out.get(7), dw2, b, a, w, rstd, rows, dim);
        k.softmax(out.get(8), a, rows, dim);
        k.logSoftmaxGrad(out.get(9), b, a, rows, dim);
        int[] ids = random.ints(rows, 0, 30).toArray();
        k.embeddingGrad(out.get(10), b, ids, dim);
        out.get(11).copyFrom(a);
        k.crossEntropy(mean, out.get(11), ids, 0, new Kernels.CrossEntropy(rows, dim, 0.1f, 0, true));
        scalars.setAtIndex(JAVA_FLOAT, 0, (float) k.sum(a, n));
        scalars.setAtIndex(JAVA_FLOAT, 1, (float) k.dot(a, b, n));
        out.addAll(List.of(dw, db, dw2, mean, rstd, scalars));
        return out;
    }
}
