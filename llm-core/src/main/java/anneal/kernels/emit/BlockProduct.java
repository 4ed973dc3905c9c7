package anneal.kernels.emit;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/**
 * A function that multiplies a block: y[rows, cols] = alpha a b (+ y), in tiles of {@link #rows} x {@link #cols} sums that stay in
 * registers while the depth runs.
 *
 * <p>Memory is counted in words of four bytes; what a word holds, and how the operands lie, is the subclass' affair. The right
 * operand is packed: a strip holds {@link #cols} columns, and strips follow each other. One call does all tiles of a block, so that
 * what a call costs (60 ns) is nothing.
 *
 * <p>The depth may lie in two parts, each with a left operand of its own, one after the other in the strips: a product with an
 * addition of low rank. Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008, for the blocks.
 */
public abstract sealed class BlockProduct permits TileProduct, AmxProduct {
    /**
     * A left operand.
     *
     * @param stride bytes from one row (or panel) to the next
     * @param depth words of a row
     */
    public record Left(MemorySegment words, long stride, int depth) {
        /** Rejects what would read before the words. */
        public Left {
            if (stride < 0 || depth < 0) {
                throw new IllegalArgumentException("emit: " + depth + " words of rows " + stride + " bytes apart");
            }
        }
    }

    /** The code reads the arguments' addresses from the first segment; the others are passed so that the JVM keeps them. */
    private static final FunctionDescriptor SIGNATURE =
            FunctionDescriptor.ofVoid(ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS);

    static final long WORD = 4;

    /** What a call finds in memory: offsets of its arguments. */
    static final int Y = 0, Y_STRIDE = 8, ROWS = 16, COLS = 24, STRIPS = 32, ALPHA = 40, ADD = 48, MASK = 56;
    /** Offsets of a left operand's arguments, the first at LEFT, the second {@link #LEFT_SIZE} bytes on. */
    static final int LEFT = 64, A = 0, A_STRIDE = 8, DEPTH = 16, LEFT_SIZE = 24;
    /** Where the sums of a tile may be put: at a line of the cache if the arguments are. */
    static final int SUMS = 128;
    /** Bytes of memory that {@link #multiply} needs for its arguments. */
    public static final int ARGUMENT_BYTES = SUMS + 4 * 32 * 32;

    private final MethodHandle call;

    BlockProduct(Arena arena, byte[] code) {
        call = CodeBuffer.longFunction(arena, code, SIGNATURE);
    }

    /** Rows of a tile. */
    public abstract int rows();

    /** Columns of a tile, and of a strip. */
    public abstract int cols();

    /** Rows of the left operand that lie together: of a panel, or 1. */
    public abstract int together();

    /** Words of a strip whose columns have so many. */
    public abstract long stripWords(int depth);

    /** Most words of a depth that is not cut: a tile's rows of it stay in a near cache. */
    public abstract int deepest();

    /** Words of a packed right block that stay in the second-level cache while all rows pass by. */
    public abstract int blockWords();

    /** Writes into the arguments which columns of the last tile there are. */
    abstract void mask(MemorySegment arguments, int columns);

    /**
     * y = alpha a b, or y += alpha a b.
     *
     * @param arguments {@link #ARGUMENT_BYTES} of memory that this thread alone uses
     * @param y rows of {@code cols} floats (or 32-bit integers) that begin {@code stride} bytes after each other
     * @param a the left operand, or two whose depths follow each other
     * @param strips ceil(cols / {@link #cols}) strips, as deep as the left operands together
     * @param alpha 1 where sums are integers
     * @throws IndexOutOfBoundsException if a segment is too short
     */
    public void multiply(
            MemorySegment arguments,
            MemorySegment y,
            long stride,
            int rows,
            int cols,
            MemorySegment strips,
            float alpha,
            boolean add,
            Left... a) {
        if (rows <= 0 || cols <= 0) {
            return;
        }
        if (stride < 0) {
            throw new IllegalArgumentException("emit: rows " + stride + " bytes apart");
        }
        if (a.length > 2) {
            throw new IllegalArgumentException("emit: " + a.length + " left operands, there can be two");
        }
        MemorySegment own = arguments.asSlice(0, ARGUMENT_BYTES);
        MemorySegment[] lefts = new MemorySegment[2];
        int depth = 0;
        for (int i = 0; i < 2; i++) {
            MemorySegment part = own.asSlice(LEFT + (long) i * LEFT_SIZE, LEFT_SIZE);
            Left left = i < a.length ? a[i] : null;
            boolean there = left != null && left.depth > 0;
            lefts[i] = there ? checked(left, rows) : MemorySegment.NULL;
            part.set(JAVA_LONG, A, lefts[i].address());
            part.set(JAVA_LONG, A_STRIDE, there ? left.stride : 0);
            part.set(JAVA_LONG, DEPTH, there ? left.depth : 0);
            depth += there ? left.depth : 0;
        }
        int strip = cols();
        MemorySegment to = y.asSlice(0, stride * (rows - 1) + WORD * cols);
        MemorySegment from = strips.asSlice(0, WORD * ((cols + strip - 1) / strip) * stripWords(depth));
        own.set(JAVA_LONG, Y, to.address());
        own.set(JAVA_LONG, Y_STRIDE, stride);
        own.set(JAVA_LONG, ROWS, rows);
        own.set(JAVA_LONG, COLS, cols);
        own.set(JAVA_LONG, STRIPS, from.address());
        own.set(JAVA_FLOAT, ALPHA, alpha);
        own.set(JAVA_LONG, ADD, add ? 1 : 0);
        mask(own, (cols - 1) % strip + 1);
        try {
            call.invokeExact(own, to, from, lefts[0], lefts[1]);
        } catch (Throwable e) {
            throw CodeBuffer.failure(e);
        }
    }

    MemorySegment checked(Left a, int rows) {
        int high = together();
        return a.words.asSlice(0, a.stride * ((rows - 1) / high) + WORD * high * a.depth);
    }

    /** Bits for the columns of two vectors of 16. */
    static void bits(MemorySegment arguments, int columns) {
        arguments.set(JAVA_LONG, MASK, (1L << Math.min(columns, 16)) - 1 | (1L << Math.max(columns - 16, 0)) - 1 << 32);
    }
}
