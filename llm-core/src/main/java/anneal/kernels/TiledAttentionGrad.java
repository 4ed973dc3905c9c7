package anneal.kernels;

import java.util.function.IntFunction;

/**
 * The backward pass of tiled attention: probabilities are computed again from q, k and the log-sum-exp, five products a tile.
 * Dao, arXiv:2307.08691.
 *
 * <p>Sequences are cut into blocks. Block pairs (key block c, query block (c + d) mod n) of one d touch different keys and
 * different queries, so they run side by side and add to dq, dk and dv with nobody else writing there; the d follow one another. Every sum so has
 * a fixed order, whatever the number of threads, and there are no atomic additions, no second computation of the scores
 * and no copies of dq. What is done to a tile is a tier's own: {@link Tiles}.
 */
final class TiledAttentionGrad {
    private static final int W = Panels.WIDTH;

    /** Panels of keys in a block, at most: the more, the more each transposed panel of queries serves. */
    private static final int BLOCK_PANELS = 16;

    /** Below this many tasks a block takes fewer keys, so that threads have something to share. */
    private static final int ENOUGH_TASKS = 32;

    /**
     * The buffers of a pair of blocks and what is done with them: panels of keys, values and their gradients, and one panel of
     * queries. A pair runs on one thread, its buffers later on another.
     */
    interface Tiles {
        /** Starts a pair of blocks. */
        void begin();

        /** Takes {@code count} keys and values, from float {@code at} of k and v on, as panel n, with gradients of zero. */
        void loadKeys(int n, long at, int count);

        /**
         * Takes {@code count} queries and the gradients of their outputs, from float {@code at} of q and dO on, with a gradient
         * of zero.
         *
         * @param inner what {@link TiledAttentionGrad#inner} is of each, from {@code row} on, as their lse are
         */
        void loadQueries(long at, int row, int count, float[] inner);

        /** One tile: probabilities, their gradient, and what the first {@code queries} queries and the keys of panel n get of it. */
        void tile(int n, ScoreTile tile, int queries);

        /** Adds the gradient of the queries to dq from float {@code at} on. */
        void addQueryGradients(long at, int count);

        /** Adds the gradients of panel n to dk and dv from float {@code at} on. */
        void addKeyGradients(int n, long at, int count);
    }

    private final Kernels.AttentionGrad g;
    private final Attention s;
    private final IntFunction<Tiles> tiles;
    private final int group, block;

    /** dO_i o_i of each query [B, H, Tq]: what softmax's gradient takes away from all of a row. */
    private final float[] inner;

    private TiledAttentionGrad(Kernels.AttentionGrad g, Attention s, IntFunction<Tiles> tiles) {
        this.g = g;
        this.s = s;
        this.tiles = tiles;
        group = s.heads() / s.kvHeads();
        int size = Math.max(1, BLOCK_PANELS / Panels.count(s.headDim())) * W;
        while (size > W && s.batch() * s.kvHeads() * blocks(s.keyLen(), size) < ENOUGH_TASKS) {
            size = size / W / 2 * W;
        }
        block = size;
        inner = new float[s.batch() * s.heads() * s.queryLen()];
    }

    /** Runs a call; {@code tiles} makes the buffers of a pair from the most panels of keys that it has. */
    static void run(Kernels.AttentionGrad g, Attention s, IntFunction<Tiles> tiles) {
        new TiledAttentionGrad(g, s, tiles).run();
    }

    private static int blocks(int length, int size) {
        return TiledAttention.ceil(length, size);
    }

    private void run() {
        Parallel.run(blocks(s.batch() * s.queryLen(), W), this::inner);
        int keyBlocks = blocks(s.keyLen(), block), queryBlocks = blocks(s.queryLen(), block);
        int n = Math.max(keyBlocks, queryBlocks), kvs = s.batch() * s.kvHeads();
        Workspaces<Pair> spaces = new Workspaces<>(Pair::new);
        for (int d = 0; d < n; d++) {
            int[] pairs = new int[keyBlocks];
            int count = 0;
            for (int c = 0; c < keyBlocks; c++) {
                if ((c + d) % n < queryBlocks && meet(c, (c + d) % n)) {
                    pairs[count++] = c;
                }
            }
            int shift = d, width = count;
            Parallel.run(count * kvs, t -> {
                int c = pairs[t % width], kv = t / width;
                spaces.use(x -> x.run(kv / s.kvHeads(), kv % s.kvHeads(), c * block, (c + shift) % n * block));
            });
        }
    }

    /** False if the masks of position hide all of a key block from all of a query block. */
    private boolean meet(int keyBlock, int queryBlock) {
        int firstKey = keyBlock * block, lastKey = Math.min(firstKey + block, s.keyLen()) - 1;
        int first = queryBlock * block, last = Math.min(first + block, s.queryLen()) - 1;
        int offset = s.keyLen() - s.queryLen();
        return (!s.causal() || last + offset >= firstKey) && (s.window() == 0 || first + offset - lastKey < s.window());
    }

    /** The inner products of all heads of 64 tokens. */
    private void inner(int part) {
        for (int token = part * W; token < Math.min(part * W + W, s.batch() * s.queryLen()); token++) {
            int b = token / s.queryLen(), i = token % s.queryLen();
            for (int h = 0; h < s.heads(); h++) {
                long at = ((long) token * s.heads() + h) * s.headDim();
                inner[(b * s.heads() + h) * s.queryLen() + i] = Panels.dot(g.dO(), at, g.o(), at, s.headDim());
            }
        }
    }

    /** The work of one pair of blocks. */
    private final class Pair {
        private final Tiles work = tiles.apply(block / W);
        private final ScoreTile tile = new ScoreTile(s, true);
        private int b, kv, firstKey, keys, head, firstQuery, queries;

        private long keyAt(int j) {
            return (((long) b * s.capacity() + j) * s.kvHeads() + kv) * s.headDim();
        }

        private long queryAt(int i) {
            return (((long) b * s.queryLen() + i) * s.heads() + head) * s.headDim();
        }

        void run(int batch, int kvHead, int key, int first) {
            b = batch;
            kv = kvHead;
            firstKey = key;
            keys = Math.min(firstKey + block, s.keyLen()) - firstKey;
            work.begin();
            for (int j = 0; j < keys; j += W) {
                work.loadKeys(j / W, keyAt(firstKey + j), Math.min(W, keys - j));
            }
            for (head = kv * group; head < (kv + 1) * group; head++) {
                for (int i = first; i < Math.min(first + block, s.queryLen()); i += W) {
                    firstQuery = i;
                    queries = Math.min(Math.min(first + block, s.queryLen()) - i, W);
                    panel();
                }
            }
            for (int j = 0; j < keys; j += W) {
                work.addKeyGradients(j / W, keyAt(firstKey + j), Math.min(W, keys - j));
            }
        }

        /** One panel of queries against all keys of the block. */
        private void panel() {
            tile.queries(b, head, firstQuery, queries);
            boolean loaded = false;
            for (int j = 0; j < keys; j += W) {
                tile.keys(firstKey + j, Math.min(W, keys - j));
                if (tile.visible()) {
                    if (!loaded) {
                        int row = (b * s.heads() + head) * s.queryLen() + firstQuery;
                        work.loadQueries(queryAt(firstQuery), row, queries, inner);
                        loaded = true;
                    }
                    work.tile(j / W, tile, queries);
                }
            }
            if (loaded) {
                work.addQueryGradients(queryAt(firstQuery), queries);
            }
        }
    }
}
