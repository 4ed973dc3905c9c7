package anneal.kernels.emit;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/**
 * y[j] = inner product of row j of a stored matrix with x, for rows that lie one after the other: decoding's product. Each
 * weight is read once, in its stored form, and becomes a float, or a byte, in a register.
 *
 * <p>x is taken as floats, or rounded to 8 bits: x_i = d q_i with d = max |x| / 127 over each 32 numbers. Products of codes are
 * integers then, exact, and their sums of four become floats. Where a block's numbers are d q + m, its
 * part is d sum(q x) + m sum(x), and sum(x), that of the rounded x, is the same for all rows.
 */
public final class RowProducts {
    /** How numbers are stored: blocks of GGUF's formats, of one or eight groups of 32. See {@link anneal.kernels.BlockFormat}. */
    public enum Layout {
        /** Half d, 16 bytes of codes: d (q - 8). */
        Q4_0(18, 1, 8, false),
        /** Halves d and m, 16 bytes of codes: d q + m. */
        Q4_1(20, 1, 0, true),
        /** Half d, 4 bytes of fifth bits, 16 bytes of codes: d (q - 16). */
        Q5_0(22, 1, 16, false),
        /** Halves d and m, 4 bytes of fifth bits, 16 bytes of codes: d q + m. */
        Q5_1(24, 1, 0, true),
        /** Half d, 32 signed bytes: d q. */
        Q8_0(34, 1, 0, false),
        /** Halves d and dmin, scales and minima of six bits, 128 bytes of codes: d s q - dmin m. */
        Q4_K(144, 8, 0, true),
        /** As Q4_K with 32 bytes of fifth bits before the codes. */
        Q5_K(176, 8, 0, true),
        /** 128 bytes of lower and 64 of upper bits of codes, scales of 16 numbers, half d: d s (q - 32). */
        Q6_K(210, 8, 32, false);

        private final int bytes;
        private final int groups;
        private final int offset;
        private final boolean minimum;

        Layout(int bytes, int groups, int offset, boolean minimum) {
            this.bytes = bytes;
            this.groups = groups;
            this.offset = offset;
            this.minimum = minimum;
        }

        /** Bytes of a block. */
        public int bytes() {
            return bytes;
        }

        /** Numbers of a block. */
        public int size() {
            return GROUP * groups;
        }

        /** Groups of 32 numbers in a block. */
        int groups() {
            return groups;
        }

        /** What is subtracted from a code. */
        int offset() {
            return offset;
        }

        /** True if groups have a minimum. */
        boolean minimum() {
            return minimum;
        }
    }

    /** Numbers of a group: what has one factor, except in Q6_K, and one scale of x. */
    static final int GROUP = 32;

    private static final int FLOAT = 4;
    private static final FunctionDescriptor SIGNATURE =
            FunctionDescriptor.ofVoid(ADDRESS, ADDRESS, ADDRESS, ADDRESS, JAVA_LONG, JAVA_LONG);

    private final Layout layout;
    private final RowInput input;
    private final MethodHandle call;
    private final MethodHandle prepare;

    /** Emits the product of a layout with floats; the code lives as long as the arena. */
    public RowProducts(Layout layout, Level level, Arena arena) {
        this(layout, false, level, arena);
    }

    /**
     * Emits the product of a layout; the code lives as long as the arena.
     *
     * @param eightBits round x to 8 bits
     */
    public RowProducts(Layout layout, boolean eightBits, Level level, Arena arena) {
        this.layout = layout;
        this.input = new RowInput(layout, eightBits);
        this.call = CodeBuffer.function(arena, new RowCode(input, level).bytes(), SIGNATURE);
        this.prepare = CodeBuffer.function(arena, input.code(), FunctionDescriptor.ofVoid(ADDRESS, ADDRESS, JAVA_LONG));
    }

    /** Bytes that {@link #prepare} needs for x of k floats. */
    public long preparedBytes(int k) {
        return (long) k / layout.size() * input.bytes();
    }

    /**
     * Writes what is the same for all rows.
     *
     * @param prepared {@link #preparedBytes} bytes
     * @param x k floats; as 8 bits, below 4e-37 they may become 0, and a number that is not finite makes the result of all rows
     *     not finite
     * @throws IndexOutOfBoundsException if a segment is too short
     */
    public void prepare(MemorySegment prepared, MemorySegment x, int k) {
        int blocks = blocks(k);
        if (blocks == 0 || input.bytes() == 0) {
            return;
        }
        MemorySegment from = x.asSlice(0, (long) FLOAT * k), to = prepared.asSlice(0, preparedBytes(k));
        try {
            prepare.invokeExact(from, to, (long) blocks);
        } catch (Throwable e) {
            throw CodeBuffer.failure(e);
        }
    }

    /**
     * y[0 .. rows) = w x.
     *
     * @param w the rows' blocks
     * @param x k floats
     * @param prepared what {@link #prepare} wrote
     * @throws IndexOutOfBoundsException if a segment is too short
     */
    public void multiply(MemorySegment y, MemorySegment w, MemorySegment x, MemorySegment prepared, int rows, int k) {
        int blocks = blocks(k);
        MemorySegment to = y.asSlice(0, (long) FLOAT * rows);
        if (blocks == 0) {
            to.fill((byte) 0);
            return;
        }
        try {
            call.invokeExact(
                    w.asSlice(0, (long) rows * blocks * layout.bytes),
                    x.asSlice(0, (long) FLOAT * k),
                    prepared.asSlice(0, preparedBytes(k)),
                    to,
                    (long) rows,
                    (long) blocks);
        } catch (Throwable e) {
            throw CodeBuffer.failure(e);
        }
    }

    private int blocks(int k) {
        if (k % layout.size() != 0) {
            throw new IllegalArgumentException("emit: " + k + " columns are no whole blocks of " + layout.size());
        }
        return k / layout.size();
    }
}
