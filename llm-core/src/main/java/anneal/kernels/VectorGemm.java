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

    /**
     * Packs columns [col, col + cols), depths [from, from + depth) of the right operand as strips: the first one at {@code at},
     * the others {@code apart} floats from each other.
     */
    private interface Right {
        void pack(float[] strips, int at, int apart, int col, int cols, int from, int depth);
    }

    /** Where the product goes: rows, cols and depth of it, and what to do with the sums. */
    private record Product(MemorySegment y, int rows, int cols, int depth, float alpha, boolean add) {}

    static void matmulT(MemorySegment y, MemorySegment x, Matrix w, int m, float alpha, boolean add) {
        if (m > VectorGemv.ROWS) {
            run(
                    new Product(y, m, w.rows(), w.cols(), alpha, add),
                    rows(x, w.cols()),
                    across(w),
                    depthUnit(w),
                    colUnit(w));
        } else if (w instanceof TransposedMatrix t) {
            VectorGemv.matmul(y, x, t.stored(), m, alpha, add);
        } else {
            VectorGemv.matmulT(y, x, w, m, alpha, add);
        }
    }

    static void matmul(MemorySegment y, MemorySegment x, Matrix w, int m, float alpha, boolean add) {
        matmulT(y, x, TransposedMatrix.of(w), m, alpha, add);
    }

    /** y = x wT + u vT (+ y): one product whose depth is that of x and then that of u. */
    static void matmulTPlus(MemorySegment y, MemorySegment x, Matrix w, MemorySegment u, Matrix v, int m, boolean add) {
        if (m <= VectorGemv.ROWS) {
            matmulT(y, x, w, m, 1, add);
            matmulT(y, u, v, m, 1, true);
            return;
        }
        int k = w.cols(), r = v.cols();
        Left left = joined(rows(x, k), k, rows(u, r));
        Right right = joined(across(w), k, across(v));
        run(new Product(y, m, w.rows(), k + r, 1, add), left, right, depthUnit(w), colUnit(w));
    }

    static void matmulPlus(MemorySegment y, MemorySegment x, Matrix w, MemorySegment u, Matrix v, int m, boolean add) {
        matmulTPlus(y, x, TransposedMatrix.of(w), u, TransposedMatrix.of(v), m, add);
    }

    static void matmulTN(
            MemorySegment y, MemorySegment a, MemorySegment b, int n, int k, int m, float alpha, boolean add) {
        if (k < n && k <= 2 * COLS) {
            MemorySegment yT = VectorScratch.mine().result(4L * n * k);
            matmulTN(yT, b, a, k, n, m, alpha, false);
            VectorPack.putTransposed(y, yT, k, n, add);
            return;
        }
        Matrix w = new F32Matrix(b, m, k);
        run(new Product(y, n, k, m, alpha, add), columns(a, n), down(w), 1, 1);
    }

    /** The rows of x [.., width]. */
    private static Left rows(MemorySegment x, int width) {
        return (to, at, row, rows, from, depth) -> VectorPack.rows(to, at, x, width, row, rows, from, depth);
    }

    /** The columns of x [.., width]. */
    private static Left columns(MemorySegment x, int width) {
        return (to, at, row, rows, from, depth) -> VectorPack.columns(to, at, x, width, row, rows, from, depth);
    }

    /** wT: a row of w is a column of the operand. */
    private static Right across(Matrix w) {
        if (w instanceof TransposedMatrix t) {
            return down(t.stored());
        }
        return (strips, at, apart, col, cols, from, depth) -> {
            for (int c = 0; c < cols; c += COLS) {
                VectorPack.stripOfRows(strips, at + c / COLS * apart, w, col + c, from, depth);
            }
        };
    }

    /** w itself. */
    private static Right down(Matrix w) {
        return (strips, at, apart, col, cols, from, depth) ->
                VectorPack.stripsOfColumns(strips, at, apart, w, col, cols, from, depth);
    }

    /** Two left operands side by side: the depth of the first is k. */
    private static Left joined(Left first, int k, Left second) {
        return (a, at, row, rows, from, depth) -> {
            int head = Math.clamp(k - from, 0, depth);
            if (head > 0) {
                first.pack(a, at, row, rows, from, head);
            }
            if (head < depth) {
                second.pack(a, at + head, row, rows, from + head - k, depth - head);
            }
        };
    }

    /** Two right operands, one above the other: the depth of the first is k. */
    private static Right joined(Right first, int k, Right second) {
        return (strips, at, apart, col, cols, from, depth) -> {
            int head = Math.clamp(k - from, 0, depth);
            if (head > 0) {
                first.pack(strips, at, apart, col, cols, from, head);
            }
            if (head < depth) {
                second.pack(strips, at + head * COLS, apart, col, cols, from + head - k, depth - head);
            }
        };
    }

    /** Depths of x wT that can only be widened together. */
    private static int depthUnit(Matrix w) {
        return w instanceof TransposedMatrix ? 1 : w.block();
    }

    /** Columns of x wT that can only be widened together. */
    private static int colUnit(Matrix w) {
        return w instanceof TransposedMatrix t ? t.stored().block() : 1;
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
            float[] strips = VectorScratch.mine().strips(roundUp(end - col, COLS) * b.depth);
            right.pack(strips, 0, b.depth * COLS, col, end - col, b.from, b.depth);
            tiles(s, shared, strips, new Block(b.row + row, rows, b.from, b.depth), row, col, end);
        });
    }

    /** The rows of b, packed from row {@code at} on, times the packed columns [col, end). */
    private static void tiles(Product s, float[] shared, float[] strips, Block b, int at, int col, int end) {
        float[] sums = VectorScratch.mine().sums;
        boolean add = s.add || b.from > 0;
        for (int r = 0; r < b.rows; r += ROWS) {
            int high = Math.min(ROWS, b.rows - r);
            for (int c = col; c < end; c += COLS) {
                VectorTile.multiply(shared, (at + r) * VectorTile.STRIDE, strips, (c - col) * b.depth, b.depth, sums);
                long to = (long) (b.row + r) * s.cols + c;
                VectorTile.put(s.y, to, s.cols, high, Math.min(COLS, end - c), sums, s.alpha, add);
            }
        }
    }

    static int ceil(int n, int unit) {
        return (n + unit - 1) / unit;
    }

    static int roundUp(int n, int unit) {
        return ceil(n, unit) * unit;
    }
}
