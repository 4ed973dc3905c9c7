package anneal.kernels.emit;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/**
 * Brings the operands of an emitted matrix product into panels: the order, and the form of each number, that it reads.
 *
 * <p>A panel holds words of four bytes. The left operand is rows of words. The right operand is strips: for each depth
 * {@link TileProduct#cols} words side by side, columns past the end are 0.
 */
public final class Packing implements Operands {
    /** What a word of a panel is. */
    public enum Form {
        /** A float. */
        F32(1),
        /**
         * A float that was rounded to bf16: its lower half is 0. To nearest even; NaN stays NaN, quiet; denormals become 0 of
         * their sign, as AVX-512 BF16 has it, at all levels.
         */
        ROUNDED(1),
        /** Two depths, each rounded so, the even one in the lower half; an odd depth at the end is joined by a 0. */
        BF16_PAIRS(2);

        private final int depths;

        Form(int depths) {
            this.depths = depths;
        }

        /** Depths in a word. */
        public int depths() {
            return depths;
        }

        /** Words that hold so many depths. */
        public int words(int depth) {
            return (depth + depths - 1) / depths;
        }
    }

    /** (to, bytes from strip to strip or row to row of it, from, bytes from row to row of it, rows, floats of a row). */
    static final FunctionDescriptor SIGNATURE =
            FunctionDescriptor.ofVoid(ADDRESS, JAVA_LONG, ADDRESS, JAVA_LONG, JAVA_LONG, JAVA_LONG);

    private static final int WORD = 4;

    private final Form form;
    private final int columns;
    private final int panel;
    private final MethodHandle stripOfRows, stripsOfColumns, rows, panelsOfColumns;

    /** Emits the functions of a form for a level of the processor; the code lives as long as the arena. */
    public Packing(Level level, Form form, Arena arena) {
        this.form = form;
        this.columns = TileProduct.cols(level);
        this.stripOfRows = CodeBuffer.function(arena, PackingCode.stripOfRows(level, form), SIGNATURE);
        this.stripsOfColumns = CodeBuffer.function(arena, PackingCode.stripsOfColumns(level, form), SIGNATURE);
        this.rows = CodeBuffer.function(arena, PackingCode.rows(level, form), SIGNATURE);
        this.panel = TileProduct.rows(level);
        this.panelsOfColumns = CodeBuffer.function(arena, PanelCode.panelsOfColumns(level, form), SIGNATURE);
    }

    @Override
    public int words(int depth) {
        return form.words(depth);
    }

    @Override
    public int step() {
        return form.depths();
    }

    /**
     * Rows of src become columns of one strip: dst[p, j] = src[j, p], 0 for j from {@code rows} on.
     *
     * @param dst words [words(depth), columns]
     * @param src floats [rows, depth]
     * @param apart floats from row to row of src
     * @param rows at most {@link TileProduct#cols}
     * @throws IndexOutOfBoundsException if a segment is too short
     */
    @Override
    public void stripOfRows(MemorySegment dst, MemorySegment src, long apart, int rows, int depth) {
        if (rows > columns) {
            throw new IllegalArgumentException("emit: " + rows + " rows do not fit a strip of " + columns);
        }
        MemorySegment to = dst.asSlice(0, (long) WORD * columns * form.words(depth));
        call(stripOfRows, to, 0, src.asSlice(0, bytes(rows, apart, depth)), apart, rows, depth);
    }

    /**
     * Columns of src as strips: dst[strip s, p, j] = src[p, columns s + j], 0 where that is past {@code cols}.
     *
     * @param dst strips of words [words(depth), columns]
     * @param apartDst words from strip to strip
     * @param src floats [depth, cols]
     * @param apartSrc floats from row to row of src
     * @throws IndexOutOfBoundsException if a segment is too short
     */
    @Override
    public void stripsOfColumns(
            MemorySegment dst, long apartDst, MemorySegment src, long apartSrc, int cols, int depth) {
        int strips = (cols + columns - 1) / columns;
        MemorySegment to = dst.asSlice(0, bytes(strips, apartDst, (long) columns * form.words(depth)));
        call(stripsOfColumns, to, apartDst, src.asSlice(0, bytes(depth, apartSrc, cols)), apartSrc, depth, cols);
    }

    /**
     * Rows of src as rows of words: dst[i, p] = src[i, p].
     *
     * @param dst words [rows, words(depth)]; what lies between its rows is left alone
     * @param apartDst words from row to row of dst
     * @param src floats [rows, depth]
     * @param apartSrc floats from row to row of src
     * @throws IndexOutOfBoundsException if a segment is too short
     */
    @Override
    public void rows(MemorySegment dst, long apartDst, MemorySegment src, long apartSrc, int rows, int depth) {
        MemorySegment to = dst.asSlice(0, bytes(rows, apartDst, form.words(depth)));
        call(this.rows, to, apartDst, src.asSlice(0, bytes(rows, apartSrc, depth)), apartSrc, rows, depth);
    }

    /**
     * Columns of src as panels, a tile's rows of the left operand each: dst[panel s, p, i] = src[p, rows s + i], 0 where that is
     * past {@code cols}.
     *
     * @param dst panels of words [words(depth), {@link TileProduct#rows}]
     * @param apartDst words from panel to panel
     * @param src floats [depth, cols]
     * @param apartSrc floats from row to row of src
     * @throws IndexOutOfBoundsException if a segment is too short
     */
    @Override
    public void panelsOfColumns(
            MemorySegment dst, long apartDst, MemorySegment src, long apartSrc, int cols, int depth) {
        int panels = (cols + panel - 1) / panel;
        MemorySegment to = dst.asSlice(0, bytes(panels, apartDst, (long) panel * form.words(depth)));
        call(panelsOfColumns, to, apartDst, src.asSlice(0, bytes(depth, apartSrc, cols)), apartSrc, depth, cols);
    }

    /** Bytes from the first to the last of {@code length} words in each of {@code lines} lines. */
    static long bytes(int lines, long apart, long length) {
        if (lines < 0 || length < 0) {
            throw new IllegalArgumentException("emit: there are no " + lines + " lines of " + length + " words");
        }
        if (lines > 1 && apart < length) {
            throw new IllegalArgumentException("emit: lines of " + length + " words overlap when " + apart + " apart");
        }
        return lines == 0 ? 0 : WORD * ((lines - 1) * apart + length);
    }

    static void call(
            MethodHandle function,
            MemorySegment to,
            long apartTo,
            MemorySegment from,
            long apart,
            int rows,
            int count) {
        if (to.byteSize() == 0) {
            return;
        }
        try {
            function.invokeExact(to, WORD * apartTo, from, WORD * apart, (long) rows, (long) count);
        } catch (Throwable e) {
            throw CodeBuffer.failure(e);
        }
    }
}
