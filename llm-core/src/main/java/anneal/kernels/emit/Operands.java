package anneal.kernels.emit;

import java.lang.foreign.MemorySegment;

/**
 * Brings the operands of an emitted matrix product from floats into the order, and the form of each number, that it reads.
 *
 * <p>The left operand becomes rows or panels, the right one strips. Segments that are too short are an IndexOutOfBoundsException.
 */
public sealed interface Operands permits Packing, AmxPacking {
    /** Words that so many depths of a row or column become. */
    int words(int depth);

    /** Depths after which a packed operand can be cut. */
    int step();

    /**
     * Rows of src become columns of one strip.
     *
     * @param dst a strip
     * @param src floats [rows, depth]
     * @param apart floats from row to row of src
     * @param rows at most the columns of a strip; those that are missing become 0
     */
    void stripOfRows(MemorySegment dst, MemorySegment src, long apart, int rows, int depth);

    /**
     * Columns of src as strips; columns that are missing become 0.
     *
     * @param dst strips
     * @param apartDst words from strip to strip
     * @param src floats [depth, cols]
     * @param apartSrc floats from row to row of src
     */
    void stripsOfColumns(MemorySegment dst, long apartDst, MemorySegment src, long apartSrc, int cols, int depth);

    /**
     * Rows of src as rows, or panels of them.
     *
     * @param dst rows or panels; what lies between them is left alone
     * @param apartDst words from row to row, or from panel to panel
     * @param src floats [rows, depth]
     * @param apartSrc floats from row to row of src
     */
    void rows(MemorySegment dst, long apartDst, MemorySegment src, long apartSrc, int rows, int depth);

    /**
     * Columns of src as panels.
     *
     * @param dst panels
     * @param apartDst words from panel to panel
     * @param src floats [depth, cols]
     * @param apartSrc floats from row to row of src
     */
    void panelsOfColumns(MemorySegment dst, long apartDst, MemorySegment src, long apartSrc, int cols, int depth);
}
