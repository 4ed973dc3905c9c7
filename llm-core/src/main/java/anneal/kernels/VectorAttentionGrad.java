package anneal.kernels;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;

import java.util.Arrays;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorSpecies;

/**
 * The backward pass of tiled attention: probabilities are computed again from q, k and the log-sum-exp, five products a tile.
 * Dao, arXiv:2307.08691.
 *
 * <p>Sequences are cut into blocks. Block pairs (key block c, query block (c + d) mod n) of one d touch different keys and
 * different queries, so they run side by side and add to dq, dk and dv with nobody else writing there; the d follow one another. Every sum so has
 * a fixed order, whatever the number of threads, and there are no atomic additions, no second computation of the scores
 * and no copies of dq.
 */
final class VectorAttentionGrad {
    private static final VectorSpecies<Float> F = VectorMath.F;
    private static final int L = VectorMath.L;
    private static final int W = Panels.WIDTH;
    private static final int STEP = Panels.STEP;

    /** Panels of keys in a block, at most: the more, the more each transposed panel of queries serves. */
    private static final int BLOCK_PANELS = 16;

    /** Below this many tasks a block takes fewer keys, so that threads have something to share. */
    private static final int ENOUGH_TASKS = 32;

    private final Kernels.AttentionGrad g;
    private final Attention s;
    private final int dim, chunks, group, block;

    /** dO_i o_i of each query [B, H, Tq]: what softmax's gradient takes away from all of a row. */
    private final float[] inner;

    private VectorAttentionGrad(Kernels.AttentionGrad g, Attention s) {
        this.g = g;
        this.s = s;
        dim = s.headDim();
        chunks = Panels.count(dim);
        group = s.heads() / s.kvHeads();
        int size = Math.max(1, BLOCK_PANELS / chunks) * W;
        while (size > W && s.batch() * s.kvHeads() * blocks(s.keyLen(), size) < ENOUGH_TASKS) {
            size = size / W / 2 * W;
        }
        block = size;
        inner = new float[s.batch() * s.heads() * s.queryLen()];
    }

    static void run(Kernels.AttentionGrad g, Attention s) {
        new VectorAttentionGrad(g, s).run();
    }

    private static int blocks(int length, int size) {
        return VectorAttention.ceil(length, size);
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
                long at = ((long) token * s.heads() + h) * dim;
                inner[(b * s.heads() + h) * s.queryLen() + i] = Panels.dot(g.dO(), at, g.o(), at, dim);
            }
        }
    }

    /** The buffers of a block of keys and a panel of queries, and the work of one pair of blocks. */
    private final class Pair {
        private final float[] k = panels(block / W),
                v = panels(block / W),
                dk = panels(block / W),
                dv = panels(block / W);
        private final float[] q = panels(1), qT = panels(1), dO = panels(1), dOT = panels(1), dq = panels(1);
        private final float[] dScores = new float[Panels.SIZE];
        private final float[] lse = new float[W], projection = new float[W], unused = new float[STEP];
        private final ScoreTile tile = new ScoreTile(s, true);
        private int b, kv, firstKey, keys, head, firstQuery, queries;

        private float[] panels(int n) {
            return new float[n * chunks * Panels.SIZE];
        }

        private long keyAt(int j) {
            return (((long) b * s.capacity() + j) * s.kvHeads() + kv) * dim;
        }

        private long queryAt(int i) {
            return (((long) b * s.queryLen() + i) * s.heads() + head) * dim;
        }

        void run(int batch, int kvHead, int key, int first) {
            b = batch;
            kv = kvHead;
            firstKey = key;
            keys = Math.min(firstKey + block, s.keyLen()) - firstKey;
            Arrays.fill(dk, 0);
            Arrays.fill(dv, 0);
            long stride = (long) s.kvHeads() * dim;
            for (int j = 0; j < keys; j += W) {
                int at = j / W * chunks * Panels.SIZE, rows = Math.min(W, keys - j);
                Panels.load(g.k(), keyAt(firstKey + j), stride, rows, dim, k, at, rows + 3 & -4);
                Panels.load(g.v(), keyAt(firstKey + j), stride, rows, dim, v, at, rows + 3 & -4);
            }
            for (head = kv * group; head < (kv + 1) * group; head++) {
                for (int i = first; i < Math.min(first + block, s.queryLen()); i += W) {
                    firstQuery = i;
                    queries = Math.min(Math.min(first + block, s.queryLen()) - i, W);
                    panel();
                }
            }
            for (int j = 0; j < keys; j += W) {
                int at = j / W * chunks * Panels.SIZE, rows = Math.min(W, keys - j);
                Panels.addTo(g.dk(), keyAt(firstKey + j), stride, rows, dim, dk, at, s.scale());
                Panels.addTo(g.dv(), keyAt(firstKey + j), stride, rows, dim, dv, at, 1);
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
                        loadQueries();
                        loaded = true;
                    }
                    tile(j / W * chunks * Panels.SIZE);
                }
            }
            if (loaded) {
                Panels.addTo(g.dq(), queryAt(firstQuery), (long) s.heads() * dim, queries, dim, dq, 0, s.scale());
            }
        }

        private void loadQueries() {
            long at = queryAt(firstQuery), stride = (long) s.heads() * dim;
            Panels.load(g.q(), at, stride, queries, dim, q, 0, W);
            Panels.load(g.dO(), at, stride, queries, dim, dO, 0, W);
            for (int p = 0; p < chunks; p++) {
                int width = Panels.width(dim, p), from = p * Panels.SIZE;
                Panels.transpose(q, from, width, ScoreTile.queryScale(s), qT, from);
                Panels.transpose(dO, from, width, 1, dOT, from);
            }
            Arrays.fill(dq, 0);
            int row = (b * s.heads() + head) * s.queryLen() + firstQuery;
            for (int i = 0; i < queries; i++) {
                // in units of ln 2, as the scores are
                lse[i] = g.lse().getAtIndex(JAVA_FLOAT_UNALIGNED, row + i) * VectorMath.LOG2E;
                projection[i] = inner[row + i];
            }
            Arrays.fill(lse, queries, W, 0);
            Arrays.fill(projection, queries, W, 0);
        }

        /** One tile: probabilities, their gradient, and the three products that leave it. */
        private void tile(int at) {
            for (int x = 0; x < queries; x += STEP) {
                int from = tile.groupFrom(x), to = tile.groupTo(x);
                if (from < to) {
                    tile.score(k, at, qT, 0, x, from, to);
                    ScoreTile.exponentials(tile.scores, from * W + x, to - from, lse, x, unused, 0);
                    gradScores(at, x, from, to);
                    addQueryGradients(at, x);
                }
            }
            addKeyGradients(at);
        }

        /** ds = p (dO vT - dO o), times what dropout kept and the slope of the cap; then p also loses what was dropped. */
        private void gradScores(int at, int x, int from, int to) {
            for (int p = 0; p < chunks; p++) {
                int width = Panels.width(dim, p), panel = p * Panels.SIZE;
                for (int j = from; j < to; j += 4) {
                    Panels.rows(v, at + panel + j * W, dOT, panel + x, width, dScores, j * W + x, p > 0);
                }
            }
            for (int c = x; c < x + STEP; c += L) {
                if (s.dropout() > 0) {
                    dropped(c, from, to);
                } else {
                    softmaxGrad(dScores, tile.scores, projection, c, from, to);
                }
                if (tile.slope != null) {
                    times(dScores, tile.slope, c, from, to);
                }
            }
        }

        private void dropped(int x, int from, int to) {
            FloatVector inner = FloatVector.fromArray(F, projection, x);
            for (int j = from; j < to; j++) {
                int i = j * W + x;
                FloatVector p = FloatVector.fromArray(F, tile.scores, i), kept = tile.kept(j, x);
                p.mul(FloatVector.fromArray(F, dScores, i).mul(kept).sub(inner)).intoArray(dScores, i);
                p.mul(kept).intoArray(tile.scores, i);
            }
        }

        /** dq += ds k for one column group. */
        private void addQueryGradients(int at, int x) {
            for (int p = 0; p < chunks; p++) {
                int width = Panels.padded(Panels.width(dim, p)), panel = p * Panels.SIZE;
                for (int i = x; i < Math.min(x + STEP, queries); i += 4) {
                    int from = tile.from(i) & -4, to = tile.to(Math.min(i + 4, queries) - 1);
                    for (int c = 0; c < width && from < to; c += STEP) {
                        Panels.cols(
                                dScores, from * W + i, k, at + panel + from * W + c, to - from, dq, panel + i * W + c);
                    }
                }
            }
        }

        /** dv += pT dO and dk += dsT q, four keys at a time, over the queries that see at least one of the four. */
        private void addKeyGradients(int at) {
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
    }

    private static void softmaxGrad(float[] d, float[] p, float[] inner, int x, int from, int to) {
        FloatVector projection = FloatVector.fromArray(F, inner, x);
        for (int j = from; j < to; j++) {
            FloatVector weight = FloatVector.fromArray(F, p, j * W + x);
            weight.mul(FloatVector.fromArray(F, d, j * W + x).sub(projection)).intoArray(d, j * W + x);
        }
    }

    private static void times(float[] a, float[] b, int x, int from, int to) {
        for (int j = from; j < to; j++) {
            FloatVector.fromArray(F, a, j * W + x)
                    .mul(FloatVector.fromArray(F, b, j * W + x))
                    .intoArray(a, j * W + x);
        }
    }
}
