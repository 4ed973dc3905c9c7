package anneal.kernels;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/**
 * Exact attention by tiles with an online softmax: the outer loop goes over blocks of queries, the inner one over tiles of 64
 * keys, and only the output and the log-sum-exp leave a thread. Dao, arXiv:2307.08691.
 *
 * <p>A task owns a few panels of 64 queries (several query heads of one key head when heads are grouped), so that a key tile is
 * copied once for all of them. Its state is the transposed queries, the output so far, the running maximum and the running sum;
 * its scores exist one tile at a time. No task shares a result with another.
 */
final class VectorAttention {
    private static final VectorSpecies<Float> F = VectorMath.F;
    private static final int L = VectorMath.L;
    private static final int W = Panels.WIDTH;
    private static final int STEP = Panels.STEP;

    /**
     * Panels of queries of a task, at most. Many, since each copy of a key tile then serves more queries; that a task's queries and
     * outputs outgrow the second-level cache costs less, as each is read once for 64 keys.
     */
    private static final int TASK_PANELS = 16;

    /** Below this many tasks a task takes fewer queries, so that threads have something to share. */
    private static final int ENOUGH_TASKS = 32;

    private final MemorySegment o, lse, q, k, v;
    private final Attention s;
    private final int dim, chunks, group;

    /** Heads and queries of a task. */
    private final int heads, length;

    private VectorAttention(
            MemorySegment o, MemorySegment lse, MemorySegment q, MemorySegment k, MemorySegment v, Attention s) {
        this.o = o;
        this.lse = lse;
        this.q = q;
        this.k = k;
        this.v = v;
        this.s = s;
        dim = s.headDim();
        chunks = Panels.count(dim);
        group = s.heads() / s.kvHeads();
        int panels = Math.max(1, TASK_PANELS / chunks), n;
        heads = Math.min(group, panels);
        for (n = panels / heads * W; n > W && headBlocks() * ceil(s.queryLen(), n) < ENOUGH_TASKS; ) {
            n = n / W / 2 * W;
        }
        length = n;
    }

    static void forward(
            MemorySegment o, MemorySegment lse, MemorySegment q, MemorySegment k, MemorySegment v, Attention s) {
        if (s.queryLen() == 1) {
            AttentionDecode.run(o, lse, q, k, v, s);
        } else {
            new VectorAttention(o, lse, q, k, v, s).run();
        }
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
        Workspaces<Block> spaces = new Workspaces<>(Block::new);
        // Late queries see the most keys: they go first, so that no thread is left alone with one at the end.
        Parallel.run(width * blocks, t -> spaces.use(x -> x.run(t % width, (blocks - 1 - t / width) * length)));
    }

    /** The buffers of a task, and its work. */
    private final class Block {
        private final int most = heads * (length / W);
        private final ScoreTile tile = new ScoreTile(s, false);
        private final float[] rows = panels(1), kTile = panels(chunks), vTile = panels(chunks);
        private final float[] queries = panels(most * chunks), out = panels(most * chunks);
        private final float[] max = new float[most * W], sum = new float[most * W];
        private final float[] shrink = new float[W], unused = new float[STEP];
        private int b, g;

        private static float[] panels(int n) {
            return new float[n * Panels.SIZE];
        }

        void run(int headBlock, int first) {
            int bg = headBlock / ceil(group, heads);
            b = bg / s.kvHeads();
            g = bg % s.kvHeads();
            int firstHead = g * group + headBlock % ceil(group, heads) * heads;
            int lastHead = Math.min(firstHead + heads, (g + 1) * group), end = Math.min(first + length, s.queryLen());
            int perHead = ceil(end - first, W), panels = (lastHead - firstHead) * perHead;
            Arrays.fill(max, Float.NEGATIVE_INFINITY);
            Arrays.fill(sum, 0);
            Arrays.fill(out, 0);
            for (int n = 0; n < panels; n++) {
                int at = first + n % perHead * W;
                loadQueries(n, firstHead + n / perHead, at, Math.min(W, end - at));
            }
            int offset = s.keyLen() - s.queryLen();
            int from = s.window() > 0 ? Math.max(0, first + offset - s.window() + 1) / W * W : 0;
            int to = s.causal() ? Math.min(s.keyLen(), end + offset) : s.keyLen();
            for (int j = from; j < to; j += W) {
                int keys = Math.min(W, s.keyLen() - j);
                boolean loaded = false;
                for (int n = 0; n < panels; n++) {
                    int at = first + n % perHead * W;
                    tile.queries(b, firstHead + n / perHead, at, Math.min(W, end - at));
                    tile.keys(j, keys);
                    if (tile.visible()) {
                        loaded = loaded || loadKeys(j, keys);
                        update(n, Math.min(W, end - at));
                    }
                }
            }
            for (int n = 0; n < panels; n++) {
                int at = first + n % perHead * W;
                finish(n, firstHead + n / perHead, at, Math.min(W, end - at));
            }
        }

        private long queryAt(int h, int i) {
            return (((long) b * s.queryLen() + i) * s.heads() + h) * dim;
        }

        private void loadQueries(int n, int h, int first, int count) {
            for (int p = 0; p < chunks; p++) {
                int width = Panels.width(dim, p);
                Panels.load(q, queryAt(h, first) + p * W, (long) s.heads() * dim, count, width, rows, 0, W);
                Panels.transpose(rows, 0, width, ScoreTile.queryScale(s), queries, (n * chunks + p) * Panels.SIZE);
            }
        }

        private boolean loadKeys(int first, int count) {
            long at = (((long) b * s.capacity() + first) * s.kvHeads() + g) * dim, stride = (long) s.kvHeads() * dim;
            Panels.load(k, at, stride, count, dim, kTile, 0, count + 3 & -4);
            Panels.load(v, at, stride, count, dim, vTile, 0, count + 3 & -4);
            return true;
        }

        /** Takes one tile of keys into panel n. */
        private void update(int n, int count) {
            int at = n * chunks * Panels.SIZE;
            for (int x = 0; x < count; x += STEP) {
                int from = tile.groupFrom(x), to = tile.groupTo(x);
                if (from < to) {
                    tile.score(kTile, 0, queries, at, x, from, to);
                    System.arraycopy(max, n * W + x, shrink, x, STEP);
                    maximum(tile.scores, from * W + x, to - from, max, n * W + x);
                    ScoreTile.exponentials(shrink, x, 1, max, n * W + x, unused, 0);
                    for (int i = x; i < x + STEP; i++) {
                        sum[n * W + i] *= shrink[i];
                    }
                    ScoreTile.exponentials(tile.scores, from * W + x, to - from, max, n * W + x, sum, n * W + x);
                    dropOut(x, from, to);
                    for (int i = x; i < Math.min(x + STEP, count); i += 4) {
                        shrinkRows(at, i);
                    }
                }
            }
            for (int p = 0; p < chunks; p++) {
                int width = Panels.padded(Panels.width(dim, p));
                for (int i = 0; i < count; i += 4) {
                    // Of the group's keys only those that these four queries can see.
                    int from = tile.from(i) & -4, to = Math.min(tile.to(Math.min(i + 4, count) - 1), W);
                    for (int c = 0; c < width && from < to; c += STEP) {
                        Panels.cols(
                                tile.scores,
                                from * W + i,
                                vTile,
                                p * Panels.SIZE + from * W + c,
                                to - from,
                                out,
                                at + p * Panels.SIZE + i * W + c);
                    }
                }
            }
        }

        /** Four rows of the output so far, brought to the new maximum. */
        private void shrinkRows(int at, int i) {
            for (int r = i; r < i + 4; r++) {
                float factor = shrink[r];
                if (factor == 1) {
                    continue;
                }
                for (int p = 0; p < chunks; p++) {
                    int row = at + p * Panels.SIZE + r * W, width = Panels.padded(Panels.width(dim, p));
                    for (int c = 0; c < width; c += L) {
                        FloatVector.fromArray(F, out, row + c).mul(factor).intoArray(out, row + c);
                    }
                }
            }
        }

        private void dropOut(int column, int from, int to) {
            if (s.dropout() == 0) {
                return;
            }
            for (int x = column; x < column + STEP; x += L) {
                for (int j = from; j < to; j++) {
                    FloatVector.fromArray(F, tile.scores, j * W + x)
                            .mul(tile.kept(j, x))
                            .intoArray(tile.scores, j * W + x);
                }
            }
        }

        private void finish(int n, int h, int first, int count) {
            for (int i = 0; i < count; i++) {
                float total = sum[n * W + i];
                for (int p = 0; p < chunks; p++) {
                    int row = (n * chunks + p) * Panels.SIZE + i * W, width = Panels.width(dim, p);
                    float inverse = total == 0 ? 0 : 1 / total;
                    for (int c = 0; c < Panels.padded(width); c += L) {
                        FloatVector.fromArray(F, out, row + c).mul(inverse).intoArray(out, row + c);
                    }
                    MemorySegment.copy(out, row, o, JAVA_FLOAT_UNALIGNED, 4 * (queryAt(h, first + i) + p * W), width);
                }
                float value =
                        total == 0 ? Float.NEGATIVE_INFINITY : (float) (max[n * W + i] * Math.log(2) + Math.log(total));
                lse.setAtIndex(JAVA_FLOAT_UNALIGNED, ((long) b * s.heads() + h) * s.queryLen() + first + i, value);
            }
        }
    }

    /** Raises the running maxima of a column group by its scores. */
    private static void maximum(float[] scores, int at, int keys, float[] max, int mt) {
        FloatVector m0 = FloatVector.fromArray(F, max, mt), m1 = FloatVector.fromArray(F, max, mt + L);
        for (int j = 0; j < keys; j++) {
            FloatVector x0 = FloatVector.fromArray(F, scores, at + j * W);
            FloatVector x1 = FloatVector.fromArray(F, scores, at + j * W + L);
            m0 = m0.blend(x0, x0.compare(VectorOperators.GT, m0));
            m1 = m1.blend(x1, x1.compare(VectorOperators.GT, m1));
        }
        m0.intoArray(max, mt);
        m1.intoArray(max, mt + L);
    }
}
