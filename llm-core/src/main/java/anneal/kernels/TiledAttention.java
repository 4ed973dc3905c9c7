package anneal.kernels;

import java.util.function.IntFunction;

/**
 * Exact attention by tiles with an online softmax: the outer loop goes over blocks of queries, the inner one over tiles of 64
 * keys, and only the output and the log-sum-exp leave a thread. Dao, arXiv:2307.08691.
 *
 * <p>A task owns a few panels of 64 queries (several query heads of one key head when heads are grouped), so that a key tile is
 * copied once for all of them. No task shares a result with another. What is done to a tile is a tier's own: {@link Tiles}.
 */
final class TiledAttention {
    private static final int W = Panels.WIDTH;

    /**
     * Panels of queries of a task, at most. Many, since each copy of a key tile then serves more queries; that a task's queries and
     * outputs outgrow the second-level cache costs less, as each is read once for 64 keys.
     */
    private static final int TASK_PANELS = 16;

    /** Below this many tasks a task takes fewer queries, so that threads have something to share. */
    private static final int ENOUGH_TASKS = 32;

    /**
     * The buffers of a task and what is done with them: the transposed queries, the output so far, the running maximum and the
     * running sum of some panels, and one tile of keys. A task runs on one thread, its buffers later on another.
     */
    interface Tiles {
        /** Starts a task of {@code panels} panels that have seen no key. */
        void begin(int panels);

        /** Takes {@code count} queries of one head, from float {@code at} of q on, as panel n. */
        void loadQueries(int n, long at, int count);

        /** Takes {@code count} keys and values, from float {@code at} of k and v on. */
        void loadKeys(long at, int count);

        /** Lets the first {@code count} queries of panel n see the keys that were loaded, as the tile's masks allow. */
        void update(int n, ScoreTile tile, int count);

        /** Writes the outputs of panel n from float {@code at} of o on, and the log-sum-exps from float {@code row} of lse on. */
        void finish(int n, long at, long row, int count);
    }

    private final Attention s;
    private final IntFunction<Tiles> tiles;
    private final int group;

    /** Heads, queries and panels of a task, at most. */
    private final int heads, length, panels;

    private TiledAttention(Attention s, IntFunction<Tiles> tiles) {
        this.s = s;
        this.tiles = tiles;
        group = s.heads() / s.kvHeads();
        int most = Math.max(1, TASK_PANELS / Panels.count(s.headDim())), n;
        heads = Math.min(group, most);
        for (n = most / heads * W; n > W && headBlocks() * ceil(s.queryLen(), n) < ENOUGH_TASKS; ) {
            n = n / W / 2 * W;
        }
        length = n;
        panels = heads * (length / W);
    }

    /** Runs a call; {@code tiles} makes the buffers of a task from the most panels that it has. */
    static void run(Attention s, IntFunction<Tiles> tiles) {
        new TiledAttention(s, tiles).run();
    }

    static int ceil(int a, int b) {
        return (a + b - 1) / b;
    }

    /** Tasks that share a range of queries. */
    private int headBlocks() {
        return s.batch() * s.kvHeads() * ceil(group, heads);
    }

    private void run() {
        int blocks = ceil(s.queryLen(), length), width = headBlocks();
        Workspaces<Task> spaces = new Workspaces<>(Task::new);
        // Late queries see the most keys: they go first, so that no thread is left alone with one at the end.
        Parallel.run(width * blocks, t -> spaces.use(x -> x.run(t % width, (blocks - 1 - t / width) * length)));
    }

    /** A task: some heads of one key head, and a range of their queries. */
    private final class Task {
        private final Tiles work = tiles.apply(panels);
        private final ScoreTile tile = new ScoreTile(s, false);
        private int b, g, firstHead, first, end, perHead;

        void run(int headBlock, int from) {
            int bg = headBlock / ceil(group, heads);
            b = bg / s.kvHeads();
            g = bg % s.kvHeads();
            firstHead = g * group + headBlock % ceil(group, heads) * heads;
            int lastHead = Math.min(firstHead + heads, (g + 1) * group);
            first = from;
            end = Math.min(first + length, s.queryLen());
            perHead = ceil(end - first, W);
            int count = (lastHead - firstHead) * perHead;
            work.begin(count);
            for (int n = 0; n < count; n++) {
                work.loadQueries(n, queryAt(n), queries(n));
            }
            keys(count);
            for (int n = 0; n < count; n++) {
                long row = ((long) b * s.heads() + head(n)) * s.queryLen() + query(n);
                work.finish(n, queryAt(n), row, queries(n));
            }
        }

        private int head(int n) {
            return firstHead + n / perHead;
        }

        /** The first query of panel n. */
        private int query(int n) {
            return first + n % perHead * W;
        }

        private int queries(int n) {
            return Math.min(W, end - query(n));
        }

        private long queryAt(int n) {
            return (((long) b * s.queryLen() + query(n)) * s.heads() + head(n)) * s.headDim();
        }

        /** All tiles of keys that some query of the task may see by its position. */
        private void keys(int panels) {
            int offset = s.keyLen() - s.queryLen();
            int from = s.window() > 0 ? Math.max(0, first + offset - s.window() + 1) / W * W : 0;
            int to = s.causal() ? Math.min(s.keyLen(), end + offset) : s.keyLen();
            for (int j = from; j < to; j += W) {
                int keys = Math.min(W, s.keyLen() - j);
                boolean loaded = false;
                for (int n = 0; n < panels; n++) {
                    tile.queries(b, head(n), query(n), queries(n));
                    tile.keys(j, keys);
                    if (tile.visible()) {
                        if (!loaded) {
                            work.loadKeys((((long) b * s.capacity() + j) * s.kvHeads() + g) * s.headDim(), keys);
                            loaded = true;
                        }
                        work.update(n, tile, queries(n));
                    }
                }
            }
        }
    }
}
