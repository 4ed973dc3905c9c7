package anneal.kernels;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;

import anneal.kernels.emit.AttentionTiles;
import java.lang.foreign.MemorySegment;

/** The tiles of {@link TiledAttention} in emitted code, on panels outside the heap. */
final class EmittedAttention implements TiledAttention.Tiles {
    private static final int W = AttentionTiles.WIDTH;

    private final AttentionTiles code;
    private final MemorySegment o, lse, q, k, v;
    private final Attention s;
    private final long queryStride, keyStride;

    /** Of the task that runs now. */
    private EmittedTile scores;

    private MemorySegment rows, keys, values, scale;

    /** Transposed queries and outputs of each panel; maximum, sum and shrink factor of its queries. */
    private final MemorySegment[] queries, out, state, shrink;

    private EmittedAttention(
            AttentionTiles code,
            MemorySegment o,
            MemorySegment lse,
            MemorySegment q,
            MemorySegment k,
            MemorySegment v,
            Attention s,
            int panels) {
        this.code = code;
        this.o = o;
        this.lse = lse;
        this.q = q;
        this.k = k;
        this.v = v;
        this.s = s;
        queryStride = (long) s.heads() * s.headDim();
        keyStride = (long) s.kvHeads() * s.headDim();
        queries = new MemorySegment[panels];
        out = new MemorySegment[panels];
        state = new MemorySegment[panels];
        shrink = new MemorySegment[panels];
    }

    static void forward(
            AttentionTiles code,
            MemorySegment o,
            MemorySegment lse,
            MemorySegment q,
            MemorySegment k,
            MemorySegment v,
            Attention s) {
        TiledAttention.run(s, panels -> new EmittedAttention(code, o, lse, q, k, v, s, panels));
    }

    @Override
    public void begin(int panels) {
        scores = new EmittedTile(code, 3 + 2 * panels, 3 * W * panels + 16);
        rows = scores.panel();
        keys = scores.panel();
        values = scores.panel();
        scale = scores.floats(16);
        scale.set(JAVA_FLOAT, 0, ScoreTile.queryScale(s));
        for (int n = 0; n < panels; n++) {
            queries[n] = scores.panel();
            out[n] = scores.panel();
            out[n].fill((byte) 0);
            state[n] = scores.floats(3 * W);
            state[n].fill((byte) 0);
            shrink[n] = state[n].asSlice(8L * W);
            for (int i = 0; i < W; i++) {
                state[n].setAtIndex(JAVA_FLOAT, i, -Float.MAX_VALUE);
            }
        }
    }

    @Override
    public void loadQueries(int n, long at, int count) {
        code.load(rows, q.asSlice(4 * at), 4 * queryStride, count);
        code.transpose(queries[n], rows, scale);
    }

    @Override
    public void loadKeys(long at, int count) {
        code.load(keys, k.asSlice(4 * at), 4 * keyStride, count);
        code.load(values, v.asSlice(4 * at), 4 * keyStride, count);
    }

    @Override
    public void update(int n, ScoreTile tile, int count) {
        scores.score(tile, count, keys, queries[n]);
        code.softmax(scores.scores, state[n], scores.groups);
        if (s.dropout() > 0) {
            scores.onHeap(tile, () -> tile.dropOut(0, W, 0, scores.to()));
        }
        code.addColumns(out[n], scores.scores, values, scores.keysOfQueries, shrink[n]);
    }

    @Override
    public void finish(int n, long at, long row, int count) {
        MemorySegment max = state[n], factors = shrink[n];
        for (int i = 0; i < count; i++) {
            float sum = max.getAtIndex(JAVA_FLOAT, W + i);
            factors.setAtIndex(JAVA_FLOAT, i, sum == 0 ? 0 : 1 / sum);
            double log = max.getAtIndex(JAVA_FLOAT, i) * Math.log(2) + Math.log(sum);
            lse.setAtIndex(JAVA_FLOAT_UNALIGNED, row + i, sum == 0 ? Float.NEGATIVE_INFINITY : (float) log);
        }
        code.unload(o.asSlice(4 * at), 4 * queryStride, out[n], factors, count, false);
    }
}
