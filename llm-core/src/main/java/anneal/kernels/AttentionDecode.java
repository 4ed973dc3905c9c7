package anneal.kernels;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;

import java.lang.foreign.MemorySegment;
import java.nio.ByteOrder;
import java.util.Arrays;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorSpecies;

/**
 * Attention of a single query per sequence: a step of generation against a cache.
 *
 * <p>There is nothing to tile; what counts is to read keys and values once. A task is one key head and 256 keys, for all query
 * heads that share them; the parts of a head are put together in the order of the keys afterwards.
 */
final class AttentionDecode {
    private static final VectorSpecies<Float> F = VectorMath.F;
    private static final int L = VectorMath.L;
    private static final ByteOrder NATIVE = ByteOrder.nativeOrder();

    /** Keys of a task. */
    private static final int PART = 256;

    private final MemorySegment q, k, v;
    private final Attention s;
    private final int dim, group, parts, begin;
    private final boolean plain;
    private final float[] out, max, sum;

    private AttentionDecode(MemorySegment q, MemorySegment k, MemorySegment v, Attention s) {
        this.q = q;
        this.k = k;
        this.v = v;
        this.s = s;
        dim = s.headDim();
        group = s.heads() / s.kvHeads();
        begin = s.window() > 0 ? Math.max(0, s.keyLen() - s.window()) : 0;
        plain = s.softcap() == 0 && s.slopes() == null && s.querySegments() == null;
        parts = Math.max(1, TiledAttention.ceil(s.keyLen() - begin, PART));
        int all = s.batch() * s.heads() * parts;
        out = new float[all * dim];
        max = new float[all];
        sum = new float[all];
    }

    static void run(
            MemorySegment o, MemorySegment lse, MemorySegment q, MemorySegment k, MemorySegment v, Attention s) {
        AttentionDecode d = new AttentionDecode(q, k, v, s);
        Parallel.run(s.batch() * s.kvHeads() * d.parts, d::part);
        for (int head = 0; head < s.batch() * s.heads(); head++) {
            d.merge(o, lse, head);
        }
    }

    /** Softmax and weighted sum over the keys of one part, for the query heads of one key head. */
    private void part(int task) {
        int part = task % parts, b = task / parts / s.kvHeads(), g = task / parts % s.kvHeads();
        int from = begin + part * PART, n = Math.min(from + PART, s.keyLen()) - from;
        long at = (((long) b * s.capacity() + from) * s.kvHeads() + g) * dim, stride = (long) s.kvHeads() * dim;
        float[] query = new float[dim], scores = new float[PART + Math.max(L, 4)];
        for (int h = g * group; h < (g + 1) * group; h++) {
            MemorySegment.copy(q, JAVA_FLOAT_UNALIGNED, 4L * (b * s.heads() + h) * dim, query, 0, dim);
            int slot = (b * s.heads() + h) * parts + part;
            dots(query, k, at, stride, dim, n, s.scale(), scores);
            float top = Float.NEGATIVE_INFINITY;
            for (int j = 0; j < n; j++) {
                scores[j] = plain ? scores[j] * VectorMath.LOG2E : score(scores[j], b, h, from + j);
                top = scores[j] > top ? scores[j] : top;
            }
            Arrays.fill(scores, n, scores.length, Float.NEGATIVE_INFINITY);
            max[slot] = top;
            if (top == Float.NEGATIVE_INFINITY) {
                sum[slot] = hidden(scores, n) ? 0 : Float.NaN;
                continue;
            }
            sum[slot] = exponentials(scores, n, top);
            dropOut(scores, n, b, h, from);
            weighted(scores, n, at, stride, slot * dim);
        }
    }

    /** True if all scores are -infinity rather than NaN. */
    private static boolean hidden(float[] scores, int n) {
        for (int j = 0; j < n; j++) {
            if (scores[j] != Float.NEGATIVE_INFINITY) {
                return false;
            }
        }
        return true;
    }

    /** Cap, bias and masks of one score, in units of ln 2. */
    private float score(float x, int b, int h, int j) {
        if (s.softcap() > 0) {
            x = (float) (s.softcap() * Math.tanh(x / s.softcap()));
        }
        if (s.slopes() != null) {
            x += s.slopes()[h] * (j - (s.keyLen() - 1));
        }
        return s.querySegments() == null || s.sees(b, 0, j) ? x * VectorMath.LOG2E : Float.NEGATIVE_INFINITY;
    }

    /** scores_j = scale q k_j. Four keys at a time, so that one waits for its sums while the others multiply. */
    private static void dots(
            float[] q, MemorySegment k, long at, long stride, int dim, int n, float scale, float[] scores) {
        int j = 0;
        for (; j <= n - 4; j += 4) {
            dots4(q, k, at + j * stride, stride, dim, scale, scores, j);
        }
        for (; j < n; j++) {
            // The last ones as if there were four: the sums are the same for a key wherever it stands.
            dots4(q, k, at + j * stride, 0, dim, scale, scores, j);
        }
    }

    /** Scores of four keys; {@code scores} has room for them behind the last key. */
    private static void dots4(
            float[] q, MemorySegment k, long at, long stride, int dim, float scale, float[] scores, int j) {
        FloatVector s0 = FloatVector.zero(F), s1 = s0, s2 = s0, s3 = s0;
        long at1 = at + stride, at2 = at1 + stride, at3 = at2 + stride;
        int c = 0;
        for (; c <= dim - L; c += L) {
            FloatVector x = FloatVector.fromArray(F, q, c);
            s0 = x.fma(FloatVector.fromMemorySegment(F, k, 4 * (at + c), NATIVE), s0);
            s1 = x.fma(FloatVector.fromMemorySegment(F, k, 4 * (at1 + c), NATIVE), s1);
            s2 = x.fma(FloatVector.fromMemorySegment(F, k, 4 * (at2 + c), NATIVE), s2);
            s3 = x.fma(FloatVector.fromMemorySegment(F, k, 4 * (at3 + c), NATIVE), s3);
        }
        float d0 = VectorMath.sum(s0), d1 = VectorMath.sum(s1), d2 = VectorMath.sum(s2), d3 = VectorMath.sum(s3);
        for (; c < dim; c++) {
            d0 = Math.fma(q[c], k.getAtIndex(JAVA_FLOAT_UNALIGNED, at + c), d0);
            d1 = Math.fma(q[c], k.getAtIndex(JAVA_FLOAT_UNALIGNED, at1 + c), d1);
            d2 = Math.fma(q[c], k.getAtIndex(JAVA_FLOAT_UNALIGNED, at2 + c), d2);
            d3 = Math.fma(q[c], k.getAtIndex(JAVA_FLOAT_UNALIGNED, at3 + c), d3);
        }
        scores[j] = scale * d0;
        scores[j + 1] = scale * d1;
        scores[j + 2] = scale * d2;
        scores[j + 3] = scale * d3;
    }

    /** scores = 2^(scores - top), up to whole vectors; returns their sum. */
    private static float exponentials(float[] scores, int n, float top) {
        FloatVector sum = FloatVector.zero(F);
        for (int j = 0; j < n; j += L) {
            FloatVector e = VectorMath.exp2(FloatVector.fromArray(F, scores, j).sub(top));
            sum = sum.add(e);
            e.intoArray(scores, j);
        }
        return VectorMath.sum(sum);
    }

    private void dropOut(float[] scores, int n, int b, int h, int from) {
        for (int j = 0; s.dropout() > 0 && j < n; j++) {
            long index = ((long) b * s.heads() + h) * s.keyLen() + from + j;
            scores[j] = Noise.keeps(s.seed(), index, s.dropout()) ? scores[j] / (1 - s.dropout()) : 0;
        }
    }

    /** out = sum of weight_j v_j. */
    private void weighted(float[] weights, int n, long at, long stride, int to) {
        int c = 0;
        for (; c <= dim - 4 * L; c += 4 * L) {
            weighted4(weights, n, v, at + c, stride, out, to + c);
        }
        for (; c <= dim - L; c += L) {
            weighted1(weights, n, v, at + c, stride, out, to + c);
        }
        for (; c < dim; c++) {
            float sum = 0;
            for (int j = 0; j < n; j++) {
                sum = Math.fma(weights[j], v.getAtIndex(JAVA_FLOAT_UNALIGNED, at + j * stride + c), sum);
            }
            out[to + c] = sum;
        }
    }

    private static void weighted4(float[] w, int n, MemorySegment v, long at, long stride, float[] out, int to) {
        FloatVector s0 = FloatVector.zero(F), s1 = s0, s2 = s0, s3 = s0;
        for (int j = 0; j < n; j++) {
            FloatVector x = FloatVector.broadcast(F, w[j]);
            long row = 4 * (at + j * stride);
            s0 = x.fma(FloatVector.fromMemorySegment(F, v, row, NATIVE), s0);
            s1 = x.fma(FloatVector.fromMemorySegment(F, v, row + 4L * L, NATIVE), s1);
            s2 = x.fma(FloatVector.fromMemorySegment(F, v, row + 8L * L, NATIVE), s2);
            s3 = x.fma(FloatVector.fromMemorySegment(F, v, row + 12L * L, NATIVE), s3);
        }
        s0.intoArray(out, to);
        s1.intoArray(out, to + L);
        s2.intoArray(out, to + 2 * L);
        s3.intoArray(out, to + 3 * L);
    }

    private static void weighted1(float[] w, int n, MemorySegment v, long at, long stride, float[] out, int to) {
        FloatVector sum = FloatVector.zero(F);
        for (int j = 0; j < n; j++) {
            FloatVector x = FloatVector.fromMemorySegment(F, v, 4 * (at + j * stride), NATIVE);
            sum = x.fma(FloatVector.broadcast(F, w[j]), sum);
        }
        sum.intoArray(out, to);
    }

    /** Brings the parts of one head to their common maximum, adds and divides. */
    private void merge(MemorySegment o, MemorySegment lse, int head) {
        float top = Float.NEGATIVE_INFINITY;
        for (int p = head * parts; p < (head + 1) * parts; p++) {
            top = Math.max(top, max[p]);
        }
        double total = 0;
        double[] sums = new double[dim];
        for (int p = head * parts; p < (head + 1) * parts; p++) {
            double factor = max[p] == Float.NEGATIVE_INFINITY ? 1 : Math.exp((max[p] - top) * Math.log(2));
            total += factor * sum[p];
            for (int c = 0; c < dim; c++) {
                sums[c] += factor * out[p * dim + c];
            }
        }
        for (int c = 0; c < dim; c++) {
            float value = total == 0 ? 0 : (float) (sums[c] / total);
            o.setAtIndex(JAVA_FLOAT_UNALIGNED, (long) head * dim + c, value);
        }
        double value = total == 0 ? Double.NEGATIVE_INFINITY : top * Math.log(2) + Math.log(total);
        lse.setAtIndex(JAVA_FLOAT_UNALIGNED, head, (float) value);
    }
}
