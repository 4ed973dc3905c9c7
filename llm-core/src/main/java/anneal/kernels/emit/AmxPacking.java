package anneal.kernels.emit;

import anneal.kernels.emit.AmxProduct.Form;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/**
 * Brings the operands of {@link AmxProduct} into panels and strips of 32 rows or columns, and splits floats into one or three bf16.
 *
 * <pre>
 * x0 = bf16(x)   x1 = bf16(x - x0)   x2 = bf16(x - x0 - x1)        to nearest even, denormals 0
 *
 * step of 32 depths: [part][row 32][32 depths] on the left, [part][2][pair of depths 16][column 16][2] on the right
 * </pre>
 *
 * <p>Of three parts x0 is never above the largest bf16, so that the largest floats, which would be infinite if rounded, are still the
 * sum of theirs; then it is x1 that is infinite, or NaN, where x is. Depths past the end become 0. Rows past the end of a panel are not
 * written: their sums are never read.
 */
public final class AmxPacking implements Operands {
    /** Depths that are turned at a time: they stay in the nearest cache. */
    private static final int TURNED = 4 * AmxPackingCode.STEP;

    private static final int WORD = 4, WIDTH = AmxProduct.WIDTH, STEP = AmxPackingCode.STEP;

    /** Floats whose rows and columns were exchanged, on their way; a thread's own. */
    private final ThreadLocal<MemorySegment> turned =
            ThreadLocal.withInitial(() -> Arena.ofAuto().allocate((long) WORD * WIDTH * TURNED, 64));

    private final Form form;
    private final Packing turn;
    private final MethodHandle rows, columns;

    /** Emits the functions for a form that floats can have; the code lives as long as the arena. */
    public AmxPacking(Form form, Arena arena) {
        if (form == Form.BYTES) {
            throw new IllegalArgumentException("emit: floats do not become bytes here");
        }
        this.form = form;
        this.turn = new Packing(Level.AMX, Packing.Form.F32, arena);
        this.rows = CodeBuffer.function(arena, AmxPackingCode.rows(form.parts), Packing.SIGNATURE);
        this.columns = CodeBuffer.function(arena, AmxPackingCode.columns(form.parts), Packing.SIGNATURE);
    }

    @Override
    public int words(int depth) {
        return form.words(depth);
    }

    @Override
    public int step() {
        return STEP;
    }

    @Override
    public void stripOfRows(MemorySegment dst, MemorySegment src, long apart, int rows, int depth) {
        MemorySegment piece = turned.get();
        for (int p = 0; p < depth; p += TURNED) {
            int some = Math.min(TURNED, depth - p);
            turn.stripOfRows(piece, src.asSlice((long) WORD * p), apart, rows, some);
            stripsOfColumns(dst.asSlice((long) WORD * WIDTH * words(p)), 0, piece, WIDTH, WIDTH, some);
        }
    }

    @Override
    public void stripsOfColumns(
            MemorySegment dst, long apartDst, MemorySegment src, long apartSrc, int cols, int depth) {
        int strips = (cols + WIDTH - 1) / WIDTH;
        MemorySegment to = dst.asSlice(0, Packing.bytes(strips, apartDst, (long) WIDTH * words(depth)));
        MemorySegment from = src.asSlice(0, Packing.bytes(depth, apartSrc, cols));
        Packing.call(columns, to, apartDst, from, apartSrc, depth, cols);
    }

    @Override
    public void rows(MemorySegment dst, long apartDst, MemorySegment src, long apartSrc, int rows, int depth) {
        int panels = (rows + WIDTH - 1) / WIDTH;
        MemorySegment to = dst.asSlice(0, Packing.bytes(panels, apartDst, (long) WIDTH * words(depth)));
        MemorySegment from = src.asSlice(0, Packing.bytes(rows, apartSrc, depth));
        Packing.call(this.rows, to, apartDst, from, apartSrc, rows, depth);
    }

    @Override
    public void panelsOfColumns(
            MemorySegment dst, long apartDst, MemorySegment src, long apartSrc, int cols, int depth) {
        MemorySegment piece = turned.get();
        for (int c = 0; c < cols; c += TURNED) {
            int some = Math.min(TURNED, cols - c);
            for (int p = 0; p < depth; p += STEP) {
                int deep = Math.min(STEP, depth - p);
                turn.stripOfRows(piece, src.asSlice(WORD * (p * apartSrc + c)), apartSrc, deep, some);
                MemorySegment to = dst.asSlice(WORD * (c / WIDTH * apartDst + (long) WIDTH * words(p)));
                rows(to, apartDst, piece, STEP, some, STEP);
            }
        }
    }
}
