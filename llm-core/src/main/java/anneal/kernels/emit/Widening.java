package anneal.kernels.emit;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/**
 * Turns stored numbers that lie one after the other into floats: what {@code Matrix.widen} does, outside the heap and with the
 * same operations in the same order, so that values are equal to the bit. A NaN stays one, its payload may differ.
 */
public final class Widening {
    /** How numbers are stored: plain 16-bit floats, and GGUF's blocks as {@code BlockFormat} says what they mean. */
    public enum Format {
        /** IEEE halves. */
        F16(1, 2),
        /** Upper halves of floats. */
        BF16(1, 2),
        /** Half d, 16 bytes of codes: d (q - 8). */
        Q4_0(32, 18),
        /** Halves d and m, 16 bytes of codes: d q + m. */
        Q4_1(32, 20),
        /** Half d, 32 signed bytes: d q. */
        Q8_0(32, 34),
        /** Halves d and dmin, 12 bytes of 8 scales and minima, 128 bytes of codes: d s q - dmin m. */
        Q4_K(256, 144),
        /** 128 bytes of lower and 64 of upper bits, 16 scales, half d: d s (q - 32). */
        Q6_K(256, 210);

        private final int size;
        private final int bytes;

        Format(int size, int bytes) {
            this.size = size;
            this.bytes = bytes;
        }

        /** Numbers of a block; 1 where there are none. */
        public int size() {
            return size;
        }

        /** Bytes of a block. */
        public int bytes() {
            return bytes;
        }
    }

    private static final FunctionDescriptor SIGNATURE =
            FunctionDescriptor.ofVoid(ADDRESS, ADDRESS, JAVA_LONG, JAVA_LONG, JAVA_LONG);

    private final Format format;
    private final MethodHandle call;

    /** Emits the function of a format for a level of the processor; the code lives as long as the arena. */
    public Widening(Format format, Level level, Arena arena) {
        this.format = format;
        this.call = CodeBuffer.function(arena, WideningCode.of(format, level), SIGNATURE);
    }

    /**
     * dst[0 .. count) = the first numbers of src.
     *
     * @param dst floats
     * @param src the first block's bytes and what follows
     * @param count whole blocks of numbers
     * @throws IndexOutOfBoundsException if a segment is too short
     */
    public void widen(MemorySegment dst, MemorySegment src, int count) {
        rows(dst, src, 0, 1, count);
    }

    /**
     * dst[i, 0 .. count) = the first numbers of row i: a narrow piece of a matrix in one call.
     *
     * @param dst floats [rows, count]
     * @param src the first block's bytes and what follows
     * @param apart bytes from row to row of src
     * @param count whole blocks of numbers
     * @throws IndexOutOfBoundsException if a segment is too short
     */
    public void rows(MemorySegment dst, MemorySegment src, long apart, int rows, int count) {
        if (count % format.size != 0) {
            throw new IllegalArgumentException(
                    "emit: " + count + " numbers of " + format + " are no whole blocks of " + format.size);
        }
        long blocks = count / format.size, bytes = blocks * format.bytes;
        if (rows > 1 && apart < bytes) {
            throw new IllegalArgumentException("emit: rows of " + bytes + " bytes overlap when " + apart + " apart");
        }
        if (blocks == 0 || rows <= 0) {
            return;
        }
        MemorySegment to = dst.asSlice(0, 4L * rows * count), from = src.asSlice(0, apart * (rows - 1) + bytes);
        try {
            call.invokeExact(to, from, blocks, (long) rows, apart - bytes);
        } catch (Throwable e) {
            throw CodeBuffer.failure(e);
        }
    }
}
