package anneal.kernels;

import anneal.kernels.emit.CodebookProducts;
import anneal.kernels.emit.Level;
import anneal.kernels.emit.RowProducts;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.EnumMap;
import java.util.Map;

/**
 * Products of a stored matrix with up to {@link #MOST} rows, which is what decoding does: each weight is read once, as it is
 * stored.
 */
final class EmittedRows {
    /** Most rows of x. */
    static final int MOST = VectorGemv.ROWS;

    /** Tasks of a large matrix for each thread; a row has the same bits in any task. */
    private static final int TASKS = 32;

    /** A task has up to so many times the rows that are worth one: the JVM waits for a call to end before it can collect. */
    private static final int LARGEST = 16;

    private final Map<BlockFormat, RowProducts> products = new EnumMap<>(BlockFormat.class);
    private final CodebookProducts codebook;

    /**
     * Code for a level of the processor.
     *
     * @param eightBits x is rounded to 8 bits, where the matrix has codes that can be multiplied so
     */
    EmittedRows(Level level, boolean eightBits) {
        codebook = new CodebookProducts(level, Arena.global());
        for (RowProducts.Layout layout : RowProducts.Layout.values()) {
            products.put(BlockFormat.valueOf(layout.name()), new RowProducts(layout, eightBits, level, Arena.global()));
        }
    }

    /** y[m, N] = x wT if there is code for w; false if there is none. */
    boolean matmulT(MemorySegment y, MemorySegment x, Matrix w, int m) {
        switch (w) {
            case BlockMatrix b when products.containsKey(b.format()) -> fewRows(y, x, b, m);
            case CodebookMatrix b when b.grouped() -> fewRows(y, x, b, m);
            default -> {
                return false;
            }
        }
        return true;
    }

    /** m rows of x, one after the other with the same rows of w: only the first one reads them from memory. */
    private void fewRows(MemorySegment y, MemorySegment x, BlockMatrix w, int m) {
        RowProducts product = products.get(w.format());
        int n = w.rows(), k = w.cols();
        long row = 4L * k, size = product.preparedBytes(k);
        MemorySegment prepared = VectorScratch.mine().result(m * size);
        for (int i = 0; i < m; i++) {
            product.prepare(prepared.asSlice(i * size), x.asSlice(i * row), k);
        }
        tasks(n, k, (from, count) -> {
            MemorySegment weights = w.data().asSlice(w.offset(from, 0));
            for (int i = 0; i < m; i++) {
                MemorySegment to = y.asSlice(4 * ((long) i * n + from));
                product.multiply(to, weights, x.asSlice(i * row), prepared.asSlice(i * size), count, k);
            }
        });
    }

    private void fewRows(MemorySegment y, MemorySegment x, CodebookMatrix w, int m) {
        int n = w.rows(), k = w.cols();
        MemorySegment table = VectorScratch.mine().result(4L * w.values().size());
        CodebookProducts.table(table, w.values());
        tasks(n, k, (from, count) -> {
            long first = (long) from * k;
            MemorySegment codes = w.codes().asSlice(first / 2),
                    scales = RunScales.of(w, from, count, 0, k).floats();
            var rows = new CodebookProducts.Rows(codes, scales, table, w.run());
            for (int i = 0; i < m; i++) {
                codebook.multiply(y.asSlice(4 * ((long) i * n + from)), rows, x.asSlice(4L * i * k), count, k);
            }
        });
    }

    /** What is done with rows [from, from + count) of a matrix. */
    private interface RowTask {
        void run(int from, int count);
    }

    /** Deals out the rows of a matrix [n, k]. */
    private static void tasks(int n, int k, RowTask task) {
        int rows = rowsOfTask(n, k);
        Parallel.run(VectorGemm.ceil(n, rows), t -> task.run(t * rows, Math.min(rows, n - t * rows)));
    }

    /** Rows of a matrix [n, k] that make a task: fours; more of them in large matrices, so that a task is tens of microseconds. */
    private static int rowsOfTask(int n, int k) {
        int least = VectorGemv.rowsOfTask(n, k);
        return VectorGemm.roundUp(Math.clamp(n / (TASKS * Parallel.threads()), least, LARGEST * least), 4);
    }
}
