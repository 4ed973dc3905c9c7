package anneal.kernels;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import java.lang.foreign.MemorySegment;

/**
 * Plain loops: the reference that the fast tiers are held to, and the tier that runs anywhere.
 *
 * <p>Sums are taken in double precision. Read these to learn what a kernel computes; {@link ScalarAttention} has attention.
 */
public final class ScalarKernels implements Kernels {
    private static final double SQRT_HALF = Math.sqrt(0.5);
    private static final double GELU_SCALE = Math.sqrt(2 / Math.PI);

    @Override
    public String name() {
        return "scalar";
    }

    private static float get(MemorySegment s, long i) {
        return s.getAtIndex(JAVA_FLOAT, i);
    }

    private static void set(MemorySegment s, long i, double value) {
        s.setAtIndex(JAVA_FLOAT, i, (float) value);
    }

    private static void plus(MemorySegment s, long i, double value) {
        s.setAtIndex(JAVA_FLOAT, i, (float) (s.getAtIndex(JAVA_FLOAT, i) + value));
    }

    private static void put(MemorySegment s, long i, double value, boolean add) {
        set(s, i, add ? get(s, i) + value : value);
    }

    // ---------------------------------------------------------------- products

    @Override
    public void matmulT(MemorySegment y, MemorySegment x, Matrix w, int m, float alpha, boolean add) {
        int n = w.rows(), k = w.cols();
        Parallel.run(n, j -> {
            float[] row = new float[k];
            w.widen(j, 0, k, row, 0);
            for (int i = 0; i < m; i++) {
                double sum = 0;
                for (int c = 0; c < k; c++) {
                    sum += (double) get(x, (long) i * k + c) * row[c];
                }
                put(y, (long) i * n + j, alpha * sum, add);
            }
        });
    }

    @Override
    public void matmul(MemorySegment y, MemorySegment x, Matrix w, int m, float alpha, boolean add) {
        int n = w.rows(), k = w.cols();
        double[] sums = new double[Math.multiplyExact(m, k)];
        float[] row = new float[k];
        for (int j = 0; j < n; j++) {
            w.widen(j, 0, k, row, 0);
            for (int i = 0; i < m; i++) {
                double a = get(x, (long) i * n + j);
                for (int c = 0; c < k; c++) {
                    sums[i * k + c] += a * row[c];
                }
            }
        }
        for (int i = 0; i < sums.length; i++) {
            put(y, i, alpha * sums[i], add);
        }
    }

    @Override
    public void matmulTN(
            MemorySegment y, MemorySegment a, MemorySegment b, int n, int k, int m, float alpha, boolean add) {
        Parallel.run(n, j -> {
            double[] sums = new double[k];
            for (int i = 0; i < m; i++) {
                double left = get(a, (long) i * n + j);
                for (int c = 0; c < k; c++) {
                    sums[c] += left * get(b, (long) i * k + c);
                }
            }
            for (int c = 0; c < k; c++) {
                put(y, (long) j * k + c, alpha * sums[c], add);
            }
        });
    }

    @Override
    public void matmulTInt8(MemorySegment y, MemorySegment x, MemorySegment w, int m, int n, int k) {
        Parallel.run(n, j -> {
            for (int i = 0; i < m; i++) {
                int sum = 0;
                for (int c = 0; c < k; c++) {
                    sum += x.get(JAVA_BYTE, (long) i * k + c) * w.get(JAVA_BYTE, (long) j * k + c);
                }
                y.setAtIndex(JAVA_INT, (long) i * n + j, sum);
            }
        });
    }

    @Override
    public void round(MemorySegment y, MemorySegment x, long n, Compute compute) {
        Rounding.round(y, x, n, compute);
    }

    // ---------------------------------------------------------------- attention

    @Override
    public void attention(
            MemorySegment o, MemorySegment lse, MemorySegment q, MemorySegment k, MemorySegment v, Attention s) {
        ScalarAttention.forward(o, lse, q, k, v, s);
    }

    @Override
    public void attentionGrad(AttentionGrad g, Attention s) {
        ScalarAttention.backward(g, s);
    }

    // ---------------------------------------------------------------- normalisation, position, activation

    @Override
    public void rmsNorm(
            MemorySegment y, MemorySegment rstd, MemorySegment x, MemorySegment w, int rows, int dim, float eps) {
        for (int i = 0; i < rows; i++) {
            long at = (long) i * dim;
            double squares = 0;
            for (int c = 0; c < dim; c++) {
                squares += (double) get(x, at + c) * get(x, at + c);
            }
            double r = 1 / Math.sqrt(squares / dim + eps);
            set(rstd, i, r);
            for (int c = 0; c < dim; c++) {
                set(y, at + c, get(x, at + c) * r * get(w, c));
            }
        }
    }

    @Override
    public void rmsNormGrad(
            MemorySegment dx,
            MemorySegment dw,
            MemorySegment dy,
            MemorySegment x,
            MemorySegment w,
            MemorySegment rstd,
            int rows,
            int dim) {
        double[] sums = new double[dim];
        for (int i = 0; i < rows; i++) {
            long at = (long) i * dim;
            double r = get(rstd, i), projection = 0;
            for (int c = 0; c < dim; c++) {
                double normed = get(x, at + c) * r;
                projection += get(dy, at + c) * (double) get(w, c) * normed;
                sums[c] += get(dy, at + c) * normed;
            }
            for (int c = 0; dx != null && c < dim; c++) {
                plus(dx, at + c, r * (get(dy, at + c) * (double) get(w, c) - get(x, at + c) * r * projection / dim));
            }
        }
        for (int c = 0; dw != null && c < dim; c++) {
            plus(dw, c, sums[c]);
        }
    }

    @Override
    public void layerNorm(
            MemorySegment y,
            MemorySegment mean,
            MemorySegment rstd,
            MemorySegment x,
            MemorySegment w,
            MemorySegment b,
            int rows,
            int dim,
            float eps) {
        for (int i = 0; i < rows; i++) {
            long at = (long) i * dim;
            double sum = 0, squares = 0;
            for (int c = 0; c < dim; c++) {
                sum += get(x, at + c);
            }
            double mu = sum / dim;
            for (int c = 0; c < dim; c++) {
                squares += (get(x, at + c) - mu) * (get(x, at + c) - mu);
            }
            double r = 1 / Math.sqrt(squares / dim + eps);
            set(mean, i, mu);
            set(rstd, i, r);
            for (int c = 0; c < dim; c++) {
                set(y, at + c, (get(x, at + c) - mu) * r * get(w, c) + get(b, c));
            }
        }
    }

    @Override
    public void layerNormGrad(
            MemorySegment dx,
            MemorySegment dw,
            MemorySegment db,
            MemorySegment dy,
            MemorySegment x,
            MemorySegment w,
            MemorySegment mean,
            MemorySegment rstd,
            int rows,
            int dim) {
        double[] sumsW = new double[dim], sumsB = new double[dim];
        for (int i = 0; i < rows; i++) {
            long at = (long) i * dim;
            double mu = get(mean, i), r = get(rstd, i), total = 0, projection = 0;
            for (int c = 0; c < dim; c++) {
                double normed = (get(x, at + c) - mu) * r, g = get(dy, at + c);
                total += g * get(w, c);
                projection += g * get(w, c) * normed;
                sumsW[c] += g * normed;
                sumsB[c] += g;
            }
            for (int c = 0; dx != null && c < dim; c++) {
                double normed = (get(x, at + c) - mu) * r;
                plus(dx, at + c, r * (get(dy, at + c) * (double) get(w, c) - (total + normed * projection) / dim));
            }
        }
        for (int c = 0; dw != null && c < dim; c++) {
            plus(dw, c, sumsW[c]);
        }
        for (int c = 0; db != null && c < dim; c++) {
            plus(db, c, sumsB[c]);
        }
    }

    @Override
    public void rope(
            MemorySegment y,
            MemorySegment x,
            MemorySegment cos,
            MemorySegment sin,
            Rope s,
            boolean inverse,
            boolean add) {
        int pairs = s.rotary() / 2, step = s.interleaved() ? 2 : 1, apart = s.interleaved() ? 1 : pairs;
        for (int t = 0; t < s.tokens(); t++) {
            for (int h = 0; h < s.heads(); h++) {
                long at = ((long) t * s.heads() + h) * s.headDim();
                for (int p = 0; p < pairs; p++) {
                    double c = get(cos, (long) t * pairs + p), n = get(sin, (long) t * pairs + p);
                    n = inverse ? -n : n;
                    long first = at + (long) p * step, second = first + apart;
                    double a = get(x, first), b = get(x, second);
                    put(y, first, a * c - b * n, add);
                    put(y, second, b * c + a * n, add);
                }
                for (int c = s.rotary(); c < s.headDim(); c++) {
                    put(y, at + c, get(x, at + c), add);
                }
            }
        }
    }

    @Override
    public void activation(MemorySegment y, MemorySegment x, long n, Activation f) {
        for (long i = 0; i < n; i++) {
            set(y, i, value(f, get(x, i)));
        }
    }

    @Override
    public void activationGrad(MemorySegment dx, MemorySegment dy, MemorySegment x, long n, Activation f) {
        for (long i = 0; i < n; i++) {
            plus(dx, i, get(dy, i) * slope(f, get(x, i)));
        }
    }

    @Override
    public void gated(MemorySegment y, MemorySegment gate, MemorySegment up, long n, Activation f) {
        for (long i = 0; i < n; i++) {
            set(y, i, value(f, get(gate, i)) * get(up, i));
        }
    }

    @Override
    public void gatedGrad(
            MemorySegment dgate,
            MemorySegment dup,
            MemorySegment dy,
            MemorySegment gate,
            MemorySegment up,
            long n,
            Activation f) {
        for (long i = 0; i < n; i++) {
            if (dgate != null) {
                plus(dgate, i, get(dy, i) * slope(f, get(gate, i)) * get(up, i));
            }
            if (dup != null) {
                plus(dup, i, get(dy, i) * value(f, get(gate, i)));
            }
        }
    }

    private static double value(Activation f, double x) {
        return switch (f) {
            case RELU -> Math.max(x, 0);
            case SILU -> x * sigmoid(x);
            case GELU -> x * phi(x);
            // (1 + tanh u) / 2 = sigmoid(2u), which does not cancel in the lower tail
            case GELU_TANH -> x * sigmoid(2 * GELU_SCALE * (x + 0.044715 * x * x * x));
            case TANH -> Math.tanh(x);
            case SIGMOID -> sigmoid(x);
            case EXP -> Math.exp(x);
            case LOG_SIGMOID -> Math.min(x, 0) - Math.log1p(Math.exp(-Math.abs(x)));
        };
    }

    private static double slope(Activation f, double x) {
        return switch (f) {
            case RELU -> x > 0 ? 1 : 0;
            case SILU -> sigmoid(x) * (1 + x * (1 - sigmoid(x)));
            case GELU -> phi(x) + x * Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI);
            case GELU_TANH -> {
                double p = sigmoid(2 * GELU_SCALE * (x + 0.044715 * x * x * x));
                yield p + p * (1 - p) * x * 2 * GELU_SCALE * (1 + 3 * 0.044715 * x * x);
            }
            case TANH -> 1 - Math.tanh(x) * Math.tanh(x);
            case SIGMOID -> sigmoid(x) * sigmoid(-x);
            case EXP -> Math.exp(x);
            case LOG_SIGMOID -> sigmoid(-x);
        };
    }

    private static double sigmoid(double x) {
        return 1 / (1 + Math.exp(-x));
    }

    private static double phi(double x) {
        return 0.5 * Erf.erfc(-x * SQRT_HALF);
    }

    @Override
    public void dropout(MemorySegment y, MemorySegment x, long n, float p, long seed, boolean add) {
        for (long i = 0; i < n; i++) {
            put(y, i, Noise.keeps(seed, i, p) ? get(x, i) / (1.0 - p) : 0, add);
        }
    }

    // ---------------------------------------------------------------- tables and losses

    @Override
    public void embedding(MemorySegment y, Matrix table, int[] ids) {
        int dim = table.cols();
        float[] row = new float[dim];
        for (int i = 0; i < ids.length; i++) {
            table.widen(ids[i], 0, dim, row, 0);
            MemorySegment.copy(row, 0, y, JAVA_FLOAT, 4L * i * dim, dim);
        }
    }

    @Override
    public void embeddingGrad(MemorySegment dtable, MemorySegment dy, int[] ids, int dim) {
        for (int i = 0; i < ids.length; i++) {
            for (int c = 0; c < dim; c++) {
                plus(dtable, (long) ids[i] * dim + c, get(dy, (long) i * dim + c));
            }
        }
    }

    @Override
    public void softmax(MemorySegment y, MemorySegment x, int rows, int dim) {
        for (int i = 0; i < rows; i++) {
            long at = (long) i * dim;
            double lse = logSumExp(x, at, dim);
            for (int c = 0; c < dim; c++) {
                set(y, at + c, Math.exp(get(x, at + c) - lse));
            }
        }
    }

    @Override
    public void softmaxGrad(MemorySegment dx, MemorySegment dy, MemorySegment y, int rows, int dim) {
        for (int i = 0; i < rows; i++) {
            long at = (long) i * dim;
            double sum = 0;
            for (int c = 0; c < dim; c++) {
                sum += (double) get(dy, at + c) * get(y, at + c);
            }
            for (int c = 0; c < dim; c++) {
                plus(dx, at + c, get(y, at + c) * (get(dy, at + c) - sum));
            }
        }
    }

    @Override
    public void logSoftmax(MemorySegment y, MemorySegment x, int rows, int dim) {
        for (int i = 0; i < rows; i++) {
            long at = (long) i * dim;
            double lse = logSumExp(x, at, dim);
            for (int c = 0; c < dim; c++) {
                set(y, at + c, get(x, at + c) - lse);
            }
        }
    }

    @Override
    public void logSoftmaxGrad(MemorySegment dx, MemorySegment dy, MemorySegment y, int rows, int dim) {
        for (int i = 0; i < rows; i++) {
            long at = (long) i * dim;
            double sum = 0;
            for (int c = 0; c < dim; c++) {
                sum += get(dy, at + c);
            }
            for (int c = 0; c < dim; c++) {
                plus(dx, at + c, get(dy, at + c) - Math.exp(get(y, at + c)) * sum);
            }
        }
    }

    private static double logSumExp(MemorySegment x, long at, int dim) {
        double max = Double.NEGATIVE_INFINITY, sum = 0;
        for (int c = 0; c < dim; c++) {
            max = Math.max(max, get(x, at + c));
        }
        for (int c = 0; c < dim; c++) {
            sum += Math.exp(get(x, at + c) - max);
        }
        return max + Math.log(sum);
    }

    @Override
    public void crossEntropy(MemorySegment nll, MemorySegment logits, int[] targets, int at, CrossEntropy s) {
        int dim = s.dim();
        Parallel.run(s.rows(), i -> {
            long from = (long) i * dim;
            int target = targets[at + i];
            if (target < 0) {
                set(nll, i, 0);
                if (s.grad()) {
                    logits.asSlice(4 * from, 4L * dim).fill((byte) 0);
                }
                return;
            }
            double lse = logSumExp(logits, from, dim), e = s.smoothing(), mean = 0;
            for (int c = 0; e > 0 && c < dim; c++) {
                mean += get(logits, from + c) / (double) dim;
            }
            double x = get(logits, from + target);
            set(nll, i, (1 - e) * (lse - x) + (e > 0 ? e * (lse - mean) : 0) + s.zLoss() * lse * lse);
            for (int c = 0; s.grad() && c < dim; c++) {
                double p = Math.exp(get(logits, from + c) - lse) * (1 + 2 * s.zLoss() * lse);
                set(logits, from + c, p - (c == target ? 1 - e : 0) - e / dim);
            }
        });
    }

    // ---------------------------------------------------------------- element-wise and reductions

    @Override
    public void add(MemorySegment y, MemorySegment a, MemorySegment b, long n) {
        for (long i = 0; i < n; i++) {
            set(y, i, get(a, i) + get(b, i));
        }
    }

    @Override
    public void axpy(MemorySegment y, MemorySegment x, float alpha, long n) {
        for (long i = 0; i < n; i++) {
            plus(y, i, (double) alpha * get(x, i));
        }
    }

    @Override
    public void mul(MemorySegment y, MemorySegment a, MemorySegment b, long n, boolean add) {
        for (long i = 0; i < n; i++) {
            put(y, i, (double) get(a, i) * get(b, i), add);
        }
    }

    @Override
    public void scale(MemorySegment y, MemorySegment x, float alpha, long n) {
        for (long i = 0; i < n; i++) {
            set(y, i, alpha * get(x, i));
        }
    }

    @Override
    public void scaleRows(MemorySegment y, MemorySegment s, int rows, int dim) {
        for (int i = 0; i < rows; i++) {
            for (int c = 0; c < dim; c++) {
                set(y, (long) i * dim + c, get(y, (long) i * dim + c) * get(s, i));
            }
        }
    }

    @Override
    public void addRow(MemorySegment y, MemorySegment x, MemorySegment b, int rows, int dim) {
        for (int i = 0; i < rows; i++) {
            for (int c = 0; c < dim; c++) {
                set(y, (long) i * dim + c, get(x, (long) i * dim + c) + get(b, c));
            }
        }
    }

    @Override
    public void sumRows(MemorySegment db, MemorySegment dy, int rows, int dim) {
        for (int c = 0; c < dim; c++) {
            double sum = 0;
            for (int i = 0; i < rows; i++) {
                sum += get(dy, (long) i * dim + c);
            }
            plus(db, c, sum);
        }
    }

    @Override
    public double sum(MemorySegment x, long n) {
        double sum = 0;
        for (long i = 0; i < n; i++) {
            sum += get(x, i);
        }
        return sum;
    }

    @Override
    public double dot(MemorySegment a, MemorySegment b, long n) {
        double sum = 0;
        for (long i = 0; i < n; i++) {
            sum += (double) get(a, i) * get(b, i);
        }
        return sum;
    }

    // ---------------------------------------------------------------- optimiser

    @Override
    public void adam(MemorySegment p, MemorySegment g, MemorySegment m, MemorySegment v, long n, Adam s) {
        for (long i = 0; i < n; i++) {
            double w = get(p, i), grad = s.gradScale() * get(g, i) + s.l2() * w;
            double first = s.b1() * get(m, i) + (1.0 - s.b1()) * grad;
            double second = s.b2() * get(v, i) + (1.0 - s.b2()) * grad * grad;
            set(m, i, first);
            set(v, i, second);
            set(p, i, w * (1.0 - s.decay()) - s.rate() * first / (Math.sqrt(second) / s.rootCorrection2() + s.eps()));
        }
    }

    @Override
    public void sgd(MemorySegment p, MemorySegment g, MemorySegment m, long n, Sgd s) {
        for (long i = 0; i < n; i++) {
            double w = get(p, i), grad = s.gradScale() * get(g, i) + s.l2() * w, step = grad;
            if (m != null) {
                double velocity = s.momentum() * get(m, i) + s.fresh() * grad;
                set(m, i, velocity);
                step = s.nesterov() ? grad + s.momentum() * velocity : velocity;
            }
            set(p, i, w - s.rate() * step);
        }
    }

    @Override
    public void lion(MemorySegment p, MemorySegment g, MemorySegment m, long n, Lion s) {
        for (long i = 0; i < n; i++) {
            double grad = s.gradScale() * get(g, i), mean = get(m, i);
            double direction = Math.signum(s.b1() * mean + (1.0 - s.b1()) * grad);
            set(p, i, get(p, i) * (1.0 - s.decay()) - s.rate() * direction);
            set(m, i, s.b2() * mean + (1.0 - s.b2()) * grad);
        }
    }
}
