package anneal.kernels;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/**
 * One tile of scores of at most 64 keys (rows) by 64 queries (columns) of one head, and what the masks do to it.
 *
 * <p>Scores are kept in units of ln 2, so that the softmax needs 2^x and the scale of the queries takes the factor for free. Queries
 * lie across the lanes: the maximum and the sum over keys are vertical, and a mask compares the lanes' positions with one key.
 *
 * <p>A column group is one register tile of queries. Of each group only the keys from {@link #from} to {@link #to} are computed:
 * that is the causal and the window skip inside a tile.
 */
final class ScoreTile {
    private static final VectorSpecies<Float> F = VectorMath.F;
    private static final VectorSpecies<Integer> I = VectorMath.I;
    private static final int L = VectorMath.L;
    private static final int W = Panels.WIDTH;
    private static final IntVector LANES = IntVector.zero(I).addIndex(1);
    private static final float HIDDEN = Float.NEGATIVE_INFINITY;

    private final Attention s;
    private final boolean cheap;

    /** Scores, later probabilities [64, 64]: row = key, column = query. */
    final float[] scores = new float[Panels.SIZE];

    /** 1 - (score / softcap)^2, the slope of the cap; only with a softcap. */
    final float[] slope;

    private final int[] querySegments = new int[W];
    private final int[] keySegments = new int[W];

    private int b, h, firstQuery, queries, firstKey, keys;
    private int queryLow, queryHigh, keyLow, keyHigh;
    private boolean queryPadding;

    ScoreTile(Attention s, boolean gradient) {
        this.s = s;
        this.slope = gradient && s.softcap() > 0 ? new float[Panels.SIZE] : null;
        this.cheap = s.softcap() == 0 && s.slopes() == null;
    }

    /** What the queries are multiplied with, so that the product with a key is the tile's unit. */
    static float queryScale(Attention s) {
        return s.softcap() > 0 ? s.scale() / s.softcap() : s.scale() * VectorMath.LOG2E;
    }

    /** The columns: {@code count} queries from {@code first} on. */
    void queries(int b, int h, int first, int count) {
        this.b = b;
        this.h = h;
        firstQuery = first;
        queries = count;
        if (s.querySegments() == null) {
            return;
        }
        queryLow = Integer.MAX_VALUE;
        queryHigh = -1;
        queryPadding = count < W;
        for (int i = 0; i < W; i++) {
            int segment = i < count ? s.querySegments()[b * s.queryLen() + first + i] : -1;
            querySegments[i] = segment < 0 ? Integer.MIN_VALUE : segment;
            queryPadding |= segment < 0;
            queryLow = segment < 0 ? queryLow : Math.min(queryLow, segment);
            queryHigh = Math.max(queryHigh, segment);
        }
    }

    /** The rows: {@code count} keys from {@code first} on; to be called after {@link #queries}. */
    void keys(int first, int count) {
        firstKey = first;
        keys = count;
        if (s.keySegments() == null) {
            return;
        }
        keyLow = Integer.MAX_VALUE;
        keyHigh = Integer.MIN_VALUE;
        for (int j = 0; j < W; j++) {
            keySegments[j] = j < count ? s.keySegments()[b * s.keyLen() + first + j] : -1;
            if (j < count) {
                keyLow = Math.min(keyLow, keySegments[j]);
                keyHigh = Math.max(keyHigh, keySegments[j]);
            }
        }
    }

    /** False if no query sees any key by position, or the ranges of their segments do not meet. */
    boolean visible() {
        return from(0) < to(queries - 1)
                && (s.querySegments() == null || queryHigh >= keyLow && queryLow <= keyHigh && queryHigh >= 0);
    }

    private int position(int column) {
        return firstQuery + column + s.keyLen() - s.queryLen();
    }

    /** First key row that the query of this column, and so any later one, can see by its window. */
    int from(int column) {
        return s.window() == 0 ? 0 : Math.max(0, position(column) - s.window() + 1 - firstKey);
    }

    /** One past the last key row that the query of this column, and so any earlier one, can see. */
    int to(int column) {
        return s.causal() ? Math.min(keys, position(column) + 1 - firstKey) : keys;
    }

    /** First key row of a column group, aligned to register tiles. */
    int groupFrom(int column) {
        return from(column) & -4;
    }

    /** One past the last key row of a column group, aligned to register tiles; may be below {@link #groupFrom}. */
    int groupTo(int column) {
        return to(Math.min(column + Panels.STEP, queries) - 1) + 3 & -4;
    }

    /** First query column that can see the key of this row, and so any later row's first is not before it. */
    int firstColumn(int row) {
        return s.causal() ? Math.max(0, firstKey + row - position(0)) : 0;
    }

    /** One past the last query column that can see the key of this row; any earlier row's end is not behind it. */
    int endColumn(int row) {
        return s.window() == 0 ? queries : (int) Math.min(queries, (long) firstKey + row + s.window() - position(0));
    }

    /** True if {@link #mask} has nothing to do: no cap, no bias, and every query of the columns sees every key of the rows. */
    boolean plain(int column, int width, int from, int to) {
        return cheap && open(column, width, from, to);
    }

    private boolean open(int column, int width, int from, int to) {
        int last = Math.min(column + width, queries) - 1;
        return to <= keys
                && (!s.causal() || position(column) >= firstKey + to - 1)
                && (s.window() == 0 || position(last) - (firstKey + from) < s.window())
                && (s.querySegments() == null
                        || !queryPadding && queryLow == queryHigh && keyLow == keyHigh && queryLow == keyLow);
    }

    /**
     * Scores of one column group, rows {@code from} to {@code to}: k qT with cap, bias and masks; hidden pairs are -infinity.
     *
     * @param k key panels, at {@code kt}; rows up to the next multiple of 4 must exist
     * @param q transposed, scaled query panels, at {@code qt}
     */
    void score(float[] k, int kt, float[] q, int qt, int column, int from, int to) {
        for (int p = 0; p < Panels.count(s.headDim()); p++) {
            int width = Panels.width(s.headDim(), p);
            for (int j = from; j < to; j += 4) {
                Panels.rows(
                        k,
                        kt + p * Panels.SIZE + j * W,
                        q,
                        qt + p * Panels.SIZE + column,
                        width,
                        scores,
                        j * W + column,
                        p > 0);
            }
        }
        mask(column, Panels.STEP, from, to);
    }

    /** Cap, bias and masks of {@code width} columns of scores, rows {@code from} to {@code to}. */
    void mask(int column, int width, int from, int to) {
        if (!cheap) {
            for (int x = column; x < column + width; x += L) {
                cap(x, from, to);
                bias(x, from, to);
            }
        }
        if (!open(column, width, from, to)) {
            for (int x = column; x < column + width; x += L) {
                hide(x, from, to);
                hideSegments(x, from, to);
            }
        }
    }

    /** score = c tanh(score / c), and its slope for the backward pass. */
    private void cap(int x, int from, int to) {
        if (s.softcap() == 0) {
            return;
        }
        for (int j = from; j < to; j++) {
            FloatVector t = VectorMath.tanh(FloatVector.fromArray(F, scores, j * W + x));
            t.mul(s.softcap() * VectorMath.LOG2E).intoArray(scores, j * W + x);
            if (slope != null) {
                VectorMath.broadcast(1f).sub(t.mul(t)).intoArray(slope, j * W + x);
            }
        }
    }

    /** ALiBi: score += slope (key - query). */
    private void bias(int x, int from, int to) {
        if (s.slopes() == null) {
            return;
        }
        float slope2 = s.slopes()[h] * VectorMath.LOG2E;
        FloatVector position = (FloatVector) LANES.add(position(x)).convertShape(VectorOperators.I2F, F, 0);
        for (int j = from; j < to; j++) {
            FloatVector distance = VectorMath.broadcast(firstKey + j).sub(position);
            distance.fma(VectorMath.broadcast(slope2), FloatVector.fromArray(F, scores, j * W + x))
                    .intoArray(scores, j * W + x);
        }
    }

    /** Causal mask, window, and rows past the last key. */
    private void hide(int x, int from, int to) {
        IntVector position = LANES.add(position(x));
        for (int j = from; j < to; j++) {
            int key = firstKey + j;
            int first = j >= keys ? Integer.MAX_VALUE : s.causal() ? key : Integer.MIN_VALUE;
            int end = s.window() > 0 ? (int) Math.min((long) key + s.window(), Integer.MAX_VALUE) : Integer.MAX_VALUE;
            VectorMask<Integer> hidden =
                    position.compare(VectorOperators.LT, first).or(position.compare(VectorOperators.GE, end));
            FloatVector.fromArray(F, scores, j * W + x)
                    .blend(HIDDEN, hidden.cast(F))
                    .intoArray(scores, j * W + x);
        }
    }

    private void hideSegments(int x, int from, int to) {
        if (s.querySegments() == null) {
            return;
        }
        IntVector segment = IntVector.fromArray(I, querySegments, x);
        for (int j = from; j < to; j++) {
            VectorMask<Integer> hidden = segment.compare(VectorOperators.NE, keySegments[j]);
            FloatVector.fromArray(F, scores, j * W + x)
                    .blend(HIDDEN, hidden.cast(F))
                    .intoArray(scores, j * W + x);
        }
    }

    /**
     * x = 2^(x - shift) for {@code rows} rows of one column group, and sum += x down the columns.
     *
     * <p>The exponential is {@link VectorMath#exp2} written out. Called as a method it is inlined only while the caller's graph
     * is small, and where it is not, every vector is boxed; written out, this method is too large to be inlined itself and always
     * compiles on its own.
     *
     * @param shift one number a column, not above 127 below any x; -infinity counts as 0, so that hidden scores stay hidden
     */
    static void exponentials(float[] a, int at, int rows, float[] shift, int st, float[] sum, int sut) {
        FloatVector shift0 = FloatVector.fromArray(F, shift, st), shift1 = FloatVector.fromArray(F, shift, st + L);
        shift0 = shift0.blend(0f, shift0.compare(VectorOperators.EQ, HIDDEN));
        shift1 = shift1.blend(0f, shift1.compare(VectorOperators.EQ, HIDDEN));
        FloatVector sum0 = FloatVector.fromArray(F, sum, sut), sum1 = FloatVector.fromArray(F, sum, sut + L);
        FloatVector least = VectorMath.broadcast(-127f), round = VectorMath.broadcast(VectorMath.ROUND + 127);
        FloatVector c5 = VectorMath.broadcast(VectorMath.EXP2_5), c4 = VectorMath.broadcast(VectorMath.EXP2_4);
        FloatVector c3 = VectorMath.broadcast(VectorMath.EXP2_3), c2 = VectorMath.broadcast(VectorMath.EXP2_2);
        FloatVector c1 = VectorMath.broadcast(VectorMath.EXP2_1), c0 = VectorMath.broadcast(1f);
        for (int j = 0; j < rows; j++) {
            FloatVector x0 = FloatVector.fromArray(F, a, at + j * W).sub(shift0);
            FloatVector x1 = FloatVector.fromArray(F, a, at + j * W + L).sub(shift1);
            x0 = x0.blend(least, x0.compare(VectorOperators.LT, least));
            x1 = x1.blend(least, x1.compare(VectorOperators.LT, least));
            FloatVector n0 = x0.add(round), n1 = x1.add(round);
            FloatVector f0 = x0.sub(n0.sub(round)), f1 = x1.sub(n1.sub(round));
            FloatVector p0 = f0.fma(c5, c4).fma(f0, c3).fma(f0, c2).fma(f0, c1).fma(f0, c0);
            FloatVector p1 = f1.fma(c5, c4).fma(f1, c3).fma(f1, c2).fma(f1, c1).fma(f1, c0);
            IntVector i0 = n0.reinterpretAsInts().lanewise(VectorOperators.LSHL, 23);
            IntVector i1 = n1.reinterpretAsInts().lanewise(VectorOperators.LSHL, 23);
            FloatVector e0 = p0.mul(i0.reinterpretAsFloats()), e1 = p1.mul(i1.reinterpretAsFloats());
            e0.intoArray(a, at + j * W);
            e1.intoArray(a, at + j * W + L);
            sum0 = sum0.add(e0);
            sum1 = sum1.add(e1);
        }
        sum0.intoArray(sum, sut);
        sum1.intoArray(sum, sut + L);
    }

    /** Drops weights of {@code width} columns, rows {@code from} to {@code to}. */
    void dropOut(int column, int width, int from, int to) {
        for (int x = column; s.dropout() > 0 && x < column + width; x += L) {
            for (int j = from; j < to; j++) {
                FloatVector.fromArray(F, scores, j * W + x).mul(kept(j, x)).intoArray(scores, j * W + x);
            }
        }
    }

    /**
     * What dropout multiplies the weights of key row j and L queries from column x on with: 0 or 1 / (1 - p).
     *
     * <p>The index of a weight is ((b H + h) Tq + i) Tk + j, as {@link ScalarAttention} counts.
     */
    FloatVector kept(int j, int x) {
        long first = (((long) b * s.heads() + h) * s.queryLen() + firstQuery + x) * s.keyLen() + firstKey + j;
        IntVector step = LANES.mul(s.keyLen());
        IntVector low = step.add((int) first);
        // The lanes may straddle a multiple of 2^32: those that wrapped have the next upper half.
        IntVector high = IntVector.broadcast(I, (int) (first >>> 32));
        high = high.add(1, low.compare(VectorOperators.ULT, (int) first));
        IntVector bits = VectorMath.noise(s.seed(), low, high).lanewise(VectorOperators.LSHR, 8);
        VectorMask<Integer> keeps = bits.compare(VectorOperators.GE, VectorMath.threshold(s.dropout()));
        return FloatVector.zero(F).blend(1 / (1 - s.dropout()), keeps.cast(F));
    }
}
