package anneal.kernels;

import anneal.kernels.emit.AmxPacking;
import anneal.kernels.emit.AmxProduct;
import anneal.kernels.emit.BlockProduct;
import anneal.kernels.emit.BlockProduct.Left;
import anneal.kernels.emit.Level;
import anneal.kernels.emit.Operands;
import anneal.kernels.emit.Packing;
import anneal.kernels.emit.TileProduct;
import anneal.kernels.emit.TileProduct.Order;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * The products of floats with emitted tiles: in f32, or with both operands rounded to bf16 on their way.
 *
 * <p>In f32 the rows of the left operand, and of a right one of floats, are read where they are. What is stored otherwise is
 * widened a piece at a time while it is packed, so that a quantised matrix is never held as floats.
 */
final class EmittedGemm {
    private static final long FLOAT = 4;
    /** Floats that are widened before they are packed: they stay in the nearest cache. */
    private static final int PIECE = 4 << 10;

    private final Operands packing;
    /** Rows of floats can be read where they are. */
    private final boolean inPlace;

    private final EmittedWidening widening;
    private final int tileCols;
    private final EmittedBlocks rows, columns;

    /** Products at a level of the processor; the form says what becomes of the operands' floats. */
    EmittedGemm(Level level, Packing.Form form, EmittedWidening widening) {
        Arena arena = Arena.global();
        TileProduct.Form words = form == Packing.Form.BF16_PAIRS ? TileProduct.Form.BF16_PAIRS : TileProduct.Form.F32;
        this.widening = widening;
        packing = new Packing(level, form, arena);
        inPlace = form == Packing.Form.F32;
        tileCols = TileProduct.cols(level);
        rows = new EmittedBlocks(new TileProduct(words, Order.ROWS, level, arena));
        columns = new EmittedBlocks(new TileProduct(words, Order.PANELS, level, arena));
    }

    /** Products by AMX of floats that become bf16, or three of them each. */
    EmittedGemm(AmxProduct.Form form, EmittedWidening widening) {
        Arena arena = Arena.global();
        BlockProduct product = new AmxProduct(form, arena);
        this.widening = widening;
        packing = new AmxPacking(form, arena);
        inPlace = false;
        tileCols = product.cols();
        rows = columns = new EmittedBlocks(product);
    }

    /** y[m, N] = alpha x wT (+ y), w [N, K]. */
    void matmulT(MemorySegment y, MemorySegment x, Matrix w, int m, float alpha, boolean add) {
        rows.run(new EmittedBlocks.Result(y, m, w.rows(), alpha, add), new Floats(x, w));
    }

    /** y[m, N] = x wT + u vT (+ y). */
    void matmulTPlus(MemorySegment y, MemorySegment x, Matrix w, MemorySegment u, Matrix v, int m, boolean add) {
        EmittedBlocks.Pair second = new Floats(u, v);
        if (second.depthUnit() > 1) { // its blocks need not begin where the joined depth is cut
            matmulT(y, x, w, m, 1, add);
            matmulT(y, u, v, m, 1, true);
        } else {
            rows.run(new EmittedBlocks.Result(y, m, w.rows(), 1, add), new Floats(x, w), second);
        }
    }

    /** y[n, k] = alpha aT b (+ y), a [m, n], b [m, k]. */
    void matmulTN(MemorySegment y, MemorySegment a, MemorySegment b, int n, int k, int m, float alpha, boolean add) {
        if (k < n && k <= 2 * tileCols) {
            MemorySegment turned = VectorScratch.mine().result(FLOAT * n * k);
            matmulTN(turned, b, a, k, n, m, alpha, false);
            VectorPack.putTransposed(y, turned, k, n, add);
            return;
        }
        Matrix w = new TransposedMatrix(new F32Matrix(b, m, k));
        columns.run(new EmittedBlocks.Result(y, n, k, alpha, add), new Floats(a, n, true, w));
    }

    /** Rows of x [.., width], or its columns, times wT. */
    private final class Floats implements EmittedBlocks.Pair {
        private final MemorySegment x;
        private final int width;
        private final boolean columns;
        private final Matrix w;

        Floats(MemorySegment x, Matrix w) {
            this(x, w.cols(), false, w);
        }

        Floats(MemorySegment x, int width, boolean columns, Matrix w) {
            this.x = x;
            this.width = width;
            this.columns = columns;
            this.w = w;
        }

        @Override
        public int depth() {
            return w.cols();
        }

        @Override
        public int words(int depth) {
            return packing.words(depth);
        }

        @Override
        public int depthUnit() {
            return w instanceof TransposedMatrix ? 1 : w.block();
        }

        @Override
        public int colUnit() {
            return w instanceof TransposedMatrix t ? t.stored().block() : 1;
        }

        @Override
        public Left inPlace(int row, int from, int depth) {
            return inPlace && !columns ? new Left(at(x, row, width, from), FLOAT * width, depth) : null;
        }

        @Override
        public void packLeft(MemorySegment to, long apart, int row, int rows, int from, int depth) {
            if (columns) {
                packing.panelsOfColumns(to, apart, at(x, from, width, row), width, rows, depth);
            } else {
                packing.rows(to, apart, at(x, row, width, from), width, rows, depth);
            }
        }

        @Override
        public void packRight(MemorySegment to, long apart, int col, int cols, int from, int depth) {
            if (w instanceof TransposedMatrix t) {
                down(to, apart, t.stored(), col, cols, from, depth);
                return;
            }
            for (int c = 0; c < cols; c += tileCols) {
                MemorySegment strip = to.asSlice(FLOAT * apart * (c / tileCols));
                across(strip, w, col + c, Math.min(tileCols, cols - c), from, depth);
            }
        }
    }

    /** A row of w becomes a column. */
    private void across(MemorySegment strip, Matrix w, int row, int rows, int from, int depth) {
        if (w instanceof F32Matrix f32) {
            packing.stripOfRows(strip, at(f32.data(), row, w.cols(), from), w.cols(), rows, depth);
            return;
        }
        MemorySegment piece = EmittedScratch.mine().piece(FLOAT * rows * depth);
        widening.rows(piece, w, row, rows, from, depth);
        packing.stripOfRows(strip, piece, depth, rows, depth);
    }

    /** A row of w is a step of the depth. */
    private void down(MemorySegment strips, long apart, Matrix w, int col, int cols, int from, int depth) {
        if (w instanceof F32Matrix f32) {
            packing.stripsOfColumns(strips, apart, at(f32.data(), from, w.cols(), col), w.cols(), cols, depth);
            return;
        }
        int unit = packing.step(), some = Math.max(unit, PIECE / cols / unit * unit);
        MemorySegment piece = EmittedScratch.mine().piece(FLOAT * some * cols);
        for (int p = 0; p < depth; p += some) {
            int rows = Math.min(some, depth - p);
            widening.rows(piece, w, from + p, rows, col, cols);
            MemorySegment to = strips.asSlice(FLOAT * tileCols * packing.words(p));
            packing.stripsOfColumns(to, apart, piece, cols, cols, rows);
        }
    }

    /** Float [row, col] of x [.., width], and all after it. */
    private static MemorySegment at(MemorySegment x, int row, int width, int col) {
        return x.asSlice(FLOAT * ((long) row * width + col));
    }
}
