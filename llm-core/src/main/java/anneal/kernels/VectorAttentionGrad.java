package anneal.kernels;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;

import java.util.Arrays;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorSpecies;

/** The tiles of {@link TiledAttentionGrad} in the Vector API, on panels of the heap. */
final class VectorAttentionGrad implements TiledAttentionGrad.Tiles {
    private static final VectorSpecies<Float> F = VectorMath.F;
    private static final int L = VectorMath.L;
    private static final int W = Panels.WIDTH;
    private static final int STEP = Panels.STEP;

    private final Kernels.AttentionGrad g;
    private final Attention s;
    private final int dim, chunks;
    private final long keyStride, queryStride;
    private final float[] k, v, dk, dv, q, qT, dO, dOT, dq;
    private final float[] dScores = new float[Panels.SIZE];
    private final float[] lse = new float[W], projection = new float[W], unused = new float[STEP];

    private VectorAttentionGrad(Kernels.AttentionGrad g, Attention s, int panels) {
        this.g = g;
        this.s = s;
        dim = s.headDim();
        chunks = Panels.count(dim);
        keyStride = (long) s.kvHeads() * dim;
        queryStride = (long) s.heads() * dim;
        k = panels(panels);
        v = panels(panels);
        dk = panels(panels);
        dv = panels(panels);
        q = panels(1);
        qT = panels(1);
        dO = panels(1);
        dOT = panels(1);
        dq = panels(1);
    }

    private float[] panels(int n) {
        return new float[n * chunks * Panels.SIZE];
    }

    static void run(Kernels.AttentionGrad g, Attention s) {
        TiledAttentionGrad.run(g, s, panels -> new VectorAttentionGrad(g, s, panels));
    }

    @Override
    public void begin() {
        Arrays.fill(dk, 0);
        Arrays.fill(dv, 0);
    }

    @Override
    public void loadKeys(int n, long at, int count) {
        int to = n * chunks * Panels.SIZE;
        Panels.load(g.k(), at, keyStride, count, dim, k, to, count + 3 & -4);
        Panels.load(g.v(), at, keyStride, count, dim, v, to, count + 3 & -4);
    }

    @Override
    public void addKeyGradients(int n, long at, int count) {
        int from = n * chunks * Panels.SIZE;
        Panels.addTo(g.dk(), at, keyStride, count, dim, dk, from, s.scale());
        Panels.addTo(g.dv(), at, keyStride, count, dim, dv, from, 1);
    }

    @Override
    public void addQueryGradients(long at, int count) {
        Panels.addTo(g.dq(), at, queryStride, count, dim, dq, 0, s.scale());
    }

    @Override
    public void loadQueries(long at, int row, int count, float[] inner) {
        Panels.load(g.q(), at, queryStride, count, dim, q, 0, W);
        Panels.load(g.dO(), at, queryStride, count, dim, dO, 0, W);
        for (int p = 0; p < chunks; p++) {
            int width = Panels.width(dim, p), from = p * Panels.SIZE;
            Panels.transpose(q, from, width, ScoreTile.queryScale(s), qT, from);
            Panels.transpose(dO, from, width, 1, dOT, from);
        }
        Arrays.fill(dq, 0);
        for (int i = 0; i < count; i++) {
            // in units of ln 2, as the scores are
            lse[i] = g.lse().getAtIndex(JAVA_FLOAT_UNALIGNED, row + i) * VectorMath.LOG2E;
            projection[i] = inner[row + i];
        }
        Arrays.fill(lse, count, W, 0);
        Arrays.fill(projection, count, W, 0);
    }

    @Override
    public void tile(int n, ScoreTile tile, int queries) {
        int at = n * chunks * Panels.SIZE;
        for (int x = 0; x < queries; x += STEP) {
            int from = tile.groupFrom(x), to = tile.groupTo(x);
            if (from < to) {
                tile.score(k, at, qT, 0, x, from, to);
                ScoreTile.exponentials(tile.scores, from * W + x, to - from, lse, x, unused, 0);
                gradScores(tile, at, x, from, to);
                queryProduct(tile, queries, at, x);
            }
        }
        keyProducts(tile, queries, at);
    }

    /** ds = p (dO vT - dO o), times what dropout kept and the slope of the cap; then p also loses what was dropped. */
    private void gradScores(ScoreTile tile, int at, int x, int from, int to) {
        for (int p = 0; p < chunks; p++) {
            int width = Panels.width(dim, p), panel = p * Panels.SIZE;
            for (int j = from; j < to; j += 4) {
                Panels.rows(v, at + panel + j * W, dOT, panel + x, width, dScores, j * W + x, p > 0);
            }
        }
        for (int c = x; c < x + STEP; c += L) {
            if (s.dropout() > 0) {
                dropped(tile, dScores, projection, c, from, to);
            } else {
                softmaxGrad(dScores, tile.scores, projection, c, from, to);
            }
            if (tile.slope != null) {
                times(dScores, tile.slope, c, from, to);
            }
        }
    }

    /** dq += ds k for one column group. */
    private void queryProduct(ScoreTile tile, int queries, int at, int x) {
        for (int p = 0; p < chunks; p++) {
            int width = Panels.padded(Panels.width(dim, p)), panel = p * Panels.SIZE;
            for (int i = x; i < Math.min(x + STEP, queries); i += 4) {
                int from = tile.from(i) & -4, to = tile.to(Math.min(i + 4, queries) - 1);
                for (int c = 0; c < width && from < to; c += STEP) {
                    Panels.cols(dScores, from * W + i, k, at + panel + from * W + c, to - from, dq, panel + i * W + c);
                }
            }
        }
    }

    /** dv += pT dO and dk += dsT q, four keys at a time, over the queries that see at least one of the four. */
    private void keyProducts(ScoreTile tile, int queries, int at) {
        for (int p = 0; p < chunks; p++) {
            int width = Panels.padded(Panels.width(dim, p)), panel = p * Panels.SIZE;
            for (int j = 0; j < tile.groupTo(queries - 1); j += 4) {
                int from = tile.firstColumn(j), to = tile.endColumn(j + 3);
                for (int c = 0; c < width && from < to; c += STEP) {
                    int x = j * W + from, y = panel + from * W + c, z = at + panel + j * W + c;
                    Panels.rows(tile.scores, x, dO, y, to - from, dv, z, true);
                    Panels.rows(dScores, x, q, y, to - from, dk, z, true);
                }
            }
        }
    }

    /** The gradient of softmax and dropout for L columns; the tile's weights lose what was dropped. */
    static void dropped(ScoreTile tile, float[] d, float[] inner, int x, int from, int to) {
        FloatVector projection = FloatVector.fromArray(F, inner, x);
        for (int j = from; j < to; j++) {
            int i = j * W + x;
            FloatVector p = FloatVector.fromArray(F, tile.scores, i), kept = tile.kept(j, x);
            p.mul(FloatVector.fromArray(F, d, i).mul(kept).sub(projection)).intoArray(d, i);
            p.mul(kept).intoArray(tile.scores, i);
        }
    }

    private static void softmaxGrad(float[] d, float[] p, float[] inner, int x, int from, int to) {
        FloatVector projection = FloatVector.fromArray(F, inner, x);
        for (int j = from; j < to; j++) {
            FloatVector weight = FloatVector.fromArray(F, p, j * W + x);
            weight.mul(FloatVector.fromArray(F, d, j * W + x).sub(projection)).intoArray(d, j * W + x);
        }
    }

    /** a = a b for L columns. */
    static void times(float[] a, float[] b, int x, int from, int to) {
        for (int j = from; j < to; j++) {
            FloatVector.fromArray(F, a, j * W + x)
                    .mul(FloatVector.fromArray(F, b, j * W + x))
                    .intoArray(a, j * W + x);
        }
    }
}
