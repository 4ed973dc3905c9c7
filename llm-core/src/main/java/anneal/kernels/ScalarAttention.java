package anneal.kernels;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import java.lang.foreign.MemorySegment;

/**
 * Attention as the formula says it, one query at a time, in double precision: the reference beside the tiled kernel.
 *
 * <p>o_i = sum_j p_ij v_j with p_i = softmax_j(score_ij), score_ij = scale q_i k_j + slope (j - i). Vaswani et al.,
 * arXiv:1706.03762. Unlike the tiled kernel it can give out the probabilities.
 */
public final class ScalarAttention {
    private ScalarAttention() {}

    private static double get(MemorySegment s, long i) {
        return s.getAtIndex(JAVA_FLOAT, i);
    }

    private static void plus(MemorySegment s, long i, double value) {
        s.setAtIndex(JAVA_FLOAT, i, (float) (s.getAtIndex(JAVA_FLOAT, i) + value));
    }

    /** The probabilities [B, H, Tq, Tk] before dropout; a query that sees nothing has a zero row. */
    public static float[] probabilities(MemorySegment q, MemorySegment k, Attention s) {
        float[] all =
                new float[Math.multiplyExact(s.batch() * s.heads(), Math.multiplyExact(s.queryLen(), s.keyLen()))];
        rows(s, (b, h, i) -> {
            double[] p = new double[s.keyLen()];
            softmax(p, scores(q, k, s, b, h, i));
            int at = ((b * s.heads() + h) * s.queryLen() + i) * s.keyLen();
            for (int j = 0; j < p.length; j++) {
                all[at + j] = (float) p[j];
            }
        });
        return all;
    }

    private interface Row {
        void accept(int b, int h, int i);
    }

    private static void rows(Attention s, Row row) {
        for (int b = 0; b < s.batch(); b++) {
            for (int h = 0; h < s.heads(); h++) {
                for (int i = 0; i < s.queryLen(); i++) {
                    row.accept(b, h, i);
                }
            }
        }
    }

    private static long queryAt(Attention s, int b, int h, int i) {
        return (((long) b * s.queryLen() + i) * s.heads() + h) * s.headDim();
    }

    private static long keyAt(Attention s, int b, int h, int j) {
        int g = h / (s.heads() / s.kvHeads());
        return (((long) b * s.capacity() + j) * s.kvHeads() + g) * s.headDim();
    }

    private static double dot(MemorySegment a, long at, MemorySegment b, long bt, int n) {
        double sum = 0;
        for (int c = 0; c < n; c++) {
            sum += get(a, at + c) * get(b, bt + c);
        }
        return sum;
    }

    private static double[] scores(MemorySegment q, MemorySegment k, Attention s, int b, int h, int i) {
        double[] score = new double[s.keyLen()];
        for (int j = 0; j < score.length; j++) {
            score[j] = Double.NEGATIVE_INFINITY;
            if (s.sees(b, i, j)) {
                double x = s.scale() * dot(q, queryAt(s, b, h, i), k, keyAt(s, b, h, j), s.headDim());
                x = s.softcap() > 0 ? s.softcap() * Math.tanh(x / s.softcap()) : x;
                score[j] = x + (s.slopes() == null ? 0 : s.slopes()[h] * (j - (i + s.keyLen() - s.queryLen())));
            }
        }
        return score;
    }

    /** Fills p and returns the log-sum-exp. */
    private static double softmax(double[] p, double[] score) {
        double max = Double.NEGATIVE_INFINITY, sum = 0;
        for (double x : score) {
            max = Math.max(max, x);
        }
        if (max == Double.NEGATIVE_INFINITY) {
            return max;
        }
        for (int j = 0; j < p.length; j++) {
            sum += p[j] = Math.exp(score[j] - max);
        }
        for (int j = 0; j < p.length; j++) {
            p[j] /= sum;
        }
        return max + Math.log(sum);
    }

    /** What the weight of key j is multiplied with: 0 or 1 / (1 - p). */
    private static double kept(Attention s, int b, int h, int i, int j) {
        if (s.dropout() == 0) {
            return 1;
        }
        long index = (((long) b * s.heads() + h) * s.queryLen() + i) * s.keyLen() + j;
        return Noise.keeps(s.seed(), index, s.dropout()) ? 1 / (1.0 - s.dropout()) : 0;
    }

    static void forward(
            MemorySegment o, MemorySegment lse, MemorySegment q, MemorySegment k, MemorySegment v, Attention s) {
        rows(s, (b, h, i) -> {
            double[] p = new double[s.keyLen()], out = new double[s.headDim()];
            double sum = softmax(p, scores(q, k, s, b, h, i));
            lse.setAtIndex(JAVA_FLOAT, ((long) b * s.heads() + h) * s.queryLen() + i, (float) sum);
            for (int j = 0; j < p.length; j++) {
                double weight = p[j] == 0 ? 0 : p[j] * kept(s, b, h, i, j);
                for (int c = 0; weight != 0 && c < out.length; c++) {
                    out[c] += weight * get(v, keyAt(s, b, h, j) + c);
                }
            }
            for (int c = 0; c < out.length; c++) {
                o.setAtIndex(JAVA_FLOAT, queryAt(s, b, h, i) + c, (float) out[c]);
            }
        });
    }

    /** dv_j += p_ij dO_i; ds_ij = p_ij (dO_i v_j - dO_i o_i); dq_i += scale ds_ij k_j; dk_j += scale ds_ij q_i. */
    static void backward(Kernels.AttentionGrad g, Attention s) {
        int n = s.headDim();
        rows(s, (b, h, i) -> {
            double[] p = new double[s.keyLen()], score = scores(g.q(), g.k(), s, b, h, i);
            softmax(p, score);
            long qi = queryAt(s, b, h, i);
            double inner = dot(g.dO(), qi, g.o(), qi, n);
            for (int j = 0; j < p.length; j++) {
                if (p[j] == 0) {
                    continue;
                }
                long kj = keyAt(s, b, h, j);
                double kept = kept(s, b, h, i, j);
                double ds = p[j] * (kept * dot(g.dO(), qi, g.v(), kj, n) - inner) * s.scale();
                if (s.softcap() > 0) {
                    double bias = s.slopes() == null ? 0 : s.slopes()[h] * (j - (i + s.keyLen() - s.queryLen()));
                    double t = (score[j] - bias) / s.softcap();
                    ds *= 1 - t * t;
                }
                for (int c = 0; c < n; c++) {
                    plus(g.dv(), kj + c, p[j] * kept * get(g.dO(), qi + c));
                    plus(g.dq(), qi + c, ds * get(g.k(), kj + c));
                    plus(g.dk(), kj + c, ds * get(g.q(), qi + c));
                }
            }
        });
    }
}
