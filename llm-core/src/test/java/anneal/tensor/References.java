package anneal.tensor;

import anneal.kernels.Activation;
import anneal.kernels.Attention;
import anneal.kernels.Kernels;
import anneal.kernels.Noise;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.BinaryOperator;
import java.util.function.UnaryOperator;

/** Each op as its formula says it, in double precision; rows are contiguous pieces of {@code dim} numbers. */
final class References {
    private References() {}

    static Var[] map(Var[] x, UnaryOperator<Var> f) {
        return Arrays.stream(x).map(f).toArray(Var[]::new);
    }

    static Var[] zip(Var[] a, Var[] b, BinaryOperator<Var> f) {
        Var[] y = new Var[a.length];
        for (int i = 0; i < y.length; i++) {
            y[i] = f.apply(a[i], b[i]);
        }
        return y;
    }

    /** f of each row, one after the other. */
    static Var[] byRow(Var[] x, int dim, UnaryOperator<Var[]> f) {
        List<Var> y = new ArrayList<>();
        for (int at = 0; at < x.length; at += dim) {
            y.addAll(Arrays.asList(f.apply(Arrays.copyOfRange(x, at, at + dim))));
        }
        return y.toArray(Var[]::new);
    }

    /** x [.., k] times the transpose of w [n, k]. */
    static Var[] matmulT(Var[] x, Var[] w, int k) {
        return byRow(x, k, row -> byRow(w, k, column -> new Var[] {Var.sum(zip(row, column, Var::times))}));
    }

    /** w [rows, cols] turned. */
    static Var[] transpose(Var[] w, int cols) {
        int rows = w.length / cols;
        Var[] y = new Var[w.length];
        for (int i = 0; i < y.length; i++) {
            y[i] = w[i % rows * cols + i / rows];
        }
        return y;
    }

    static Var[] addBias(Var[] x, Var[] b) {
        return byRow(x, b.length, row -> zip(row, b, Var::plus));
    }

    static Var[] rmsNorm(Var[] x, Var[] w, double eps) {
        return byRow(x, w.length, row -> {
            Var mean = Var.sum(map(row, v -> v.times(v))).times(1.0 / row.length);
            Var rms = mean.plus(eps).sqrt();
            return zip(map(row, v -> v.over(rms)), w, Var::times);
        });
    }

    static Var[] layerNorm(Var[] x, Var[] w, Var[] b, double eps) {
        return byRow(x, w.length, row -> {
            Var mean = Var.sum(row).times(1.0 / row.length);
            Var[] centred = map(row, v -> v.minus(mean));
            Var variance = Var.sum(map(centred, v -> v.times(v))).times(1.0 / row.length);
            Var std = variance.plus(eps).sqrt();
            return zip(zip(map(centred, v -> v.over(std)), w, Var::times), b, Var::plus);
        });
    }

    static Var activation(Var x, Activation f) {
        return switch (f) {
            case RELU -> x.relu();
            case SILU -> x.times(sigmoid(x));
            case GELU -> x.times(x.times(Math.sqrt(0.5)).erf().plus(1)).times(0.5);
            case GELU_TANH -> {
                Var cubic = x.plus(x.times(x).times(x).times(0.044715)).times(Math.sqrt(2 / Math.PI));
                yield x.times(cubic.tanh().plus(1)).times(0.5);
            }
            case TANH -> x.tanh();
            case SIGMOID -> sigmoid(x);
            case EXP -> x.exp();
            case LOG_SIGMOID -> x.times(-1).exp().plus(1).log().times(-1);
        };
    }

    private static Var sigmoid(Var x) {
        return Var.of(1).over(x.times(-1).exp().plus(1));
    }

    static Var logSumExp(Var[] row) {
        return Var.sum(map(row, Var::exp)).log();
    }

    static Var[] softmax(Var[] x, int dim) {
        return byRow(x, dim, row -> {
            Var sum = Var.sum(map(row, Var::exp));
            return map(row, v -> v.exp().over(sum));
        });
    }

    static Var[] logSoftmax(Var[] x, int dim) {
        return byRow(x, dim, row -> {
            Var lse = logSumExp(row);
            return map(row, v -> v.minus(lse));
        });
    }

    /** (1 - e) (lse - x_t) + e (lse - mean x) + z lse^2 for each row; 0 where the target is -1. */
    static Var[] nll(Var[] logits, int classes, int[] targets, NllOptions options) {
        double e = options.smoothing(), z = options.zLoss();
        Var[] y = new Var[targets.length];
        for (int i = 0; i < y.length; i++) {
            Var[] row = Arrays.copyOfRange(logits, i * classes, (i + 1) * classes);
            if (targets[i] < 0) {
                y[i] = Var.of(0);
                continue;
            }
            Var lse = logSumExp(row), mean = Var.sum(row).times(1.0 / classes);
            y[i] = Var.sum(
                    lse.minus(row[targets[i]]).times(1 - e),
                    lse.minus(mean).times(e),
                    lse.times(lse).times(z));
        }
        return y;
    }

    static Var[] rows(Var[] x, int dim, int[] rows) {
        Var[] y = new Var[rows.length * dim];
        for (int i = 0; i < y.length; i++) {
            y[i] = x[rows[i / dim] * dim + i % dim].times(1);
        }
        return y;
    }

    static Var[] columns(Var[] x, int dim, int from, int count) {
        return byRow(x, dim, row -> Arrays.copyOfRange(row, from, from + count));
    }

    static Var[] dropout(Var[] x, double p, long seed) {
        Var[] y = new Var[x.length];
        for (int i = 0; i < y.length; i++) {
            y[i] = x[i].times(Noise.keeps(seed, i, (float) p) ? 1 / (1 - p) : 0);
        }
        return y;
    }

    static Var[] rope(Var[] x, Var[] cos, Var[] sin, Kernels.Rope s) {
        Var[] y = x.clone();
        int pairs = s.rotary() / 2;
        for (int at = 0; at < x.length; at += s.headDim()) {
            int token = at / (s.heads() * s.headDim());
            for (int p = 0; p < pairs; p++) {
                int a = at + (s.interleaved() ? 2 * p : p), b = s.interleaved() ? a + 1 : a + pairs;
                Var c = cos[token * pairs + p], n = sin[token * pairs + p];
                y[a] = x[a].times(c).minus(x[b].times(n));
                y[b] = x[b].times(c).plus(x[a].times(n));
            }
        }
        return y;
    }

    static Var[] attention(Var[] q, Var[] k, Var[] v, Attention s) {
        int dim = s.headDim();
        Var[] o = new Var[q.length];
        for (int at = 0; at < q.length; at += dim) {
            int h = at / dim % s.heads(), i = at / dim / s.heads() % s.queryLen();
            int b = at / dim / s.heads() / s.queryLen(), g = h / (s.heads() / s.kvHeads());
            List<Var> weights = new ArrayList<>();
            List<Integer> keys = new ArrayList<>();
            for (int j = 0; j < s.keyLen(); j++) {
                if (s.sees(b, i, j)) {
                    int from = ((b * s.capacity() + j) * s.kvHeads() + g) * dim;
                    weights.add(score(q, at, k, from, s, h, i, j).exp());
                    keys.add(j);
                }
            }
            Var total = Var.sum(weights.toArray(Var[]::new));
            for (int c = 0; c < dim; c++) {
                Var[] parts = new Var[keys.size()];
                for (int n = 0; n < parts.length; n++) {
                    int j = keys.get(n), from = ((b * s.capacity() + j) * s.kvHeads() + g) * dim;
                    parts[n] = weights.get(n)
                            .over(total)
                            .times(kept(s, b, h, i, j))
                            .times(v[from + c]);
                }
                o[at + c] = Var.sum(parts);
            }
        }
        return o;
    }

    private static Var score(Var[] q, int qAt, Var[] k, int kAt, Attention s, int h, int i, int j) {
        Var[] products = new Var[s.headDim()];
        for (int c = 0; c < products.length; c++) {
            products[c] = q[qAt + c].times(k[kAt + c]);
        }
        Var x = Var.sum(products).times(s.scale());
        x = s.softcap() > 0 ? x.times(1.0 / s.softcap()).tanh().times(s.softcap()) : x;
        return s.slopes() == null ? x : x.plus((double) s.slopes()[h] * (j - (i + s.keyLen() - s.queryLen())));
    }

    private static double kept(Attention s, int b, int h, int i, int j) {
        long index = (((long) b * s.heads() + h) * s.queryLen() + i) * s.keyLen() + j;
        return s.dropout() == 0 ? 1 : Noise.keeps(s.seed(), index, s.dropout()) ? 1 / (1.0 - s.dropout()) : 0;
    }
}
