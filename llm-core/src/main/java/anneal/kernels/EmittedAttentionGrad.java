package anneal.kernels;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;

import anneal.kernels.emit.AttentionTiles;
import java.lang.foreign.MemorySegment;

/** The tiles of {@link TiledAttentionGrad} in emitted code, on panels outside the heap. */
final class EmittedAttentionGrad implements TiledAttentionGrad.Tiles {
    private static final int W = AttentionTiles.WIDTH;

    private final AttentionTiles code;
    private final Kernels.AttentionGrad g;
    private final Attention s;
    private final long queryStride, keyStride;

    /** Of the pair of blocks that runs now. */
    private EmittedTile scores;

    private final MemorySegment[] k, v, dk, dv;
    private MemorySegment q, qT, dO, dOT, dq, dScores, rows, ones, scale, queryScale;

    /** Copies on the heap, for dropout and the slope of the cap. */
    private final float[] gradient = new float[W * W], inner = new float[W];

    private EmittedAttentionGrad(AttentionTiles code, Kernels.AttentionGrad g, Attention s, int panels) {
        this.code = code;
        this.g = g;
        this.s = s;
        queryStride = (long) s.heads() * s.headDim();
        keyStride = (long) s.kvHeads() * s.headDim();
        k = new MemorySegment[panels];
        v = new MemorySegment[panels];
        dk = new MemorySegment[panels];
        dv = new MemorySegment[panels];
    }

    static void run(AttentionTiles code, Kernels.AttentionGrad g, Attention s) {
        TiledAttentionGrad.run(g, s, panels -> new EmittedAttentionGrad(code, g, s, panels));
    }

    @Override
    public void begin() {
        scores = new EmittedTile(code, 5 + 4 * k.length, W * W + 5 * W);
        q = scores.panel();
        qT = scores.panel();
        dO = scores.panel();
        dOT = scores.panel();
        dq = scores.panel();
        for (int n = 0; n < k.length; n++) {
            k[n] = scores.panel();
            v[n] = scores.panel();
            dk[n] = scores.panel();
            dv[n] = scores.panel();
        }
        dScores = scores.floats(W * W);
        rows = scores.floats(2 * W);
        ones = filled(1);
        scale = filled(s.scale());
        queryScale = filled(ScoreTile.queryScale(s));
    }

    private MemorySegment filled(float value) {
        MemorySegment all = scores.floats(W);
        for (int i = 0; i < W; i++) {
            all.setAtIndex(JAVA_FLOAT, i, value);
        }
        return all;
    }

    @Override
    public void loadKeys(int n, long at, int count) {
        code.load(k[n], g.k().asSlice(4 * at), 4 * keyStride, count);
        code.load(v[n], g.v().asSlice(4 * at), 4 * keyStride, count);
        dk[n].fill((byte) 0);
        dv[n].fill((byte) 0);
    }

    @Override
    public void loadQueries(long at, int row, int count, float[] inner) {
        code.load(q, g.q().asSlice(4 * at), 4 * queryStride, count);
        code.load(dO, g.dO().asSlice(4 * at), 4 * queryStride, count);
        code.transpose(qT, q, queryScale);
        code.transpose(dOT, dO, ones);
        dq.fill((byte) 0);
        rows.fill((byte) 0);
        for (int i = 0; i < count; i++) {
            // In units of ln 2, as the scores are; finite where a query sees nothing, so that -infinity less it is
            // -infinity.
            float lse = g.lse().getAtIndex(JAVA_FLOAT_UNALIGNED, row + i) * VectorMath.LOG2E;
            rows.setAtIndex(JAVA_FLOAT, i, Math.max(lse, -Float.MAX_VALUE));
            rows.setAtIndex(JAVA_FLOAT, W + i, inner[row + i]);
        }
    }

    @Override
    public void tile(int n, ScoreTile tile, int queries) {
        scores.score(tile, queries, k[n], qT);
        if (s.dropout() > 0) {
            code.gradient(scores.scores, dScores, rows, scores.groups); // for the probabilities alone
            code.scores(dScores, v[n], dOT, scores.groups);
        } else {
            code.scores(dScores, v[n], dOT, scores.groups);
            code.gradient(scores.scores, dScores, rows, scores.groups);
        }
        if (s.dropout() > 0 || tile.slope != null) {
            scores.onHeap(tile, () -> dropAndSlope(tile));
        }
        code.addColumns(dq, dScores, k[n], scores.keysOfQueries, ones);
        code.addRows(dv[n], scores.scores, dO, scores.queriesOfKeys);
        code.addRows(dk[n], dScores, q, scores.queriesOfKeys);
    }

    /** The gradient of dropout and of the cap, which the vector tier has. */
    private void dropAndSlope(ScoreTile tile) {
        MemorySegment.copy(dScores, JAVA_FLOAT, 0, gradient, 0, W * W);
        MemorySegment.copy(rows, JAVA_FLOAT, 4L * W, inner, 0, W);
        for (int x = 0; x < W; x += VectorMath.L) {
            if (s.dropout() > 0) {
                VectorAttentionGrad.dropped(tile, gradient, inner, x, 0, scores.to());
            }
            if (tile.slope != null) {
                VectorAttentionGrad.times(gradient, tile.slope, x, 0, scores.to());
            }
        }
        MemorySegment.copy(gradient, 0, dScores, JAVA_FLOAT, 0, W * W);
    }

    @Override
    public void addQueryGradients(long at, int count) {
        code.unload(g.dq().asSlice(4 * at), 4 * queryStride, dq, scale, count, true);
    }

    @Override
    public void addKeyGradients(int n, long at, int count) {
        code.unload(g.dk().asSlice(4 * at), 4 * keyStride, dk[n], scale, count, true);
        code.unload(g.dv().asSlice(4 * at), 4 * keyStride, dv[n], ones, count, true);
    }
}
