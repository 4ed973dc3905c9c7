package anneal.kernels;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/** The tiles of {@link TiledAttention} in the Vector API, on panels of the heap. */
final class VectorAttention implements TiledAttention.Tiles {
    private static final VectorSpecies<Float> F = VectorMath.F;
    private static final int L = VectorMath.L;
    private static final int W = Panels.WIDTH;
    private static final int STEP = Panels.STEP;

    private final MemorySegment o, lse, q, k, v;
    private final Attention s;
    private final int dim, chunks;
    private final float[] rows, kTile, vTile, queries, out, max, sum;
    private final float[] shrink = new float[W], unused = new float[STEP];

    private VectorAttention(
            MemorySegment o,
            MemorySegment lse,
            MemorySegment q,
            MemorySegment k,
            MemorySegment v,
            Attention s,
            int panels) {
        this.o = o;
        this.lse = lse;
        this.q = q;
        this.k = k;
        this.v = v;
        this.s = s;
        dim = s.headDim();
        chunks = Panels.count(dim);
        rows = panels(1);
        kTile = panels(chunks);
        vTile = panels(chunks);
        queries = panels(panels * chunks);
        out = panels(panels * chunks);
        max = new float[panels * W];
        sum = new float[panels * W];
    }

    private static float[] panels(int n) {
        return new float[n * Panels.SIZE];
    }

    static void forward(
            MemorySegment o, MemorySegment lse, MemorySegment q, MemorySegment k, MemorySegment v, Attention s) {
        if (s.queryLen() == 1) {
            AttentionDecode.run(o, lse, new VectorQuery(q, k, v, s), s);
        } else {
            TiledAttention.run(s, panels -> new VectorAttention(o, lse, q, k, v, s, panels));
        }
    }

    @Override
    public void begin(int panels) {
        Arrays.fill(max, Float.NEGATIVE_INFINITY);
        Arrays.fill(sum, 0);
        Arrays.fill(out, 0);
    }

    @Override
    public void loadQueries(int n, long at, int count) {
        for (int p = 0; p < chunks; p++) {
            int width = Panels.width(dim, p);
            Panels.load(q, at + p * W, (long) s.heads() * dim, count, width, rows, 0, W);
            Panels.transpose(rows, 0, width, ScoreTile.queryScale(s), queries, (n * chunks + p) * Panels.SIZE);
        }
    }

    @Override
    public void loadKeys(long at, int count) {
        long stride = (long) s.kvHeads() * dim;
        Panels.load(k, at, stride, count, dim, kTile, 0, count + 3 & -4);
        Panels.load(v, at, stride, count, dim, vTile, 0, count + 3 & -4);
    }

    @Override
    public void update(int n, ScoreTile tile, int count) {
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
                tile.dropOut(x, STEP, from, to);
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

    @Override
    public void finish(int n, long at, long first, int count) {
        for (int i = 0; i < count; i++) {
            float total = sum[n * W + i];
            for (int p = 0; p < chunks; p++) {
                int row = (n * chunks + p) * Panels.SIZE + i * W, width = Panels.width(dim, p);
                float inverse = total == 0 ? 0 : 1 / total;
                for (int c = 0; c < Panels.padded(width); c += L) {
                    FloatVector.fromArray(F, out, row + c).mul(inverse).intoArray(out, row + c);
                }
                MemorySegment.copy(
                        out, row, o, JAVA_FLOAT_UNALIGNED, 4 * (at + (long) i * s.heads() * dim + p * W), width);
            }
            float value =
                    total == 0 ? Float.NEGATIVE_INFINITY : (float) (max[n * W + i] * Math.log(2) + Math.log(total));
            lse.setAtIndex(JAVA_FLOAT_UNALIGNED, first + i, value);
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
