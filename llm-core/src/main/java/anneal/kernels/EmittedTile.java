package anneal.kernels;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import anneal.kernels.emit.AttentionTiles;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SegmentAllocator;

/**
 * What both directions of emitted attention need for a task: memory of the thread's own cut into panels, the scores of a tile,
 * and the ranges that its masks leave.
 *
 * <p>Masks that are no ranges of whole blocks, biases and the cap are not emitted: tiles that have them are copied to the heap and
 * back round {@link ScoreTile#mask}, a small part of a tile's time. With a causal mask those are the tiles of the diagonal.
 */
final class EmittedTile {
    private static final int W = AttentionTiles.WIDTH;
    private static final int RANGES = 16 * W;

    private final AttentionTiles code;
    private final int[] groupEnds;
    private final SegmentAllocator memory;
    private int to;

    /** Rows of every part of the columns that are computed. */
    final MemorySegment groups;

    /** Keys that each block of queries sees, and queries that see each block of keys. */
    final MemorySegment keysOfQueries, queriesOfKeys;

    /** Scores, later probabilities [64, 64]: row = key, column = query. */
    final MemorySegment scores;

    /**
     * Begins a task on this thread.
     *
     * @param panels that will be asked for
     * @param floats of all other segments that will be asked for
     */
    EmittedTile(AttentionTiles code, int panels, int floats) {
        this.code = code;
        groupEnds = code.groupEnds();
        long bytes = panels * code.panelBytes() + AttentionTiles.TILE_BYTES + 4L * floats + 3 * RANGES;
        memory = SegmentAllocator.slicingAllocator(VectorScratch.mine().tiles(bytes));
        groups = memory.allocate(RANGES, 64);
        keysOfQueries = memory.allocate(RANGES, 64);
        queriesOfKeys = memory.allocate(RANGES, 64);
        scores = memory.allocate(AttentionTiles.TILE_BYTES, 64);
    }

    MemorySegment panel() {
        return memory.allocate(code.panelBytes(), 64);
    }

    /** n floats, a multiple of 16. */
    MemorySegment floats(int n) {
        return memory.allocate(4L * n, 64);
    }

    /** Finds the ranges of a tile and computes its scores, masked. */
    void score(ScoreTile tile, int queries, MemorySegment keys, MemorySegment queriesT) {
        ranges(tile, queries);
        code.scores(scores, keys, queriesT, groups);
        if (!tile.plain(0, W, 0, to)) {
            onHeap(tile, () -> tile.mask(0, W, 0, to));
        }
    }

    /** Work on the scores that is written for arrays. */
    void onHeap(ScoreTile tile, Runnable work) {
        MemorySegment.copy(scores, JAVA_FLOAT, 0, tile.scores, 0, W * W);
        work.run();
        MemorySegment.copy(tile.scores, 0, scores, JAVA_FLOAT, 0, W * W);
    }

    /** One past the last row that is computed. */
    int to() {
        return to;
    }

    private void ranges(ScoreTile tile, int queries) {
        int rows = code.rows();
        to = Math.min(W, (tile.to(queries - 1) + rows - 1) / rows * rows);
        for (int i = 0, x = 0; i < groupEnds.length; x = groupEnds[i++]) {
            int end = Math.min(groupEnds[i], queries), from = x < end ? tile.from(x) : 0;
            int last = x < end ? tile.to(end - 1) : 0;
            code.setGroup(groups, i, from < last ? from : 0, from < last ? last : 0);
        }
        for (int i = 0; i < W / rows; i++) {
            int x = i * rows, end = Math.min(x + rows, queries);
            range(keysOfQueries, i, x < end ? tile.from(x) : 0, x < end ? tile.to(end - 1) : 0);
            range(queriesOfKeys, i, tile.firstColumn(x), x < to ? tile.endColumn(x + rows - 1) : 0);
        }
    }

    private void range(MemorySegment ranges, int i, int from, int to) {
        code.setRange(ranges, i, from < to ? from : 0, from < to ? to : 0);
    }
}
