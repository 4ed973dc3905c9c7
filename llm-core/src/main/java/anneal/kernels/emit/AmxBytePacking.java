package anneal.kernels.emit;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/** Rows of signed bytes as panels of the left operand of {@link AmxProduct.Form#BYTES}: [step of 64 depths][row 32][64]. */
public final class AmxBytePacking {
    private static final int WORD = 4, WIDTH = AmxProduct.WIDTH;

    private final MethodHandle rows;

    /** Emits the function; the code lives as long as the arena. */
    public AmxBytePacking(Arena arena) {
        rows = CodeBuffer.function(arena, AmxPackingCode.bytes(), Packing.SIGNATURE);
    }

    /**
     * Rows of src as panels; depths past the end become 0, rows past the end of a panel are not written.
     *
     * @param dst panels
     * @param apartDst words from panel to panel
     * @param src bytes [rows, depth]
     * @param apartSrc bytes from row to row of src
     * @throws IndexOutOfBoundsException if a segment is too short
     */
    public void rows(MemorySegment dst, long apartDst, MemorySegment src, long apartSrc, int rows, int depth) {
        long panel = (long) WIDTH * AmxProduct.Form.BYTES.words(depth);
        MemorySegment to = dst.asSlice(0, Packing.bytes((rows + WIDTH - 1) / WIDTH, apartDst, panel));
        MemorySegment from = src.asSlice(0, Packing.bytes(rows, apartSrc, depth) / WORD);
        if (to.byteSize() == 0) {
            return;
        }
        try {
            this.rows.invokeExact(to, WORD * apartDst, from, apartSrc, (long) rows, (long) depth);
        } catch (Throwable e) {
            throw CodeBuffer.failure(e);
        }
    }
}
