package anneal.kernels;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import java.lang.foreign.MemorySegment;
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

    private static final VectorSpecies<Float> EIGHT = FloatVector.SPECIES_256;
    /** Transposing in registers needs vectors of eight floats. */
    private static final boolean WIDE = FloatVector.SPECIES_PREFERRED.length() >= 8;

    private static final VectorShuffle<Float> SWAP4 = swap(4), SWAP2 = swap(2), SWAP1 = swap(1);
    private static final VectorMask<Float> HIGH4 = high(4), HIGH2 = high(2), HIGH1 = high(1);

    private VectorPack() {}

    /** Rows [row, row + rows) of x [.., width], depths [from, from + depth), as the left operand. */
    static void rows(float[] a, MemorySegment x, int width, int row, int rows, int from, int depth) {
        for (int i = 0; i < rows; i++) {
            MemorySegment.copy(x, JAVA_FLOAT, 4 * ((long) (row + i) * width + from), a, i * STRIDE, depth);
        }
    }

    /** Columns [col, col + cols) of x [.., width], depths (rows of x) [from, from + depth), as the left operand. */
    static void columns(float[] a, MemorySegment x, int width, int col, int cols, int from, int depth) {
        float[] piece = VectorScratch.mine().piece(depth * cols);
        for (int p = 0; p < depth; p++) {
            MemorySegment.copy(x, JAVA_FLOAT, 4 * ((long) (from + p) * width + col), piece, p * cols, cols);
        }
        transpose(piece, cols, depth, cols, a, 0, STRIDE);
    }

    /** Rows [row, row + COLS) of w as a strip: what was a row of w becomes a column. Rows past the end become zeros. */
    static void stripOfRows(float[] strip, int at, Matrix w, int row, int from, int depth) {
        int rows = Math.min(COLS, w.rows() - row);
        float[] piece = VectorScratch.mine().piece(COLS * STRIDE);
        for (int i = 0; i < rows; i++) {
            w.widen(row + i, from, depth, piece, i * STRIDE);
        }
        for (int i = rows; i < COLS; i++) {
            Arrays.fill(piece, i * STRIDE, i * STRIDE + depth, 0);
        }
        transpose(piece, STRIDE, COLS, depth, strip, at, COLS);
    }

    /**
     * Columns [col, col + cols) of w as strips, one after the other; depths are rows [from, from + depth) of w. Columns past
     * the end become zeros.
     */
    static void stripsOfColumns(float[] strips, int at, Matrix w, int col, int cols, int from, int depth) {
        int padded = VectorGemm.roundUp(cols, COLS);
        float[] piece = VectorScratch.mine().piece(padded);
        Arrays.fill(piece, cols, padded, 0);
        for (int p = 0; p < depth; p++) {
            w.widen(from + p, col, cols, piece, 0);
            for (int c = 0; c < padded; c += COLS) {
                System.arraycopy(piece, c, strips, at + c * depth + p * COLS, COLS);
            }
        }
    }

    /** to[c, r] = from[r, c] for a [rows, cols] piece, {@code apart} and {@code toApart} floats from row to row. */
    private static void transpose(float[] from, int apart, int rows, int cols, float[] to, int toAt, int toApart) {
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
        FloatVector s0 = r0.blend(r4.rearrange(SWAP4), HIGH4),
                s4 = r0.rearrange(SWAP4).blend(r4, HIGH4);
        FloatVector s1 = r1.blend(r5.rearrange(SWAP4), HIGH4),
                s5 = r1.rearrange(SWAP4).blend(r5, HIGH4);
        FloatVector s2 = r2.blend(r6.rearrange(SWAP4), HIGH4),
                s6 = r2.rearrange(SWAP4).blend(r6, HIGH4);
        FloatVector s3 = r3.blend(r7.rearrange(SWAP4), HIGH4),
                s7 = r3.rearrange(SWAP4).blend(r7, HIGH4);
        r0 = s0.blend(s2.rearrange(SWAP2), HIGH2);
        r2 = s0.rearrange(SWAP2).blend(s2, HIGH2);
        r1 = s1.blend(s3.rearrange(SWAP2), HIGH2);
        r3 = s1.rearrange(SWAP2).blend(s3, HIGH2);
        r4 = s4.blend(s6.rearrange(SWAP2), HIGH2);
        r6 = s4.rearrange(SWAP2).blend(s6, HIGH2);
        r5 = s5.blend(s7.rearrange(SWAP2), HIGH2);
        r7 = s5.rearrange(SWAP2).blend(s7, HIGH2);
        r0.blend(r1.rearrange(SWAP1), HIGH1).intoArray(to, toAt);
        r0.rearrange(SWAP1).blend(r1, HIGH1).intoArray(to, toAt + toApart);
        r2.blend(r3.rearrange(SWAP1), HIGH1).intoArray(to, toAt + 2 * toApart);
        r2.rearrange(SWAP1).blend(r3, HIGH1).intoArray(to, toAt + 3 * toApart);
        r4.blend(r5.rearrange(SWAP1), HIGH1).intoArray(to, toAt + 4 * toApart);
        r4.rearrange(SWAP1).blend(r5, HIGH1).intoArray(to, toAt + 5 * toApart);
        r6.blend(r7.rearrange(SWAP1), HIGH1).intoArray(to, toAt + 6 * toApart);
        r6.rearrange(SWAP1).blend(r7, HIGH1).intoArray(to, toAt + 7 * toApart);
    }
}
