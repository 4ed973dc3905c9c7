package anneal.kernels;

/**
 * Attention in double precision for tests: the formula, and its analytic gradient, which {@link AttentionReferenceTest} holds
 * against central differences.
 */
final class AttentionReference {
    final double[] o, lse, dq, dk, dv;
    private final Attention s;
    private final double[] q, k, v;

    AttentionReference(double[] q, double[] k, double[] v, Attention s) {
        this.q = q;
        this.k = k;
        this.v = v;
        this.s = s;
        o = new double[q.length];
        lse = new double[s.batch() * s.heads() * s.queryLen()];
        dq = new double[q.length];
        dk = new double[k.length];
        dv = new double[v.length];
        each(this::forward);
    }

    private interface Row {
        void accept(int b, int h, int i);
    }

    private void each(Row row) {
        for (int b = 0; b < s.batch(); b++) {
            for (int h = 0; h < s.heads(); h++) {
                for (int i = 0; i < s.queryLen(); i++) {
                    row.accept(b, h, i);
                }
            }
        }
    }

    private int queryAt(int b, int h, int i) {
        return ((b * s.queryLen() + i) * s.heads() + h) * s.headDim();
    }

    private int keyAt(int b, int h, int j) {
        return ((b * s.capacity() + j) * s.kvHeads() + h * s.kvHeads() / s.heads()) * s.headDim();
    }

    private boolean hidden(int b, int i, int j) {
        int position = i + s.keyLen() - s.queryLen();
        boolean hidden = s.causal() && position < j;
        hidden |= s.window() > 0 && j <= (long) position - s.window();
        if (s.querySegments() != null) {
            int of = s.querySegments()[b * s.queryLen() + i];
            hidden |= of == -1 || of != s.keySegments()[b * s.keyLen() + j];
        }
        return hidden;
    }

    private double dot(double[] a, int at, double[] b, int bt) {
        double sum = 0;
        for (int c = 0; c < s.headDim(); c++) {
            sum += a[at + c] * b[bt + c];
        }
        return sum;
    }

    /** The score before the bias: scaled and capped. */
    private double capped(int b, int h, int i, int j) {
        double x = s.scale() * dot(q, queryAt(b, h, i), k, keyAt(b, h, j));
        return s.softcap() > 0 ? s.softcap() * Math.tanh(x / s.softcap()) : x;
    }

    private double[] scores(int b, int h, int i) {
        double[] x = new double[s.keyLen()];
        for (int j = 0; j < x.length; j++) {
            double bias = s.slopes() == null ? 0 : s.slopes()[h] * (double) (j - i - s.keyLen() + s.queryLen());
            x[j] = hidden(b, i, j) ? Double.NEGATIVE_INFINITY : capped(b, h, i, j) + bias;
        }
        return x;
    }

    private static double logSumExp(double[] x) {
        double max = Double.NEGATIVE_INFINITY, sum = 0;
        for (double a : x) {
            max = Math.max(max, a);
        }
        for (double a : x) {
            sum += a == Double.NEGATIVE_INFINITY ? 0 : Math.exp(a - max);
        }
        return sum == 0 ? Double.NEGATIVE_INFINITY : max + Math.log(sum);
    }

    private double kept(int b, int h, int i, int j) {
        if (s.dropout() == 0) {
            return 1;
        }
        long index = (((long) b * s.heads() + h) * s.queryLen() + i) * s.keyLen() + j;
        return Noise.keeps(s.seed(), index, s.dropout()) ? 1 / (1 - (double) s.dropout()) : 0;
    }

    private static double weight(double score, double lse) {
        return score == Double.NEGATIVE_INFINITY ? 0 : Math.exp(score - lse);
    }

    private void forward(int b, int h, int i) {
        double[] x = scores(b, h, i);
        double sum = logSumExp(x);
        lse[(b * s.heads() + h) * s.queryLen() + i] = sum;
        for (int j = 0; j < x.length; j++) {
            double w = weight(x[j], sum) * kept(b, h, i, j);
            for (int c = 0; c < s.headDim(); c++) {
                o[queryAt(b, h, i) + c] += w * v[keyAt(b, h, j) + c];
            }
        }
    }

    /** Fills dq, dk and dv. */
    void backward(double[] dO) {
        each((b, h, i) -> {
            double[] x = scores(b, h, i);
            int at = queryAt(b, h, i);
            double sum = lse[(b * s.heads() + h) * s.queryLen() + i], inner = dot(dO, at, o, at);
            for (int j = 0; j < x.length; j++) {
                double w = weight(x[j], sum), kept = kept(b, h, i, j);
                int jt = keyAt(b, h, j);
                double d = w * (kept * dot(dO, at, v, jt) - inner) * s.scale();
                if (s.softcap() > 0) {
                    double t = capped(b, h, i, j) / s.softcap();
                    d *= 1 - t * t;
                }
                for (int c = 0; c < s.headDim(); c++) {
                    dv[jt + c] += w * kept * dO[at + c];
                    dq[at + c] += d * k[jt + c];
                    dk[jt + c] += d * q[at + c];
                }
            }
        });
    }
}
