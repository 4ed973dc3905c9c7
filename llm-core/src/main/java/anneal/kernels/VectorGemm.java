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
    /** Rows of the left operand that are packed together and shared: with the depth they stay in the last-level cache. */
    private static final int SHARED_ROWS = 200 * ROWS;
    /** Floats of a task's packed right block: it stays in the second-level cache while all rows pass by. */
    private static final int BLOCK_FLOATS = 40 << 10;
    /** Rows of the left operand that one task packs. */
    private static final int PACK_ROWS = 8 * ROWS;
    /** Fewest rows that are worth packing a right block for, if there are too few blocks for all threads. */
    private static final int FEW_ROWS = 12 * ROWS;

    private VectorGemm() {}

    /** Packs rows [row, row + rows), depths [from, from + depth) of the left operand. */
    private interface Left {
        void pack(float[] a, int at, int row, int rows, int from, int depth);
    }

    /** Packs columns [col, col + cols), depths [from, from + depth) of the right operand as strips. */
    private interface Right {
        void pack(float[] strips, int col, int cols, int from, int depth);
    }

    /** Where the product goes: rows, cols and depth of it, and what to do with the sums. */
    private record Product(MemorySegment y, int rows, int cols, int depth, float alpha, boolean add) {}

    static void matmulT(MemorySegment y, MemorySegment x, Matrix w, int m, float alpha, boolean add) {
        if (w instanceof TransposedMatrix t) {
            matmul(y, x, t.stored(), m, alpha, add);
            return;
        }
        int n = w.rows(), k = w.cols();
        if (m <= VectorGemv.ROWS) {
            VectorGemv.matmulT(y, x, w, m, alpha, add);
            return;
        }
        Left left = (a, at, row, rows, from, depth) -> VectorPack.rows(a, at, x, k, row, rows, from, depth);
        Right right = (strips, col, cols, from, depth) -> {
            for (int c = 0; c < cols; c += COLS) {
                VectorPack.stripOfRows(strips, c * depth, w, col + c, from, depth);
            }
        };
        run(new Product(y, m, n, k, alpha, add), left, right, w.block(), 1);
    }

    static void matmul(MemorySegment y, MemorySegment x, Matrix w, int m, float alpha, boolean add) {
        if (w instanceof TransposedMatrix t) {
            matmulT(y, x, t.stored(), m, alpha, add);
            return;
        }
        int n = w.rows(), k = w.cols();
        if (m <= VectorGemv.ROWS) {
            VectorGemv.matmul(y, x, w, m, alpha, add);
            return;
        }
        Left left = (a, at, row, rows, from, depth) -> VectorPack.rows(a, at, x, n, row, rows, from, depth);
        Right right = (strips, col, cols, from, depth) -> VectorPack.stripsOfColumns(strips, w, col, cols, from, depth);
        run(new Product(y, m, k, n, alpha, add), left, right, 1, w.block());
    }

    static void matmulTN(
            MemorySegment y, MemorySegment a, MemorySegment b, int n, int k, int m, float alpha, boolean add) {
        Matrix w = new F32Matrix(b, m, k);
        Left left = (to, at, row, rows, from, depth) -> VectorPack.columns(to, at, a, n, row, rows, from, depth);
        Right right = (strips, col, cols, from, depth) -> VectorPack.stripsOfColumns(strips, w, col, cols, from, depth);
        run(new Product(y, n, k, m, alpha, add), left, right, 1, 1);
    }

    /**
     * Left times right, by blocks of rows and depths.
     *
     * @param depthUnit depths are cut at multiples of it
     * @param colUnit columns are cut at multiples of it
     */
    private static void run(Product s, Left left, Right right, int depthUnit, int colUnit) {
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
        int high = Math.min(SHARED_ROWS, s.rows);
        float[] shared = VectorScratch.mine().shared(VectorTile.LEAD + roundUp(high, ROWS) * VectorTile.STRIDE);
        for (int row = 0; row < s.rows; row += high) {
            int firstRow = row, rows = Math.min(high, s.rows - row);
            for (int from = 0; from < s.depth; from += deep) {
                int firstDepth = from, depth = Math.min(deep, s.depth - from);
                Parallel.run(ceil(rows, PACK_ROWS), t -> {
                    int r = t * PACK_ROWS, count = Math.min(PACK_ROWS, rows - r);
                    left.pack(shared, VectorTile.LEAD + r * VectorTile.STRIDE, firstRow + r, count, firstDepth, depth);
                });
                multiply(s, shared, right, new Block(row, rows, from, depth), Math.max(colUnit, COLS));
            }
        }
    }

    /** Rows [row, row + rows) and depths [from, from + depth) of a product. */
    private record Block(int row, int rows, int from, int depth) {}

    /** The packed rows times all columns. How columns and rows are dealt out changes no sum, so it may look at the threads. */
    private static void multiply(Product s, float[] shared, Right right, Block b, int unit) {
        int threads = Parallel.threads(), units = ceil(s.cols, unit);
        int colBlocks = ceil(units, Math.max(1, BLOCK_FLOATS / (b.depth * unit)));
        colBlocks = Math.min(units, roundUp(colBlocks, threads));
        int rowParts = Math.clamp(ceil(threads, colBlocks), 1, ceil(b.rows, FEW_ROWS));
        int partRows = roundUp(ceil(b.rows, rowParts), ROWS), blocks = colBlocks;
        Parallel.run(colBlocks * rowParts, t -> {
            int row = t / blocks * partRows, rows = Math.min(partRows, b.rows - row);
            int col = (int) ((long) units * (t % blocks) / blocks) * unit;
            int end = Math.min(s.cols, (int) ((long) units * (t % blocks + 1) / blocks) * unit);
            VectorScratch scratch = VectorScratch.mine();
            float[] strips = scratch.strips(roundUp(end - col, COLS) * b.depth);
            right.pack(strips, col, end - col, b.from, b.depth);
            boolean add = s.add || b.from > 0;
            for (int r = row; r < row + rows; r += ROWS) {
                int high = Math.min(ROWS, row + rows - r);
                for (int c = col; c < end; c += COLS) {
                    VectorTile.multiply(
                            shared, r * VectorTile.STRIDE, strips, (c - col) * b.depth, b.depth, scratch.sums);
                    long at = (long) (b.row + r) * s.cols + c;
                    VectorTile.put(s.y, at, s.cols, high, Math.min(COLS, end - c), scratch.sums, s.alpha, add);
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
