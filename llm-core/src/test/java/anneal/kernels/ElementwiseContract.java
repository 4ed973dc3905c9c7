package anneal.kernels;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.function.DoubleUnaryOperator;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * What every tier's element-wise, row-wise and table kernels must do, within rounding: the formulas in double precision, and for
 * gradients their central differences.
 */
abstract class ElementwiseContract {
    private static final int[] SIZES = {1, 4, 6, 8, 13, 16, 25, 33, 64, 255, 1024, 1030, 4098};
    private static final int[] DIMS = {1, 4, 6, 8, 13, 16, 25, 100, 576, 1030};

    private final int threads = Parallel.threads();
    private final Buffers m = new Buffers();
    private final Random random = new Random(1234);

    abstract Kernels kernels();

    @AfterEach
    void checkGuards() {
        Parallel.threads(threads);
        m.assertGuards();
        m.close();
    }

    private MemorySegment normal(long n) {
        return m.normal(random, n, 1);
    }

    private static double[] map(MemorySegment x, DoubleUnaryOperator f) {
        return Arrays.stream(Buffers.doubles(x)).map(f).toArray();
    }

    private interface Two {
        double of(double a, double b);
    }

    private static double[] map(MemorySegment x, MemorySegment y, Two f) {
        double[] a = Buffers.doubles(x), b = Buffers.doubles(y);
        for (int i = 0; i < a.length; i++) {
            a[i] = f.of(a[i], b[i]);
        }
        return a;
    }

    /** Gradient of sum(dy f(x)) by central differences, for each row of {@code dim} numbers on its own. */
    private static double[] slope(UnaryOperator<double[]> f, MemorySegment x, MemorySegment dy, int dim, double add) {
        double[] all = Buffers.doubles(x), d = Buffers.doubles(dy), result = new double[all.length];
        for (int at = 0; at < all.length; at += dim) {
            double[] row = Arrays.copyOfRange(all, at, at + dim);
            for (int i = 0; i < dim; i++) {
                double old = row[i], h = 1e-5 * Math.max(1, Math.abs(old)), sum = 0;
                row[i] = old + h;
                double[] up = f.apply(row);
                row[i] = old - h;
                double[] down = f.apply(row);
                row[i] = old;
                for (int j = 0; j < up.length; j++) {
                    sum += d[at / dim * up.length + j] * (up[j] - down[j]);
                }
                result[at + i] = add + sum / (2 * h);
            }
        }
        return result;
    }

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

    // ---------------------------------------------------------------- normalisation

    private static double[] rmsNorm(double[] x, double[] w) {
        double squares = Arrays.stream(x).map(v -> v * v).sum();
        double[] y = new double[x.length];
        for (int c = 0; c < x.length; c++) {
            y[c] = x[c] / Math.sqrt(squares / x.length + 1e-5) * w[c];
        }
        return y;
    }

    private static double[] layerNorm(double[] x, double[] w, double[] b) {
        double mean = Arrays.stream(x).sum() / x.length;
        double variance = Arrays.stream(x).map(v -> (v - mean) * (v - mean)).sum() / x.length;
        double[] y = new double[x.length];
        for (int c = 0; c < x.length; c++) {
            y[c] = (x[c] - mean) / Math.sqrt(variance + 1e-5) * w[c] + b[c];
        }
        return y;
    }

    private static double[] rows(MemorySegment x, int dim, UnaryOperator<double[]> f) {
        double[] all = Buffers.doubles(x);
        List<double[]> rows = new ArrayList<>();
        for (int at = 0; at < all.length; at += dim) {
            rows.add(f.apply(Arrays.copyOfRange(all, at, at + dim)));
        }
        return rows.stream().flatMapToDouble(Arrays::stream).toArray();
    }

    /** dw and db of y = normed w + b. */
    private static double[] columnSums(double[] normed, MemorySegment dy, int dim, double add) {
        double[] d = Buffers.doubles(dy), sums = new double[dim];
        Arrays.fill(sums, add);
        for (int i = 0; i < d.length; i++) {
            sums[i % dim] += d[i] * (normed == null ? 1 : normed[i]);
        }
        return sums;
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 3, 70})
    void rmsNormAndItsGradient(int rows) {
        for (int dim : DIMS) {
            int n = rows * dim;
            MemorySegment x = normal(n), w = normal(dim), dy = normal(n);
            MemorySegment y = m.filled(n, 0), rstd = m.filled(rows, 0), dx = m.filled(n, 1), dw = m.filled(dim, 1);
            double[] wd = Buffers.doubles(w), ones = new double[dim];
            Arrays.fill(ones, 1);
            kernels().rmsNorm(y, rstd, x, w, rows, dim, 1e-5f);
            Buffers.assertClose("rmsNorm", y, rows(x, dim, r -> rmsNorm(r, wd)), 2e-6, 0.1);
            kernels().rmsNormGrad(dx, dw, dy, x, w, rstd, rows, dim);
            if (n < 10_000) {
                Buffers.assertClose("dx", dx, slope(r -> rmsNorm(r, wd), x, dy, dim, 1), 1e-5, 1);
            }
            double[] dwd = columnSums(rows(x, dim, r -> rmsNorm(r, ones)), dy, dim, 1);
            Buffers.assertClose("dw", dw, dwd, 1e-5, 1);
            MemorySegment alone = m.filled(n, 1);
            kernels().rmsNormGrad(alone, null, dy, x, w, rstd, rows, dim);
            assertThat(alone.mismatch(dx)).isEqualTo(-1);
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 3, 70})
    void layerNormAndItsGradient(int rows) {
        for (int dim : DIMS) {
            int n = rows * dim;
            MemorySegment x = normal(n), w = normal(dim), b = normal(dim), dy = normal(n);
            MemorySegment y = m.filled(n, 0), mean = m.filled(rows, 0), rstd = m.filled(rows, 0);
            MemorySegment dx = m.filled(n, 1), dw = m.filled(dim, 1), db = m.filled(dim, 1);
            double[] wd = Buffers.doubles(w), bd = Buffers.doubles(b), ones = new double[dim], zeros = new double[dim];
            Arrays.fill(ones, 1);
            kernels().layerNorm(y, mean, rstd, x, w, b, rows, dim, 1e-5f);
            Buffers.assertClose("layerNorm", y, rows(x, dim, r -> layerNorm(r, wd, bd)), 1e-5, dim < 5 ? 10 : 0.3);
            kernels().layerNormGrad(dx, dw, db, dy, x, w, mean, rstd, rows, dim);
            if (dim >= 13 && n < 10_000) {
                Buffers.assertClose("dx", dx, slope(r -> layerNorm(r, wd, bd), x, dy, dim, 1), 1e-5, 1);
            }
            double[] dwd = columnSums(rows(x, dim, r -> layerNorm(r, ones, zeros)), dy, dim, 1);
            Buffers.assertClose("dw", dw, dwd, 1e-5, dim < 5 ? 30 : 1);
            Buffers.assertClose("db", db, columnSums(null, dy, dim, 1), 1e-5, 1);
            MemorySegment alone = m.filled(n, 1);
            kernels().layerNormGrad(alone, null, null, dy, x, w, mean, rstd, rows, dim);
            assertThat(alone.mismatch(dx)).isEqualTo(-1);
        }
    }

    // ---------------------------------------------------------------- rotary positions

    @Test
    void rope() {
        for (Kernels.Rope s : List.of(
                new Kernels.Rope(1, 1, 2, 2, false),
                new Kernels.Rope(3, 2, 64, 64, false),
                new Kernels.Rope(5, 3, 80, 32, false),
                new Kernels.Rope(4, 2, 26, 20, true),
                new Kernels.Rope(70, 9, 64, 64, true),
                new Kernels.Rope(2, 1, 38, 38, false))) {
            int n = s.tokens() * s.heads() * s.headDim(), pairs = s.rotary() / 2;
            MemorySegment x = normal(n), cos = m.filled(s.tokens() * pairs, 0), sin = m.filled(s.tokens() * pairs, 0);
            for (int i = 0; i < s.tokens() * pairs; i++) {
                cos.setAtIndex(JAVA_FLOAT, i, (float) Math.cos(i * 0.37));
                sin.setAtIndex(JAVA_FLOAT, i, (float) Math.sin(i * 0.37));
            }
            for (boolean inverse : new boolean[] {false, true}) {
                double[] expected = rotated(Buffers.doubles(x), Buffers.doubles(cos), Buffers.doubles(sin), s, inverse);
                MemorySegment y = m.filled(n, Float.NaN), sum = m.filled(n, 3), same = m.copy(x);
                kernels().rope(y, x, cos, sin, s, inverse, false);
                Buffers.assertClose("rope", y, expected, 1e-6, 1);
                kernels().rope(sum, x, cos, sin, s, inverse, true);
                Buffers.assertClose(
                        "rope added",
                        sum,
                        Arrays.stream(expected).map(v -> v + 3).toArray(),
                        1e-6,
                        1);
                kernels().rope(same, same, cos, sin, s, inverse, false);
                assertThat(same.mismatch(y)).as("in place").isEqualTo(-1);
                kernels().rope(same, same, cos, sin, s, !inverse, false);
                Buffers.assertClose("there and back", same, Buffers.doubles(x), 1e-6, 1);
            }
        }
    }

    private static double[] rotated(double[] x, double[] cos, double[] sin, Kernels.Rope s, boolean inverse) {
        double[] y = x.clone();
        int pairs = s.rotary() / 2;
        for (int row = 0; row < s.tokens() * s.heads(); row++) {
            for (int p = 0; p < pairs; p++) {
                int i = row * s.headDim() + (s.interleaved() ? 2 * p : p), j = i + (s.interleaved() ? 1 : pairs);
                double c = cos[row / s.heads() * pairs + p], n = sin[row / s.heads() * pairs + p] * (inverse ? -1 : 1);
                y[i] = x[i] * c - x[j] * n;
                y[j] = x[j] * c + x[i] * n;
            }
        }
        return y;
    }

    // ---------------------------------------------------------------- softmax and losses

    private static double logSumExp(double[] x) {
        double max = Arrays.stream(x).max().orElseThrow();
        return max + Math.log(Arrays.stream(x).map(v -> Math.exp(v - max)).sum());
    }

    private static double[] softmax(double[] x) {
        double lse = logSumExp(x);
        return Arrays.stream(x).map(v -> Math.exp(v - lse)).toArray();
    }

    private static double[] logSoftmax(double[] x) {
        double lse = logSumExp(x);
        return Arrays.stream(x).map(v -> v - lse).toArray();
    }

    @Test
    void softmaxAndItsLogarithm() {
        for (int dim : DIMS) {
            for (int rows : new int[] {1, 5}) {
                int n = rows * dim;
                MemorySegment x = m.normal(random, n, 3), dy = normal(n), y = m.filled(n, 0), in = m.copy(x);
                kernels().softmax(y, x, rows, dim);
                Buffers.assertClose("softmax", y, rows(x, dim, ElementwiseContract::softmax), 4e-6, 1e-30);
                kernels().softmax(in, in, rows, dim);
                assertThat(in.mismatch(y)).as("in place").isEqualTo(-1);
                MemorySegment dx = m.filled(n, 1);
                kernels().softmaxGrad(dx, dy, y, rows, dim);
                Buffers.assertClose("dx", dx, slope(ElementwiseContract::softmax, x, dy, dim, 1), 3e-6, 1);

                kernels().logSoftmax(y, x, rows, dim);
                Buffers.assertClose("logSoftmax", y, rows(x, dim, ElementwiseContract::logSoftmax), 1e-6, 1);
                in.copyFrom(x);
                kernels().logSoftmax(in, in, rows, dim);
                assertThat(in.mismatch(y)).as("in place").isEqualTo(-1);
                dx.copyFrom(m.filled(n, 1));
                kernels().logSoftmaxGrad(dx, dy, y, rows, dim);
                Buffers.assertClose("dx", dx, slope(ElementwiseContract::logSoftmax, x, dy, dim, 1), 1e-5, 3);
            }
        }
    }

    @Test
    void softmaxOfExtremes() {
        for (int dim : new int[] {3, 40}) {
            MemorySegment x = m.filled(dim, -1e30f), y = m.filled(dim, 0);
            x.setAtIndex(JAVA_FLOAT, 1, 3e38f);
            x.setAtIndex(JAVA_FLOAT, dim - 1, Float.NEGATIVE_INFINITY);
            kernels().softmax(y, x, 1, dim);
            float[] expected = new float[dim];
            expected[1] = 1;
            assertThat(Buffers.floats(y)).isEqualTo(expected);
            x.setAtIndex(JAVA_FLOAT, 0, Float.NaN);
            kernels().softmax(y, x, 1, dim);
            assertThat(Buffers.floats(y)).containsOnly(Float.NaN);
        }
    }

    @Test
    void crossEntropyAndItsGradient() {
        for (int dim : new int[] {2, 8, 13, 100, 1030, 50_000}) {
            for (float smoothing : new float[] {0, 0.1f}) {
                for (float z : new float[] {0, 1e-2f}) {
                    crossEntropy(dim, smoothing, z);
                }
            }
        }
    }

    private void crossEntropy(int dim, float smoothing, float z) {
        int rows = 3;
        MemorySegment logits = m.normal(random, (long) rows * dim, 4), nll = m.filled(rows, Float.NaN);
        int[] targets = {99, 1, -1, dim - 1};
        double[] x = Buffers.doubles(logits), expected = new double[rows], gradient = new double[rows * dim];
        for (int i = 0; i < rows; i++) {
            int t = targets[i + 1];
            double[] row = Arrays.copyOfRange(x, i * dim, (i + 1) * dim);
            double lse = logSumExp(row), mean = Arrays.stream(row).sum() / dim, e = smoothing;
            expected[i] = t < 0 ? 0 : (1 - e) * (lse - row[t]) + e * (lse - mean) + z * lse * lse;
            for (int c = 0; t >= 0 && c < dim; c++) {
                double p = Math.exp(row[c] - lse);
                gradient[i * dim + c] = (1 + 2 * z * lse) * p - (c == t ? 1 - e : 0) - e / dim;
            }
        }
        MemorySegment before = m.copy(logits);
        kernels().crossEntropy(nll, logits, targets, 1, new Kernels.CrossEntropy(rows, dim, smoothing, z, false));
        Buffers.assertClose("nll", nll, expected, 1e-6, 1);
        assertThat(logits.mismatch(before)).as("logits without grad").isEqualTo(-1);
        nll.fill((byte) 0);
        kernels().crossEntropy(nll, logits, targets, 1, new Kernels.CrossEntropy(rows, dim, smoothing, z, true));
        Buffers.assertClose("nll", nll, expected, 1e-6, 1);
        // beside the targets small probabilities count; at a target p - 1 is what single precision leaves of it
        for (int i = 0; i < rows; i++) {
            int t = targets[i + 1];
            for (int c = 0; c < dim; c++) {
                double allowed =
                        c == t || smoothing > 0 ? 5e-7 : 5e-6 * Math.max(1e-7, Math.abs(gradient[i * dim + c]));
                assertThat((double) logits.getAtIndex(JAVA_FLOAT, (long) i * dim + c))
                        .as("gradient of logit %d of row %d", c, i)
                        .isCloseTo(gradient[i * dim + c], within(allowed));
            }
        }
    }

    @Test
    void crossEntropyGradientIsTheSlope() {
        int dim = 13;
        double e = 0.1f, z = 1e-2f;
        MemorySegment logits = m.normal(random, dim, 2), nll = m.filled(1, 0);
        double[] expected = slope(
                row -> {
                    double lse = logSumExp(row), mean = Arrays.stream(row).sum() / dim;
                    return new double[] {(1 - e) * (lse - row[4]) + e * (lse - mean) + z * lse * lse};
                },
                logits,
                m.filled(1, 1),
                dim,
                0);
        kernels().crossEntropy(nll, logits, new int[] {4}, 0, new Kernels.CrossEntropy(1, dim, 0.1f, 1e-2f, true));
        Buffers.assertClose("gradient", logits, expected, 2e-6, 0.1);
    }

    // ---------------------------------------------------------------- tables

    @Test
    void embeddingAndItsGradient() {
        for (int dim : new int[] {1, 8, 13, 576}) {
            int[] ids = random.ints(130, 0, 20).toArray();
            MemorySegment table = normal(20L * dim), y = m.filled(130L * dim, 0), dy = normal(130L * dim);
            kernels().embedding(y, new F32Matrix(table, 20, dim), ids);
            MemorySegment dtable = m.filled(20L * dim, 1);
            kernels().embeddingGrad(dtable, dy, ids, dim);
            double[] t = Buffers.doubles(table), d = Buffers.doubles(dy), rows = new double[130 * dim];
            double[] sums = new double[20 * dim];
            Arrays.fill(sums, 1);
            for (int i = 0; i < rows.length; i++) {
                rows[i] = t[ids[i / dim] * dim + i % dim];
                sums[ids[i / dim] * dim + i % dim] += d[i];
            }
            Buffers.assertClose("rows", y, rows, 0, 0);
            Buffers.assertClose("dtable", dtable, sums, 3e-6, 1);
        }
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
    void rowsAndColumns() {
        for (int dim : DIMS) {
            for (int rows : new int[] {1, 3, 130}) {
                MemorySegment x = normal((long) rows * dim), s = normal(rows), b = normal(dim), y = m.copy(x);
                double[] xd = Buffers.doubles(x), sd = Buffers.doubles(s), bd = Buffers.doubles(b);
                double[] scaled = new double[xd.length], shifted = new double[xd.length], sums = new double[dim];
                Arrays.fill(sums, 2);
                for (int i = 0; i < xd.length; i++) {
                    scaled[i] = (float) (xd[i] * sd[i / dim]);
                    shifted[i] = (float) (xd[i] + bd[i % dim]);
                    sums[i % dim] += xd[i];
                }
                kernels().scaleRows(y, s, rows, dim);
                Buffers.assertClose("scaleRows", y, scaled, 0, 0);
                kernels().addRow(y, x, b, rows, dim);
                Buffers.assertClose("addRow", y, shifted, 0, 0);
                MemorySegment db = m.filled(dim, 2);
                kernels().sumRows(db, x, rows, dim);
                Buffers.assertClose("sumRows", db, sums, 2e-6, Math.sqrt(rows));
            }
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
