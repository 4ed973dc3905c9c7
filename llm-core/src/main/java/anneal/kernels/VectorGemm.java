package anneal.kernels;

import java.lang.foreign.MemorySegment;

/**
 * The matrix product in blocks: pack a panel of the right operand once, share it, and let tasks multiply blocks of the left
 * operand with it (Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008).
 *
 * <p>Three products, one driver: they differ in how the operands are packed. A block is cut by the sizes of the product alone,
 * so each element's sum has the same order for any number of threads.
 */
final class VectorGemm {
    private static final int COLS = VectorTile.COLS;
    private static final int ROWS = VectorTile.ROWS;
    /** Columns of a shared panel: with {@link VectorTile#DEPTH} it stays in the last-level cache. */
    private static final int PANEL_COLS = 2048;
    /** Rows of a task's left block, a multiple of ROWS: with the depth it stays in the second-level cache. */
    private static final int BLOCK_ROWS = 60;
    /** Columns that are widened together when the columns of a matrix are packed. */
    private static final int GROUP = 64;

    private VectorGemm() {}

    /** Packs rows [row, row + rows), depths [from, from + depth) of the left operand. */
    private interface Left {
        void pack(float[] a, int row, int rows, int from, int depth);
    }

    /** Packs columns [col, col + cols), depths [from, from + depth) of the right operand as strips. */
    private interface Right {
        void pack(float[] strips, int at, int col, int cols, int from, int depth);
    }

    /** Where the product goes: rows, cols and depth of it, and what to do with the sums. */
    private record Product(MemorySegment y, int rows, int cols, int depth, float alpha, boolean add) {}

    static void matmulT(MemorySegment y, MemorySegment x, Matrix w, int m, float alpha, boolean add) {
        int n = w.rows(), k = w.cols();
        run(
                new Product(y, m, n, k, alpha, add),
                (a, row, rows, from, depth) -> VectorPack.rows(a, x, k, row, rows, from, depth),
                (strips, at, col, cols, from, depth) -> {
                    for (int c = 0; c < cols; c += COLS) {
                        VectorPack.stripOfRows(strips, at + c * depth, w, col + c, from, depth);
                    }
                },
                w.block(),
                COLS);
    }

    static void matmul(MemorySegment y, MemorySegment x, Matrix w, int m, float alpha, boolean add) {
        int n = w.rows(), k = w.cols();
        run(
                new Product(y, m, k, n, alpha, add),
                (a, row, rows, from, depth) -> VectorPack.rows(a, x, n, row, rows, from, depth),
                (strips, at, col, cols, from, depth) ->
                        VectorPack.stripsOfColumns(strips, at, w, col, cols, from, depth),
                1,
                Math.max(GROUP, w.block()));
    }

    static void matmulTN(
            MemorySegment y, MemorySegment a, MemorySegment b, int n, int k, int m, float alpha, boolean add) {
        Matrix right = new F32Matrix(b, m, k);
        run(
                new Product(y, n, k, m, alpha, add),
                (left, row, rows, from, depth) -> VectorPack.columns(left, a, n, row, rows, from, depth),
                (strips, at, col, cols, from, depth) ->
                        VectorPack.stripsOfColumns(strips, at, right, col, cols, from, depth),
                1,
                GROUP);
    }

    /**
     * Left times right.
     *
     * @param depthUnit depths are cut at multiples of it
     * @param group columns of the right operand that one task packs
     */
    private static void run(Product s, Left left, Right right, int depthUnit, int group) {
        if (s.rows == 0 || s.cols == 0) {
            return;
        }
        if (s.depth == 0) {
            if (!s.add) {
                s.y.asSlice(0, 4L * s.rows * s.cols).fill((byte) 0);
            }
            return;
        }
        int parts = ceil(s.depth, VectorTile.DEPTH);
        int deep = Math.min(VectorTile.DEPTH, roundUp(ceil(s.depth, parts), Math.max(depthUnit, 8)));
        int panelCols = Math.min(PANEL_COLS, roundUp(s.cols, group));
        float[] panel = VectorScratch.mine().panel(roundUp(panelCols, COLS) * Math.min(deep, s.depth));
        for (int col = 0; col < s.cols; col += panelCols) {
            int firstCol = col, cols = Math.min(panelCols, s.cols - col);
            for (int from = 0; from < s.depth; from += deep) {
                int firstDepth = from, depth = Math.min(deep, s.depth - from);
                Parallel.run(ceil(cols, group), g -> {
                    int at = g * group;
                    right.pack(panel, at * depth, firstCol + at, Math.min(group, cols - at), firstDepth, depth);
                });
                multiply(s, left, panel, firstCol, cols, firstDepth, depth);
            }
        }
    }

    /** All rows of the left operand times one packed panel. */
    private static void multiply(Product s, Left left, float[] panel, int col, int cols, int from, int depth) {
        int rowBlocks = ceil(s.rows, BLOCK_ROWS);
        int colBlocks = Math.clamp(ceil(cols, 128), 1, Math.max(1, 24 / rowBlocks));
        int blockCols = roundUp(ceil(cols, colBlocks), COLS);
        Parallel.run(rowBlocks * colBlocks, t -> {
            int row = t / colBlocks * BLOCK_ROWS, rows = Math.min(BLOCK_ROWS, s.rows - row);
            int first = t % colBlocks * blockCols, end = Math.min(first + blockCols, cols);
            VectorScratch scratch = VectorScratch.mine();
            float[] a = scratch.left(BLOCK_ROWS * VectorTile.STRIDE);
            left.pack(a, row, rows, from, depth);
            boolean add = s.add || from > 0;
            for (int c = first; c < end; c += COLS) {
                for (int r = 0; r < rows; r += ROWS) {
                    VectorTile.multiply(a, r * VectorTile.STRIDE, panel, c * depth, depth, scratch.sums);
                    long at = (long) (row + r) * s.cols + col + c;
                    VectorTile.put(
                            s.y,
                            at,
                            s.cols,
                            Math.min(ROWS, rows - r),
                            Math.min(COLS, cols - c),
                            scratch.sums,
                            s.alpha,
                            add);
                }
            }
        });
    }

    static int ceil(int n, int unit) {
        return (n + unit - 1) / unit;
    }

    static int roundUp(int n, int unit) {
        return ceil(n, unit) * unit;
    }
}
