package anneal.kernels;

import anneal.kernels.emit.CpuFeatures;
import anneal.kernels.emit.Level;
import anneal.kernels.emit.Packing;
import anneal.kernels.emit.RowProducts;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.EnumMap;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * Machine code that Java writes, where it is faster than what the compiler makes of the Vector API; the rest from that tier.
 *
 * <p>Now: the product of a stored matrix with one vector, which is what decoding does. See docs/emitted-kernels.md.
 */
public final class EmittedKernels extends ForwardingKernels {
    private final Level level;
    private final EmittedGemm gemm;
    private final Map<BlockFormat, RowProducts> products = new EnumMap<>(BlockFormat.class);

    /** Code for a level of the processor, which it must have; products with few rows take x as floats. */
    EmittedKernels(Kernels rest, Level level) {
        this(rest, level, false);
    }

    /**
     * Code for a level of the processor, which it must have.
     *
     * @param eightBits products with few rows round x to 8 bits, where the matrix has codes that can be multiplied so
     */
    EmittedKernels(Kernels rest, Level level, boolean eightBits) {
        super(rest);
        this.level = level;
        this.gemm = new EmittedGemm(level, Packing.Form.F32);
        for (RowProducts.Layout layout : RowProducts.Layout.values()) {
            products.put(BlockFormat.valueOf(layout.name()), new RowProducts(layout, eightBits, level, Arena.global()));
        }
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
        RowProducts product = w instanceof BlockMatrix b ? products.get(b.format()) : null;
        if (m == 1 && product != null && alpha == 1 && !add) {
            oneRow(product, y, x, (BlockMatrix) w);
        } else if (m <= VectorGemv.ROWS) {
            rest().matmulT(y, x, w, m, alpha, add);
        } else {
            gemm.matmulT(y, x, w, m, alpha, add);
        }
    }

    @Override
    public void matmul(MemorySegment y, MemorySegment x, Matrix w, int m, float alpha, boolean add) {
        matmulT(y, x, TransposedMatrix.of(w), m, alpha, add);
    }

    @Override
    public void matmulTPlus(MemorySegment y, MemorySegment x, Matrix w, MemorySegment u, Matrix v, int m, boolean add) {
        if (m <= VectorGemv.ROWS) {
            super.matmulTPlus(y, x, w, u, v, m, add);
        } else {
            gemm.matmulTPlus(y, x, w, u, v, m, add);
        }
    }

    @Override
    public void matmulPlus(MemorySegment y, MemorySegment x, Matrix w, MemorySegment u, Matrix v, int m, boolean add) {
        matmulTPlus(y, x, TransposedMatrix.of(w), u, TransposedMatrix.of(v), m, add);
    }

    @Override
    public void matmulTN(
            MemorySegment y, MemorySegment a, MemorySegment b, int n, int k, int m, float alpha, boolean add) {
        gemm.matmulTN(y, a, b, n, k, m, alpha, add);
    }

    private static void oneRow(RowProducts product, MemorySegment y, MemorySegment x, BlockMatrix w) {
        int n = w.rows(), k = w.cols(), rows = VectorGemv.rowsOfTask(n, k);
        MemorySegment sums = VectorScratch.mine().result(product.preparedBytes(k));
        product.prepare(sums, x, k);
        Parallel.run(VectorGemm.ceil(n, rows), t -> {
            int from = t * rows, count = Math.min(rows, n - from);
            product.multiply(y.asSlice(4L * from), w.data().asSlice(w.offset(from, 0)), x, sums, count, k);
        });
    }
}
