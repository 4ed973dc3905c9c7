package anneal.kernels;

import anneal.kernels.emit.AmxProduct;
import anneal.kernels.emit.AttentionTiles;
import anneal.kernels.emit.CpuFeatures;
import anneal.kernels.emit.Level;
import anneal.kernels.emit.Packing;
import anneal.kernels.emit.QueryProducts;
import anneal.kernels.emit.TileProduct;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * Machine code that Java writes, where it is faster than what the compiler makes of the Vector API; the rest from that tier.
 *
 * <p>That is the matrix product, in f32, with operands of bf16, and of bytes, the product of a stored matrix with a few rows,
 * which is what decoding does, and attention. See docs/emitted-kernels.md.
 */
public final class EmittedKernels extends ForwardingKernels {
    private final Level level;
    private final boolean pairs;
    private final boolean thinApart;
    private final Compute compute;
    private final EmittedGemm gemm;
    /** Products for which AMX does not pay; null where {@link #gemm} does them too. */
    private final EmittedGemm thin;

    private final EmittedInt8 integers;
    private final EmittedWidening widening;
    private final EmittedRows rows;

    /** By head size; code is made when the size is first met. */
    private final Map<Integer, AttentionTiles> tiles = new ConcurrentHashMap<>();

    private final Map<Integer, QueryProducts> queries = new ConcurrentHashMap<>();

    /** This tier in other precisions, made when first asked for; empty but in F32's. */
    private final Map<Compute, Kernels> others = new ConcurrentHashMap<>();

    /** Code for a level of the processor, which it must have; what is not emitted comes from {@code rest}. */
    EmittedKernels(Kernels rest, Level level) {
        this(rest, level, level.compareTo(TileProduct.Form.BF16_PAIRS.least()) >= 0);
    }

    /** With {@code pairs}, products of bf16 numbers multiply them in pairs, which the level must have; else as floats. */
    EmittedKernels(Kernels rest, Level level, boolean pairs) {
        this(rest, level, pairs, true);
    }

    /** With {@code thinApart} false, AMX does every product of many rows: for tests. */
    EmittedKernels(Kernels rest, Level level, boolean pairs, boolean thinApart) {
        this(
                rest,
                level,
                pairs,
                thinApart,
                Compute.F32,
                new EmittedInt8(level),
                new EmittedWidening(level),
                new EmittedRows(level, false));
    }

    private EmittedKernels(
            Kernels rest,
            Level level,
            boolean pairs,
            boolean thinApart,
            Compute compute,
            EmittedInt8 integers,
            EmittedWidening widening,
            EmittedRows rows) {
        super(rest);
        this.level = level;
        this.pairs = pairs;
        this.thinApart = thinApart;
        this.compute = compute;
        this.widening = widening;
        boolean bf16 = compute == Compute.BF16, amx = level.has(Level.AMX);
        gemm = amx
                ? new EmittedGemm(bf16 ? AmxProduct.Form.BF16 : AmxProduct.Form.FLOATS, widening)
                : new EmittedGemm(level, form(pairs, compute), widening);
        thin = amx && !bf16 && thinApart ? new EmittedGemm(level, Packing.Form.F32, widening) : null;
        this.integers = integers;
        this.rows = rows;
    }

    /**
     * What multiplies [m, k] by [k, n].
     *
     * <p>AMX takes half the time of vectors for a product, but operands must be split before, which each of their numbers costs once:
     * with t for a product in vectors, 35 t for one on the left, which vectors read where it is, and 20 t for one on the right.
     */
    private EmittedGemm gemm(int m, int n) {
        return thin != null && 70L * m + 41L * n > (long) m * n ? thin : gemm;
    }

    /** What becomes of the numbers of a product of many rows. */
    private static Packing.Form form(boolean pairs, Compute compute) {
        if (compute != Compute.BF16) {
            return Packing.Form.F32;
        }
        return pairs ? Packing.Form.BF16_PAIRS : Packing.Form.ROUNDED;
    }

    /** The same tier in another precision; what it does not do itself is rounded and comes from this one. */
    @Override
    public Kernels in(Compute other) {
        if (other == compute) {
            return this;
        }
        return compute == Compute.F32 ? others.computeIfAbsent(other, this::inRounded) : rest().in(other);
    }

    private Kernels inRounded(Compute other) {
        EmittedRows few = other == Compute.INT8 ? new EmittedRows(level, true) : rows;
        return new EmittedKernels(
                new RoundedKernels(this, other), level, pairs, thinApart, other, integers, widening, few);
    }

    /** Why this tier cannot be had, in words for a log line; null if it can. */
    static String obstacle() {
        return CpuFeatures.obstacle();
    }

    /**
     * The level that {@code -Danneal.cpu} names, or the best of this machine if that is empty.
     *
     * @throws IllegalArgumentException if there is no such level, or the machine does not have it
     */
    static Level level(String wanted) {
        if (wanted.isEmpty()) {
            return CpuFeatures.best();
        }
        for (Level level : Level.values()) {
            if (level.text().equals(wanted)) {
                String obstacle = CpuFeatures.obstacle(level);
                if (obstacle != null) {
                    throw new IllegalArgumentException("-Danneal.cpu=" + wanted + " cannot be had: " + obstacle);
                }
                return level;
            }
        }
        throw new IllegalArgumentException("-Danneal.cpu=" + wanted + ": the levels are "
                + Stream.of(Level.values()).map(Level::text).collect(Collectors.joining(", ")));
    }

    @Override
    public String name() {
        return "emitted";
    }

    /** What its code uses of the processor. */
    Level level() {
        return level;
    }

    @Override
    public void matmulT(MemorySegment y, MemorySegment x, Matrix w, int m, float alpha, boolean add) {
        boolean few = m <= EmittedRows.MOST;
        if (few && alpha == 1 && !add && rows.matmulT(y, x, w, m)) {
            return;
        }
        if (few || roundsFirst(w)) {
            rest().matmulT(y, x, w, m, alpha, add);
        } else {
            gemm(m, w.rows()).matmulT(y, x, w, m, alpha, add);
        }
    }

    /** True where x must be rounded by blocks before a product of many rows. */
    private boolean roundsFirst(Matrix w) {
        return compute == Compute.INT8 && w instanceof BlockMatrix;
    }

    @Override
    public void matmul(MemorySegment y, MemorySegment x, Matrix w, int m, float alpha, boolean add) {
        if (compute == Compute.INT8) {
            rest().matmul(y, x, w, m, alpha, add); // x is rounded for x wT alone
        } else {
            matmulT(y, x, TransposedMatrix.of(w), m, alpha, add);
        }
    }

    @Override
    public void matmulTPlus(MemorySegment y, MemorySegment x, Matrix w, MemorySegment u, Matrix v, int m, boolean add) {
        if (m <= EmittedRows.MOST || roundsFirst(w)) {
            super.matmulTPlus(y, x, w, u, v, m, add);
        } else {
            gemm(m, w.rows()).matmulTPlus(y, x, w, u, v, m, add);
        }
    }

    @Override
    public void matmulPlus(MemorySegment y, MemorySegment x, Matrix w, MemorySegment u, Matrix v, int m, boolean add) {
        if (compute == Compute.INT8) {
            rest().matmulPlus(y, x, w, u, v, m, add);
        } else {
            matmulTPlus(y, x, TransposedMatrix.of(w), u, TransposedMatrix.of(v), m, add);
        }
    }

    @Override
    public void matmulTN(
            MemorySegment y, MemorySegment a, MemorySegment b, int n, int k, int m, float alpha, boolean add) {
        gemm(n, k).matmulTN(y, a, b, n, k, m, alpha, add);
    }

    @Override
    public void matmulTInt8(MemorySegment y, MemorySegment x, MemorySegment w, int m, int n, int k) {
        integers.matmulT(y, x, w, m, n, k);
    }

    @Override
    public void widen(MemorySegment y, Matrix w) {
        int dim = w.cols();
        Chunks.rows(w.rows(), dim, (from, to) -> {
            MemorySegment rows = y.asSlice(4L * from * dim, 4L * (to - from) * dim);
            widening.rows(rows, w, from, to - from, 0, dim);
        });
    }

    @Override
    public void attention(
            MemorySegment o, MemorySegment lse, MemorySegment q, MemorySegment k, MemorySegment v, Attention s) {
        boolean single = s.queryLen() == 1;
        if (compute != Compute.F32 || single && s.headDim() % QueryProducts.UNIT != 0) {
            rest().attention(o, lse, q, k, v, s);
        } else if (single) {
            AttentionDecode.run(o, lse, new EmittedQuery(queries(s.headDim()), q, k, v, s), s);
        } else {
            EmittedAttention.forward(tiles(s.headDim()), o, lse, q, k, v, s);
        }
    }

    @Override
    public void attentionGrad(AttentionGrad g, Attention s) {
        if (compute != Compute.F32) {
            rest().attentionGrad(g, s);
        } else {
            EmittedAttentionGrad.run(tiles(s.headDim()), g, s);
        }
    }

    private QueryProducts queries(int dim) {
        return queries.computeIfAbsent(dim, d -> new QueryProducts(d, Arena.global()));
    }

    private AttentionTiles tiles(int dim) {
        return tiles.computeIfAbsent(dim, d -> new AttentionTiles(level, d, Arena.global()));
    }
}
