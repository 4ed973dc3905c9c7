package anneal.kernels;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import anneal.kernels.emit.GroupProducts;
import anneal.kernels.emit.GroupProducts.Form;
import anneal.kernels.emit.Level;
import anneal.kernels.emit.RowProducts;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.EnumMap;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

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

    /** Formats that there is code for. */
    private static final Map<BlockFormat, RowProducts.Layout> LAYOUTS = new EnumMap<>(BlockFormat.class);

    static {
        for (RowProducts.Layout layout : RowProducts.Layout.values()) {
            LAYOUTS.put(BlockFormat.valueOf(layout.name()), layout);
        }
    }

    private final Level level;
    private final boolean eightBits;
    /** Code is made when a layout or a form is first met: few models have more than two. */
    private final Map<RowProducts.Layout, RowProducts> products = new ConcurrentHashMap<>();

    private final Map<Form, GroupProducts> groups = new ConcurrentHashMap<>();

    /**
     * Code for a level of the processor.
     *
     * @param eightBits x is rounded to 8 bits, where the matrix has codes that can be multiplied so
     */
    EmittedRows(Level level, boolean eightBits) {
        this.level = level;
        this.eightBits = eightBits;
    }

    /** y[m, N] = x wT if there is code for w; false if there is none. */
    boolean matmulT(MemorySegment y, MemorySegment x, Matrix w, int m) {
        switch (w) {
            case BlockMatrix b when LAYOUTS.containsKey(b.format()) -> fewRows(y, x, b, m);
            case CodebookMatrix c when c.grouped() -> byGroups(y, x, c, m, Form.CODEBOOK, rows(c));
            case GroupMatrix g
            when g.group() % GroupProducts.STEP == 0 ->
                byGroups(y, x, g, m, g.pairs() ? Form.NIBBLES : Form.BYTES, rows(g));
            case Int8Matrix b
            when b.cols() > 0 && b.cols() % GroupProducts.STEP == 0 -> byGroups(y, x, b, m, Form.SIGNED_BYTES, rows(b));
            default -> {
                return false;
            }
        }
        return true;
    }

    /** m rows of x, one after the other with the same rows of w: only the first one reads them from memory. */
    private void fewRows(MemorySegment y, MemorySegment x, BlockMatrix w, int m) {
        RowProducts product = products.computeIfAbsent(
                LAYOUTS.get(w.format()), layout -> new RowProducts(layout, eightBits, level, Arena.global()));
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

    /** Some rows of a matrix as their code reads them. */
    private interface Stored {
        GroupProducts.Rows rows(int from, int count);
    }

    private void byGroups(MemorySegment y, MemorySegment x, Matrix w, int m, Form form, Stored stored) {
        GroupProducts product = groups.computeIfAbsent(form, f -> new GroupProducts(f, level, Arena.global()));
        int n = w.rows(), k = w.cols();
        tasks(
                n,
                k,
                (from, count) -> product.multiply(y.asSlice(4L * from), n, stored.rows(from, count), x, m, count, k));
    }

    private static Stored rows(CodebookMatrix w) {
        MemorySegment table = VectorScratch.mine().result(4L * w.values().size());
        GroupProducts.table(table, w.values());
        return (from, count) -> {
            MemorySegment codes = w.codes().asSlice((long) from * w.cols() / 2),
                    scales = RunScales.of(w, from, count, 0, w.cols()).floats();
            return new GroupProducts.Rows(codes, scales, table, w.run());
        };
    }

    private static Stored rows(GroupMatrix w) {
        return (from, count) -> {
            long first = w.groupOf(from, 0);
            MemorySegment codes = w.codes().asSlice(w.offset(from, 0)),
                    scales = w.scales().asSlice(4 * first);
            return new GroupProducts.Rows(codes, scales, w.zeros().asSlice(first), w.group());
        };
    }

    /** A row is one block; its scale is a quotient, and laid out as floats. */
    private static Stored rows(Int8Matrix w) {
        return (from, count) -> {
            MemorySegment scales = EmittedScratch.mine().scales(4L * count);
            for (int i = 0; i < count; i++) {
                scales.setAtIndex(JAVA_FLOAT, i, w.scale(from + i));
            }
            MemorySegment codes = w.codes().asSlice((long) from * w.cols());
            return new GroupProducts.Rows(codes, scales, MemorySegment.NULL, w.cols());
        };
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
