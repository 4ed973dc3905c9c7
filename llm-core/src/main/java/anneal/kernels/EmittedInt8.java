package anneal.kernels;

import static java.lang.foreign.ValueLayout.JAVA_INT;

import anneal.kernels.emit.AmxBytePacking;
import anneal.kernels.emit.AmxProduct;
import anneal.kernels.emit.BlockProduct;
import anneal.kernels.emit.BlockProduct.Left;
import anneal.kernels.emit.BytePacking;
import anneal.kernels.emit.Level;
import anneal.kernels.emit.Packing;
import anneal.kernels.emit.TileProduct;
import anneal.kernels.emit.TileProduct.Form;
import anneal.kernels.emit.TileProduct.Order;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * Products of signed bytes with emitted tiles, exact in 32-bit integers.
 *
 * <p>AMX multiplies them as they are. VNNI multiplies four bytes at a time, the left ones without sign: x + 128 is multiplied, and 128
 * times the sum of the weights is where each sum begins, below 0. Without either, bytes become pairs of 16 bits.
 */
final class EmittedInt8 {
    private static final long WORD = 4;

    private enum Kind {
        AMX,
        VNNI,
        SHORTS
    }

    private final Kind kind;
    private final int tileCols;
    private final BytePacking left;
    private final AmxBytePacking panels;
    private final Packing packing;
    private final BlockProduct tiles;
    private final EmittedBlocks blocks;
    /** VNNI: 1 in each byte, which times a strip gives the sums of its columns. */
    private final MemorySegment ones;

    EmittedInt8(Level level) {
        Arena arena = Arena.global();
        kind = level.has(Level.AMX) ? Kind.AMX : level.has(Form.BYTES.least()) ? Kind.VNNI : Kind.SHORTS;
        left = kind == Kind.AMX
                ? null
                : new BytePacking(kind == Kind.VNNI ? BytePacking.Form.OFFSET_BYTES : BytePacking.Form.SHORTS, arena);
        panels = kind == Kind.AMX ? new AmxBytePacking(arena) : null;
        packing = new Packing(level, Packing.Form.F32, arena);
        tiles = switch (kind) {
            case AMX -> new AmxProduct(AmxProduct.Form.BYTES, arena);
            case VNNI -> new TileProduct(Form.BYTES, Order.ROWS, level, arena);
            case SHORTS -> new TileProduct(Form.SHORT_PAIRS, Order.ROWS, level, arena);
        };
        tileCols = tiles.cols();
        blocks = new EmittedBlocks(tiles);
        ones = arena.allocate(WORD * tiles.deepest(), 64);
        ones.fill((byte) 1);
    }

    /** Words that so many depths of a row become. */
    private int words(int depth) {
        return switch (kind) {
            case AMX -> AmxProduct.Form.BYTES.words(depth);
            case VNNI -> VectorGemm.ceil(depth, 4);
            case SHORTS -> VectorGemm.ceil(depth, 2);
        };
    }

    /** y[m, n] = x[m, k] wT in 32-bit integers, w [n, k]. */
    void matmulT(MemorySegment y, MemorySegment x, MemorySegment w, int m, int n, int k) {
        blocks.run(new EmittedBlocks.Result(y, m, n, 1, false), new Bytes(x, w, k));
    }

    /** Rows of x [.., k] times rows of w [.., k]. */
    private final class Bytes implements EmittedBlocks.Pair {
        private final MemorySegment x, w;
        private final int k;

        Bytes(MemorySegment x, MemorySegment w, int k) {
            this.x = x;
            this.w = w;
            this.k = k;
        }

        @Override
        public int depth() {
            return k;
        }

        @Override
        public int words(int depth) {
            return EmittedInt8.this.words(depth);
        }

        @Override
        public int depthUnit() {
            return kind == Kind.AMX ? 64 : 4;
        }

        @Override
        public int colUnit() {
            return 1;
        }

        @Override
        public Left inPlace(int row, int from, int depth) {
            return null;
        }

        @Override
        public void packLeft(MemorySegment to, long apart, int row, int rows, int from, int depth) {
            if (kind == Kind.AMX) {
                panels.rows(to, apart, x.asSlice((long) row * k + from), k, rows, depth);
                return;
            }
            int padded = words(depth) * (kind == Kind.VNNI ? 4 : 2);
            for (int i = 0; i < rows; i++) {
                left.row(to.asSlice(WORD * apart * i), x.asSlice((long) (row + i) * k + from), depth, padded);
            }
        }

        @Override
        public void packRight(MemorySegment to, long apart, int col, int cols, int from, int depth) {
            for (int c = 0; c < cols; c += tileCols) {
                MemorySegment strip = to.asSlice(WORD * apart * (c / tileCols));
                int count = Math.min(tileCols, cols - c);
                switch (kind) {
                    case AMX -> stripOfBytes(strip, col + c, count, from, depth);
                    case VNNI -> stripWithSums(strip, col + c, count, from, depth);
                    case SHORTS -> stripOfShorts(strip, col + c, count, from, depth);
                }
            }
        }

        private void stripOfShorts(MemorySegment strip, int row, int rows, int from, int depth) {
            int words = words(depth);
            MemorySegment piece = EmittedScratch.mine().piece(WORD * words * rows);
            for (int i = 0; i < rows; i++) {
                MemorySegment src = w.asSlice((long) (row + i) * k + from);
                left.row(piece.asSlice(WORD * words * i), src, depth, 2 * words);
            }
            packing.stripOfRows(strip, piece, words, rows, words);
        }

        private void stripOfBytes(MemorySegment strip, int row, int rows, int from, int depth) {
            int words = words(depth);
            MemorySegment piece = EmittedScratch.mine().piece(WORD * words * rows);
            piece.asSlice(0, WORD * words * rows).fill((byte) 0);
            for (int i = 0; i < rows; i++) {
                MemorySegment.copy(w, (long) (row + i) * k + from, piece, WORD * words * i, depth);
            }
            packing.stripOfRows(strip, piece, words, rows, words);
        }

        /** The words, and before them what the sums begin with: -128 times the sum of each column. */
        private void stripWithSums(MemorySegment strip, int row, int rows, int from, int depth) {
            int words = words(depth);
            MemorySegment head = strip.asSlice(0, WORD * tileCols);
            stripOfBytes(strip.asSlice(WORD * tileCols), row, rows, from, depth);
            head.fill((byte) 0);
            MemorySegment sums = VectorScratch.mine().result(WORD * tileCols);
            Left one = new Left(ones, WORD * words, words);
            tiles.multiply(EmittedScratch.mine().arguments, sums, WORD * tileCols, 1, tileCols, strip, 1, false, one);
            for (int j = 0; j < tileCols; j++) {
                head.setAtIndex(JAVA_INT, j, -128 * sums.getAtIndex(JAVA_INT, j));
            }
        }
    }
}
