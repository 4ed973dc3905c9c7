package anneal.kernels;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * What every tier's kernels on rows and tables must do, within rounding: the formulas in double precision, and for gradients their central
 * differences.
 */
abstract class RowwiseContract extends NumbersContract {
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
                Buffers.assertClose("softmax", y, rows(x, dim, RowwiseContract::softmax), 4e-6, 1e-30);
                kernels().softmax(in, in, rows, dim);
                assertThat(in.mismatch(y)).as("in place").isEqualTo(-1);
                MemorySegment dx = m.filled(n, 1);
                kernels().softmaxGrad(dx, dy, y, rows, dim);
                Buffers.assertClose("dx", dx, slope(RowwiseContract::softmax, x, dy, dim, 1), 3e-6, 1);

                kernels().logSoftmax(y, x, rows, dim);
                Buffers.assertClose("logSoftmax", y, rows(x, dim, RowwiseContract::logSoftmax), 1e-6, 1);
                in.copyFrom(x);
                kernels().logSoftmax(in, in, rows, dim);
                assertThat(in.mismatch(y)).as("in place").isEqualTo(-1);
                dx.copyFrom(m.filled(n, 1));
                kernels().logSoftmaxGrad(dx, dy, y, rows, dim);
                Buffers.assertClose("dx", dx, slope(RowwiseContract::logSoftmax, x, dy, dim, 1), 1e-5, 3);
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
}
