package anneal.kernels;

import anneal.kernels.emit.BlockProduct;
import anneal.kernels.emit.BlockProduct.Left;
import java.lang.foreign.MemorySegment;

/**
 * A matrix product in blocks around emitted tiles: tasks pack a block of the right operand and multiply the rows of the left one
 * with it (Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008).
 *
 * <p>What the operands are is the {@link Pair}'s affair; here is only how the work is cut. It is cut by the sizes of the product
 * alone, so each element's sum has the same order for any number of threads.
 */
final class EmittedBlocks {
    /** Most rows that are packed together and shared; whole tiles, of 6, 12 or 32. */
    private static final int SHARED_ROWS = 2400;
    /** Rows, in tiles, that one task packs. */
    private static final int PACK_TILES = 8;
    /** Fewest rows that are worth packing a right block for, if there are too few blocks for all threads. */
    private static final int FEW_ROWS = 128;

    private static final long WORD = 4;

    private final BlockProduct tiles;
    private final int together;

    EmittedBlocks(BlockProduct tiles) {
        this.tiles = tiles;
        this.together = tiles.together();
    }

    /** Where the product goes: its sizes, and what to do with the sums. */
    record Result(MemorySegment y, int rows, int cols, float alpha, boolean add) {}

    /** Two operands over one depth, and how stretches of them become the tiles' words. */
    interface Pair {
        int depth();

        /** Words that so many depths of a row become. */
        int words(int depth);

        /** Depths are cut at multiples of it. */
        int depthUnit();

        /** Columns are cut at multiples of it. */
        int colUnit();

        /** Rows from {@code row} on, where they are; null if they must be packed. */
        Left inPlace(int row, int from, int depth);

        /** Packs rows [row, row + rows) as rows, or panels, of words, {@code apart} words from one to the next. */
        void packLeft(MemorySegment to, long apart, int row, int rows, int from, int depth);

        /** Packs columns [col, col + cols) as strips, {@code apart} words from one to the next. */
        void packRight(MemorySegment to, long apart, int col, int cols, int from, int depth);
    }

    /** A stretch of the depth of one pair, and where its left operand is now. */
    private record Piece(Pair pair, int from, int depth, Left left) {
        int words() {
            return pair.words(depth);
        }
    }

    /** y = alpha times the sum of all pairs' products (+ y). */
    void run(Result y, Pair... pairs) {
        if (y.rows == 0 || y.cols == 0) {
            return;
        }
        int depth = 0;
        for (Pair p : pairs) {
            depth += p.depth();
        }
        if (depth == 0) {
            if (!y.add) {
                y.y.asSlice(0, WORD * y.rows * y.cols).fill((byte) 0);
            }
            return;
        }
        int parts = VectorGemm.ceil(pairs[0].words(depth), tiles.deepest());
        int unit = Math.max(8, pairs[0].depthUnit());
        int deep = Math.min(depth, VectorGemm.roundUp(VectorGemm.ceil(depth, parts), unit));
        int high = Math.min(SHARED_ROWS, y.rows);
        for (int row = 0; row < y.rows; row += high) {
            int rows = Math.min(high, y.rows - row);
            for (int from = 0; from < depth; from += deep) {
                Piece[] pieces = pieces(pairs, row, rows, from, Math.min(deep, depth - from));
                multiply(y, row, rows, pieces, y.add || from > 0);
            }
        }
    }

    /** What of the pairs lies in depths [from, from + depth) of them all, the left operands ready to be read. */
    private Piece[] pieces(Pair[] pairs, int row, int rows, int from, int depth) {
        Piece[] pieces = new Piece[pairs.length];
        int start = 0, count = 0;
        long words = 0;
        for (Pair p : pairs) {
            int first = Math.max(from - start, 0), end = Math.min(from + depth - start, p.depth());
            if (first < end) {
                Piece piece = new Piece(p, first, end - first, p.inPlace(row, first, end - first));
                pieces[count++] = piece;
                words += piece.left == null ? leftWords(rows, piece) : 0;
            }
            start += p.depth();
        }
        Piece[] ready = new Piece[count];
        MemorySegment memory = words == 0 ? null : EmittedScratch.mine().left(WORD * words);
        long at = 0;
        for (int i = 0; i < count; i++) {
            ready[i] = pieces[i].left == null ? packed(pieces[i], row, rows, memory.asSlice(WORD * at)) : pieces[i];
            at += pieces[i].left == null ? leftWords(rows, pieces[i]) : 0;
        }
        return ready;
    }

    private long leftWords(int rows, Piece p) {
        return apart(p) * VectorGemm.ceil(rows, together);
    }

    /** Words from one packed row or panel to the next; for rows no power of two, so that they do not fall on one cache set. */
    private long apart(Piece p) {
        return together > 1 ? (long) together * p.words() : VectorGemm.roundUp(p.words(), 16) + 16;
    }

    private Piece packed(Piece p, int row, int rows, MemorySegment to) {
        int some = PACK_TILES * tiles.rows();
        long apart = apart(p);
        Parallel.run(VectorGemm.ceil(rows, some), t -> {
            int first = t * some, count = Math.min(some, rows - first);
            MemorySegment part = to.asSlice(WORD * apart * (first / together));
            p.pair.packLeft(part, apart, row + first, count, p.from, p.depth);
        });
        return new Piece(p.pair, p.from, p.depth, new Left(to, WORD * apart, p.words()));
    }

    /** Rows [row, row + rows) times all columns. How they are dealt out changes no sum, so it may look at the threads. */
    private void multiply(Result y, int row, int rows, Piece[] pieces, boolean add) {
        int words = 0, unit = tiles.cols();
        for (Piece p : pieces) {
            words += p.words();
            unit = Math.max(unit, p.pair.colUnit());
        }
        int threads = Parallel.threads(), units = VectorGemm.ceil(y.cols, unit);
        int wanted = VectorGemm.ceil(units, Math.max(1, tiles.blockWords() / (words * unit)));
        int blocks = Math.min(units, VectorGemm.roundUp(wanted, threads));
        int rowParts = Math.clamp(VectorGemm.ceil(threads, blocks), 1, VectorGemm.ceil(rows, FEW_ROWS));
        int partRows = VectorGemm.roundUp(VectorGemm.ceil(rows, rowParts), tiles.rows());
        int depth = words, colUnit = unit;
        Parallel.run(blocks * rowParts, t -> {
            int first = t / blocks * partRows, count = Math.min(partRows, rows - first);
            int col = (int) ((long) units * (t % blocks) / blocks) * colUnit;
            int end = Math.min(y.cols, (int) ((long) units * (t % blocks + 1) / blocks) * colUnit);
            if (count > 0) {
                block(y, new Area(row + first, count, col, end - col), first, pieces, depth, add);
            }
        });
    }

    /** A part of the result. */
    private record Area(int row, int rows, int col, int cols) {}

    /** Packs the right operands of an area and multiplies; {@code first} is its first row within the left operands. */
    private void block(Result y, Area area, int first, Piece[] pieces, int depth, boolean add) {
        EmittedScratch scratch = EmittedScratch.mine();
        long strip = tiles.stripWords(depth);
        MemorySegment strips = scratch.strips(WORD * strip * VectorGemm.ceil(area.cols, tiles.cols()));
        Left[] left = new Left[pieces.length];
        long at = 0;
        for (int i = 0; i < pieces.length; i++) {
            Piece p = pieces[i];
            p.pair.packRight(strips.asSlice(WORD * at), strip, area.col, area.cols, p.from, p.depth);
            at += (long) p.words() * tiles.cols();
            MemorySegment rows = p.left.words().asSlice(p.left.stride() * (first / together));
            left[i] = new Left(rows, p.left.stride(), p.left.depth());
        }
        MemorySegment to = y.y.asSlice(WORD * ((long) area.row * y.cols + area.col));
        tiles.multiply(scratch.arguments, to, WORD * y.cols, area.rows, area.cols, strips, y.alpha, add, left);
    }
}
