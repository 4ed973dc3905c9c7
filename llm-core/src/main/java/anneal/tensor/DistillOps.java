package anneal.tensor;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import anneal.kernels.Activation;
import anneal.kernels.Attention;
import anneal.kernels.Kernels;
import anneal.kernels.Parallel;
import anneal.kernels.ScalarAttention;
import java.lang.foreign.MemorySegment;

/**
 * How far a student is from a teacher: losses of knowledge distillation, each forward with its backward beside it.
 *
 * <p>The gradient of a row's loss is made while its numbers are there and multiplied by d total / d loss later. No gradient flows to
 * the teacher. Losses are one number a row; nothing is averaged over rows.
 */
public final class DistillOps {
    private static final Kernels K = Kernels.get();

    private DistillOps() {}

    // ---------------------------------------------------------------- distributions

    /**
     * The generalised Jensen-Shannon divergence between teacher and student. Agarwal et al., arXiv:2306.13649, eq. 1.
     *
     * <pre>
     * p = softmax(student / T)      q = softmax(teacher / T)      m = (1 - beta) p + beta q
     * loss = beta KL(q || m) + (1 - beta) KL(p || m)
     * beta = 0: KL(q || p), forward       beta = 1: KL(p || q), reverse
     * </pre>
     *
     * <p>The ends are the Kullback-Leibler divergences that the formula tends to when it is divided by beta or 1 - beta (at the ends
     * themselves it is 0); TRL's GKD has the same. There is no factor T^2 here: who wants one multiplies.
     *
     * <p>Shapes: student and teacher [.., V] -> one loss a row. Gradient: p (a - sum(p a)) / T with a = d loss / d p.
     */
    public static Tensor divergence(Tensor student, Tensor teacher, float beta, float temperature) {
        Shape.require(student.shape().equals(teacher.shape()), "divergence", student, teacher, "shapes must be equal");
        requireTemperature("divergence", temperature);
        if (!(beta >= 0 && beta <= 1)) {
            throw new IllegalArgumentException("divergence: beta " + beta + " must be in [0, 1]");
        }
        int dim = student.rowSize();
        Tensor logP = logSoftmax(student, temperature), logQ = logSoftmax(teacher, temperature);
        Tensor p = exp(logP), q = exp(logQ);
        RowLoss loss = (row, out, grad) -> {
            float[] lp = row(logP, row), lq = row(logQ, row), pr = row(p, row), qr = row(q, row);
            out[0] = beta == 0
                    ? forward(lp, lq, pr, qr, grad)
                    : beta == 1 ? reverse(lp, lq, pr, grad) : mixed(lp, lq, pr, qr, beta, grad);
        };
        Tensor y = byRow(student, loss, dim, 1 / temperature);
        release(logP, logQ, p, q);
        return y;
    }

    /** KL(q || p): gradient p - q. */
    private static float forward(float[] lp, float[] lq, float[] p, float[] q, float[] grad) {
        double sum = 0;
        for (int i = 0; i < p.length; i++) {
            sum += q[i] * (lq[i] - lp[i]);
            grad[i] = p[i] - q[i];
        }
        return (float) sum;
    }

    /** KL(p || q): gradient p (log p - log q - KL). */
    private static float reverse(float[] lp, float[] lq, float[] p, float[] grad) {
        double sum = 0;
        for (int i = 0; i < p.length; i++) {
            sum += p[i] * (lp[i] - lq[i]);
        }
        for (int i = 0; i < p.length; i++) {
            grad[i] = p[i] * (lp[i] - lq[i] - (float) sum);
        }
        return (float) sum;
    }

    /** With m in between, d loss / d p = (1 - beta) (log p - log m). */
    private static float mixed(float[] lp, float[] lq, float[] p, float[] q, float beta, float[] grad) {
        double sum = 0, mean = 0;
        for (int i = 0; i < p.length; i++) {
            // The larger of the two is taken out, so that a tiny m does not become log 0.
            float top = Math.max(lp[i], lq[i]);
            float logM = top + (float) Math.log((1 - beta) * Math.exp(lp[i] - top) + beta * Math.exp(lq[i] - top));
            float a = (1 - beta) * (lp[i] - logM);
            sum += beta * q[i] * (lq[i] - logM) + p[i] * a;
            mean += p[i] * a;
            grad[i] = a;
        }
        for (int i = 0; i < p.length; i++) {
            grad[i] = p[i] * (grad[i] - (float) mean);
        }
        return (float) sum;
    }

    /**
     * KL(q || p) where of q only the k largest probabilities of each row are known: what is left of q is compared with what is left of
     * p as one class, so the loss is at most that of the whole distribution and equal to it for k = V.
     *
     * <pre>
     * loss = sum over the k: q (log q - log p)  +  r (log r - log s)        r = 1 - sum q, s = 1 - sum p
     * </pre>
     *
     * <p>Shapes: student [.., V], ids and logQ [rows * k] -> one loss a row. Gradient: (p - q') / T, where q' has the known
     * probabilities and the rest r shared out as the student shares its own.
     *
     * @param ids the k classes of each row
     * @param logQ their log-probabilities at this temperature
     */
    public static Tensor divergenceOfTop(Tensor student, int[] ids, float[] logQ, float temperature) {
        int rows = student.rowCount(), dim = student.rowSize();
        requireTemperature("divergenceOfTop", temperature);
        Shape.require(
                ids.length == logQ.length && (rows == 0 ? ids.length == 0 : ids.length % rows == 0),
                "divergenceOfTop",
                student,
                () -> "needs equally many ids and log-probabilities for each row, got " + ids.length + " and "
                        + logQ.length);
        for (int id : ids) {
            if (id < 0 || id >= dim) {
                throw new IllegalArgumentException("divergenceOfTop: id " + id + " is outside the " + dim + " classes");
            }
        }
        int k = rows == 0 ? 0 : ids.length / rows;
        Tensor logP = logSoftmax(student, temperature);
        Tensor y = byRow(
                student,
                (row, out, grad) -> out[0] = top(row(logP, row), ids, logQ, row * k, k, grad),
                dim,
                1 / temperature);
        release(logP);
        return y;
    }

    private static float top(float[] lp, int[] ids, float[] logQ, int at, int k, float[] grad) {
        double sum = 0, known = 0, rest = 0;
        for (int i = 0; i < lp.length; i++) {
            grad[i] = (float) Math.exp(lp[i]);
            rest += grad[i];
        }
        for (int i = at; i < at + k; i++) {
            double q = Math.exp(logQ[i]);
            sum += q * (logQ[i] - lp[ids[i]]);
            known += q;
            rest -= Math.exp(lp[ids[i]]);
        }
        double r = Math.max(0, 1 - known);
        // Below the rounding of single precision there is no rest: k is all classes, or the others have no probability.
        double share = r > 1e-6 && rest > 1e-12 ? r / rest : 1;
        sum += r > 1e-6 && rest > 1e-12 ? r * Math.log(share) : 0;
        float[] p = grad.clone();
        for (int i = 0; i < grad.length; i++) {
            grad[i] -= (float) share * p[i];
        }
        for (int i = at; i < at + k; i++) {
            grad[ids[i]] = p[ids[i]] - (float) Math.exp(logQ[i]);
        }
        return (float) sum;
    }

    // ---------------------------------------------------------------- hidden states

    /**
     * Mean square difference of each row, (1/D) sum (a - b)^2: hidden states. Romero et al., arXiv:1412.6550.
     *
     * <p>Shapes: both [.., D] -> one number a row. Gradient: da = 2 (a - b) dy / D; none to b, the teacher.
     */
    public static Tensor meanSquare(Tensor a, Tensor b) {
        Shape.require(a.shape().equals(b.shape()), "meanSquare", a, b, "shapes must be equal");
        int dim = a.rowSize();
        return byRow(
                a,
                (row, out, grad) -> {
                    float[] x = row(a, row), y = row(b, row);
                    double sum = 0;
                    for (int i = 0; i < dim; i++) {
                        float d = x[i] - y[i];
                        sum += d * d;
                        grad[i] = 2 * d / dim;
                    }
                    out[0] = (float) (sum / dim);
                },
                dim,
                1);
    }

    // ---------------------------------------------------------------- attention

    /** Queries [B, T, H K] and keys [B, T, G K] of a layer, with sizes and mask: what its attention is made of. */
    public record Heads(Tensor q, Tensor k, Attention settings) {
        /** The same layer with copies of its numbers. */
        public Heads with(Tensor otherQ, Tensor otherK) {
            return new Heads(otherQ, otherK, settings);
        }
    }

    /**
     * KL(teacher || student) of the attention of each query, averaged over heads. Wang et al., arXiv:2002.10957.
     *
     * <p>Head sizes, and the numbers of kv-heads, may differ; numbers of query heads may not. -> one number for each of the B T
     * queries; 0 for one that sees no key. Gradient: with d = (p - p of the teacher) / H, dq = scale d k and dk = scale dT q.
     */
    public static Tensor attentionDivergence(Heads student, Heads teacher) {
        Attention s = student.settings, t = teacher.settings;
        if (s.softcap() != 0 || t.softcap() != 0) {
            throw new IllegalArgumentException("attentionDivergence: scores with a softcap have no gradient here");
        }
        if (s.heads() != t.heads()
                || s.batch() != t.batch()
                || s.queryLen() != t.queryLen()
                || s.keyLen() != t.keyLen()) {
            throw new ShapeException("attentionDivergence: student " + s + " does not fit teacher " + t
                    + ": rows, heads, queries and keys must be equally many");
        }
        float[] p = ScalarAttention.probabilities(student.q.buf(), student.k.buf(), s);
        float[] q = ScalarAttention.probabilities(teacher.q.buf(), teacher.k.buf(), t);
        Tensor y = Tensor.empty(s.batch() * s.queryLen());
        int keys = s.keyLen();
        for (int row = 0; row < y.size(); row++) {
            double sum = 0;
            for (int head = 0; head < s.heads(); head++) {
                int at = at(s, row, head);
                for (int j = at; j < at + keys; j++) {
                    sum += q[j] > 0 ? q[j] * Math.log(q[j] / Math.max(p[j], Float.MIN_NORMAL)) : 0;
                }
            }
            y.buf().setAtIndex(JAVA_FLOAT, row, (float) (sum / s.heads()));
        }
        return Tape.record(y, () -> attentionGrad(student, p, q, y), student.q, student.k);
    }

    /** Where the probabilities [B, H, Tq, keys] of a query and head begin. */
    private static int at(Attention s, int row, int head) {
        int b = row / s.queryLen(), i = row % s.queryLen();
        return ((b * s.heads() + head) * s.queryLen() + i) * s.keyLen();
    }

    private static void attentionGrad(Heads student, float[] p, float[] q, Tensor y) {
        Attention s = student.settings;
        int size = s.headDim(), group = s.heads() / s.kvHeads();
        MemorySegment dq = student.q.tracked() ? student.q.gradBuf() : null;
        MemorySegment dk = student.k.tracked() ? student.k.gradBuf() : null;
        MemorySegment g = y.gradBuf();
        // One task has all that is added to its keys, so the order of the sums is fixed.
        Parallel.run(s.batch() * s.kvHeads(), task -> {
            int b = task / s.kvHeads(), kv = task % s.kvHeads();
            for (int head = kv * group; head < (kv + 1) * group; head++) {
                for (int i = 0; i < s.queryLen(); i++) {
                    int row = b * s.queryLen() + i, at = at(s, row, head);
                    float factor = s.scale() * g.getAtIndex(JAVA_FLOAT, row) / s.heads();
                    long query = ((long) row * s.heads() + head) * size;
                    for (int j = 0; j < s.keyLen(); j++) {
                        float d = factor * (p[at + j] - q[at + j]);
                        long key = (((long) b * s.capacity() + j) * s.kvHeads() + kv) * size;
                        addScaled(dq, query, student.k.buf(), key, d, size);
                        addScaled(dk, key, student.q.buf(), query, d, size);
                    }
                }
            }
        });
    }

    private static void addScaled(MemorySegment y, long yAt, MemorySegment x, long xAt, float factor, int n) {
        if (y == null || factor == 0) {
            return;
        }
        for (int i = 0; i < n; i++) {
            float sum = y.getAtIndex(JAVA_FLOAT, yAt + i) + factor * x.getAtIndex(JAVA_FLOAT, xAt + i);
            y.setAtIndex(JAVA_FLOAT, yAt + i, sum);
        }
    }

    // ---------------------------------------------------------------- rows

    private interface RowLoss {
        /** Writes the loss of a row to {@code out[0]} and its gradient to {@code grad}, up to a factor. */
        void of(int row, float[] out, float[] grad);
    }

    /** The losses of all rows; their gradients, times {@code factor}, are kept for the backward pass. */
    private static Tensor byRow(Tensor x, RowLoss loss, int dim, float factor) {
        int rows = x.rowCount();
        boolean keep = Tape.recording() && x.tracked();
        Tensor y = Tensor.empty(rows), dx = keep ? Tensor.empty(rows, dim) : null;
        Parallel.run(rows, row -> {
            float[] out = new float[1], grad = new float[dim];
            loss.of(row, out, grad);
            y.buf().setAtIndex(JAVA_FLOAT, row, out[0]);
            if (keep) {
                MemorySegment.copy(grad, 0, dx.buf(), JAVA_FLOAT, 4L * row * dim, dim);
            }
        });
        return Tape.record(
                y,
                () -> {
                    K.scaleRows(dx.buf(), y.gradBuf(), rows, dim);
                    Ops.addGrad(x, dx.buf(), factor);
                    dx.release();
                },
                x);
    }

    private static float[] row(Tensor x, int row) {
        float[] values = new float[x.rowSize()];
        MemorySegment.copy(x.buf(), JAVA_FLOAT, 4L * row * values.length, values, 0, values.length);
        return values;
    }

    private static Tensor logSoftmax(Tensor x, float temperature) {
        Tensor y = Tensor.like(x);
        K.scale(y.buf(), x.buf(), 1 / temperature, x.size());
        K.logSoftmax(y.buf(), y.buf(), x.rowCount(), x.rowSize());
        return y;
    }

    private static Tensor exp(Tensor x) {
        Tensor y = Tensor.like(x);
        K.activation(y.buf(), x.buf(), x.size(), Activation.EXP);
        return y;
    }

    private static void release(Tensor... tensors) {
        for (Tensor x : tensors) {
            x.release();
        }
    }

    private static void requireTemperature(String op, float temperature) {
        if (!(temperature > 0 && temperature < Float.POSITIVE_INFINITY)) {
            throw new IllegalArgumentException(op + ": temperature " + temperature + " must be positive");
        }
    }
}
