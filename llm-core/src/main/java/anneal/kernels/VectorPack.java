package anneal.kernels;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import java.lang.foreign.MemorySegment;
import java.nio.ByteOrder;
import java.util.Arrays;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorShuffle;
import jdk.incubator.vector.VectorSpecies;

/**
 * Brings the operands of a product into the order that {@link VectorTile} reads, in arrays on the heap (measured: loads from
 * arrays are compiled better than loads from segments, and widening happens here once).
 */
final class VectorPack {
    private static final int STRIDE = VectorTile.STRIDE;
    private static final int COLS = VectorTile.COLS;

    private static final VectorSpecies<Float> LANE = FloatVector.SPECIES_PREFERRED;
    private static final int LANES = LANE.length();
    private static final ByteOrder ORDER = ByteOrder.nativeOrder();
    private static final VectorSpecies<Float> EIGHT = FloatVector.SPECIES_256;
    /** Transposing in registers needs vectors of eight floats. */
    private static final boolean WIDE = FloatVector.SPECIES_PREFERRED.length() >= 8;

    private static final VectorShuffle<Float> SWAP4 = swap(4), SWAP2 = swap(2), SWAP1 = swap(1);
    private static final VectorMask<Float> HIGH4 = high(4), HIGH2 = high(2), HIGH1 = high(1);

    private VectorPack() {}

    /** Rows [row, row + rows) of x [.., width], depths [from, from + depth), as the left operand. */
    static void rows(float[] a, int at, MemorySegment x, int width, int row, int rows, int from, int depth) {
        for (int i = 0; i < rows; i++) {
            MemorySegment.copy(x, JAVA_FLOAT, 4 * ((long) (row + i) * width + from), a, at + i * STRIDE, depth);
        }
    }

    /** Columns [col, col + cols) of x [.., width], depths (rows of x) [from, from + depth), as the left operand. */
    static void columns(float[] a, int at, MemorySegment x, int width, int col, int cols, int from, int depth) {
        float[] piece = VectorScratch.mine().piece(depth * cols);
        for (int p = 0; p < depth; p++) {
            copy(x, (long) (from + p) * width + col, piece, p * cols, cols);
        }
        transpose(piece, cols, depth, cols, a, at, STRIDE);
    }

    /** A short copy, which costs less as vectors than as a call. */
    private static void copy(MemorySegment x, long from, float[] to, int at, int count) {
        int i = 0;
        for (; i <= count - LANES; i += LANES) {
            FloatVector.fromMemorySegment(LANE, x, 4 * (from + i), ORDER).intoArray(to, at + i);
        }
        for (; i < count; i++) {
            to[at + i] = x.getAtIndex(JAVA_FLOAT, from + i);
        }
    }

    /** Rows [row, row + COLS) of w as a strip: what was a row of w becomes a column. Rows past the end become zeros. */
    static void stripOfRows(float[] strip, int at, Matrix w, int row, int from, int depth) {
        int rows = Math.min(COLS, w.rows() - row);
        float[] piece = VectorScratch.mine().piece(COLS * STRIDE);
        for (int i = 0; i < rows; i++) {
            VectorWiden.row(w, row + i, from, depth, piece, i * STRIDE);
        }
        for (int i = rows; i < COLS; i++) {
            Arrays.fill(piece, i * STRIDE, i * STRIDE + depth, 0);
        }
        transpose(piece, STRIDE, COLS, depth, strip, at, COLS);
    }

    /**
     * Columns [col, col + cols) of w as strips, the first at {@code at}, {@code apart} floats from one to the next; depths are
     * rows [from, from + depth) of w. Columns past the end become zeros.
     */
    static void stripsOfColumns(float[] strips, int at, int apart, Matrix w, int col, int cols, int from, int depth) {
        if (w instanceof F32Matrix f32 && cols % COLS == 0) {
            for (int p = 0; p < depth; p++) {
                long row = 4 * ((long) (from + p) * f32.cols() + col);
                for (int c = 0, to = at + p * COLS; c < cols; c += COLS, to += apart) {
                    FloatVector.fromMemorySegment(LANE, f32.data(), row + 4L * c, ORDER)
                            .intoArray(strips, to);
                    FloatVector.fromMemorySegment(LANE, f32.data(), row + 4L * (c + LANES), ORDER)
                            .intoArray(strips, to + LANES);
                }
            }
            return;
        }
        int padded = VectorGemm.roundUp(cols, COLS);
        float[] piece = VectorScratch.mine().piece(padded);
        Arrays.fill(piece, cols, padded, 0);
        for (int p = 0; p < depth; p++) {
            VectorWiden.row(w, from + p, col, cols, piece, 0);
            for (int c = 0, to = at + p * COLS; c < padded; c += COLS, to += apart) {
                FloatVector.fromArray(LANE, piece, c).intoArray(strips, to);
                FloatVector.fromArray(LANE, piece, c + LANES).intoArray(strips, to + LANES);
            }
        }
    }

    /** y[cols, rows] = xT (+ y if {@code add}), x [rows, cols]. */
    static void putTransposed(MemorySegment y, MemorySegment x, int rows, int cols, boolean add) {
        for (int c = 0; c < cols; c++) {
            for (int r = 0; r < rows; r++) {
                long to = (long) c * rows + r;
                float v = x.getAtIndex(JAVA_FLOAT, (long) r * cols + c);
                y.setAtIndex(JAVA_FLOAT, to, add ? v + y.getAtIndex(JAVA_FLOAT, to) : v);
            }
        }
    }

    /** to[c, r] = from[r, c] for a [rows, cols] piece, {@code apart} and {@code toApart} floats from row to row. */
    static void transpose(float[] from, int apart, int rows, int cols, float[] to, int toAt, int toApart) {
        int wholeRows = WIDE ? rows & -8 : 0, wholeCols = cols & -8;
        for (int r = 0; r < wholeRows; r += 8) {
            for (int c = 0; c < wholeCols; c += 8) {
                transpose8(from, r * apart + c, apart, to, toAt + c * toApart + r, toApart);
            }
        }
        for (int r = 0; r < rows; r++) {
            for (int c = r < wholeRows ? wholeCols : 0; c < cols; c++) {
                to[toAt + c * toApart + r] = from[r * apart + c];
            }
        }
    }

    private static VectorShuffle<Float> swap(int bit) {
        return VectorShuffle.fromOp(EIGHT, i -> i ^ bit);
    }

    private static VectorMask<Float> high(int bit) {
        return VectorMask.fromLong(EIGHT, bit == 4 ? 0xF0 : bit == 2 ? 0xCC : 0xAA);
    }

    /** An 8 x 8 block: three rounds, each of which swaps the off-diagonal halves, quarters, eighths of pairs of rows. */
    private static void transpose8(float[] from, int at, int apart, float[] to, int toAt, int toApart) {
        FloatVector r0 = FloatVector.fromArray(EIGHT, from, at);
        FloatVector r1 = FloatVector.fromArray(EIGHT, from, at + apart);
        FloatVector r2 = FloatVector.fromArray(EIGHT, from, at + 2 * apart);
        FloatVector r3 = FloatVector.fromArray(EIGHT, from, at + 3 * apart);
        FloatVector r4 = FloatVector.fromArray(EIGHT, from, at + 4 * apart);
        FloatVector r5 = FloatVector.fromArray(EIGHT, from, at + 5 * apart);
        FloatVector r6 = FloatVector.fromArray(EIGHT, from, at + 6 * apart);
        FloatVector r7 = FloatVector.fromArray(EIGHT, from, at + 7 * apart);
        FloatVector c0 = r4.blend(r0, HIGH4).rearrange(SWAP4),
                c1 = r5.blend(r1, HIGH4).rearrange(SWAP4);
        FloatVector c2 = r6.blend(r2, HIGH4).rearrange(SWAP4),
                c3 = r7.blend(r3, HIGH4).rearrange(SWAP4);
        r0 = r0.blend(c0, HIGH4);
        r1 = r1.blend(c1, HIGH4);
        r2 = r2.blend(c2, HIGH4);
        r3 = r3.blend(c3, HIGH4);
        r4 = c0.blend(r4, HIGH4);
        r5 = c1.blend(r5, HIGH4);
        r6 = c2.blend(r6, HIGH4);
        r7 = c3.blend(r7, HIGH4);
        c0 = r2.blend(r0, HIGH2).rearrange(SWAP2);
        c1 = r3.blend(r1, HIGH2).rearrange(SWAP2);
        c2 = r6.blend(r4, HIGH2).rearrange(SWAP2);
        c3 = r7.blend(r5, HIGH2).rearrange(SWAP2);
        r0 = r0.blend(c0, HIGH2);
        r1 = r1.blend(c1, HIGH2);
        r2 = c0.blend(r2, HIGH2);
        r3 = c1.blend(r3, HIGH2);
        r4 = r4.blend(c2, HIGH2);
        r5 = r5.blend(c3, HIGH2);
        r6 = c2.blend(r6, HIGH2);
        r7 = c3.blend(r7, HIGH2);
        c0 = r1.blend(r0, HIGH1).rearrange(SWAP1);
        c1 = r3.blend(r2, HIGH1).rearrange(SWAP1);
        c2 = r5.blend(r4, HIGH1).rearrange(SWAP1);
        c3 = r7.blend(r6, HIGH1).rearrange(SWAP1);
        r0.blend(c0, HIGH1).intoArray(to, toAt);
        c0.blend(r1, HIGH1).intoArray(to, toAt + toApart);
        r2.blend(c1, HIGH1).intoArray(to, toAt + 2 * toApart);
        c1.blend(r3, HIGH1).intoArray(to, toAt + 3 * toApart);
        r4.blend(c2, HIGH1).intoArray(to, toAt + 4 * toApart);
        c2.blend(r5, HIGH1).intoArray(to, toAt + 5 * toApart);
        r6.blend(c3, HIGH1).intoArray(to, toAt + 6 * toApart);
        c3.blend(r7, HIGH1).intoArray(to, toAt + 7 * toApart);
    }
}
