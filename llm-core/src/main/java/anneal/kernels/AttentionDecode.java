package anneal.kernels;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;

import java.lang.foreign.MemorySegment;
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

    /** Fewest and most keys of a task, and tasks of a head with many; by the keys alone, so that sums keep their order. */
    private static final int LEAST = 64, MOST = 256, PARTS = 16;

    /** The products of one query head with some keys and values; queries, keys and values begin at these floats. */
    interface Products {
        /** scores_j = q k_j of n keys; there is room for {@link #SPARE} more. */
        void dots(float[] scores, long query, long keys, int n);

        /** out, from {@code to} on, = sum of weights_j v_j of n values. */
        void weigh(float[] out, int to, float[] weights, long values, int n);
    }

    /** Scores that may be written behind the last one. */
    static final int SPARE = Math.max(L, 4);

    private final Products products;
    private final Attention s;
    private final int dim, group, part, parts, begin;
    private final boolean plain;
    private final float[] out, max, sum;

    private AttentionDecode(Products products, Attention s) {
        this.products = products;
        this.s = s;
        dim = s.headDim();
        group = s.heads() / s.kvHeads();
        begin = s.window() > 0 ? Math.max(0, s.keyLen() - s.window()) : 0;
        plain = s.softcap() == 0 && s.slopes() == null && s.querySegments() == null;
        int keys = s.keyLen() - begin;
        part = Math.clamp(VectorGemm.roundUp(TiledAttention.ceil(keys, PARTS), L), LEAST, MOST);
        parts = Math.max(1, TiledAttention.ceil(keys, part));
        int all = s.batch() * s.heads() * parts;
        out = new float[all * dim];
        max = new float[all];
        sum = new float[all];
    }

    static void run(MemorySegment o, MemorySegment lse, Products products, Attention s) {
        AttentionDecode d = new AttentionDecode(products, s);
        Parallel.run(s.batch() * s.kvHeads() * d.parts, d::part);
        for (int head = 0; head < s.batch() * s.heads(); head++) {
            d.merge(o, lse, head);
        }
    }

    /** Softmax and weighted sum over the keys of one part, for the query heads of one key head. */
    private void part(int task) {
        int p = task % parts, b = task / parts / s.kvHeads(), g = task / parts % s.kvHeads();
        int from = begin + p * part, n = Math.min(from + part, s.keyLen()) - from;
        long keys = (((long) b * s.capacity() + from) * s.kvHeads() + g) * dim;
        float[] scores = new float[part + SPARE];
        for (int h = g * group; h < (g + 1) * group; h++) {
            int slot = (b * s.heads() + h) * parts + p;
            if (n > 0) {
                products.dots(scores, ((long) b * s.heads() + h) * dim, keys, n);
            }
            float top = Float.NEGATIVE_INFINITY;
            for (int j = 0; j < n; j++) {
                scores[j] = score(s.scale() * scores[j], b, h, from + j);
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
            products.weigh(out, slot * dim, scores, keys, n);
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
        if (plain) {
            return x * VectorMath.LOG2E;
        }
        if (s.softcap() > 0) {
            x = (float) (s.softcap() * Math.tanh(x / s.softcap()));
        }
        if (s.slopes() != null) {
            x += s.slopes()[h] * (j - (s.keyLen() - 1));
        }
        return s.querySegments() == null || s.sees(b, 0, j) ? x * VectorMath.LOG2E : Float.NEGATIVE_INFINITY;
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
