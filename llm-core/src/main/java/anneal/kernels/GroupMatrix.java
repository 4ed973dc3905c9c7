package anneal.kernels;

import static anneal.kernels.LittleEndian.FLOAT;
import static anneal.kernels.LittleEndian.u8;

import java.lang.foreign.MemorySegment;

/**
 * Integers with a scale and a zero for each group of a row: (code - zero) * scale.
 *
 * <p>Codes of up to 4 bits stand two in a byte, the first one in the lower four bits; longer ones have a byte each.
 *
 * @param codes unsigned, row after row; with codes of 4 bits rows are whole bytes
 * @param scales one float for each group
 * @param zeros one byte for each group: the code of 0
 * @param group numbers of a row that share scale and zero; whole groups make a row
 * @param bits of a code, 2 to 8
 */
public record GroupMatrix(
        MemorySegment codes, MemorySegment scales, MemorySegment zeros, int rows, int cols, int group, int bits)
        implements Matrix {
    /** Rejects rows that are no whole number of groups, and of bytes. */
    public GroupMatrix {
        if (bits < 2 || bits > 8) {
            throw new IllegalArgumentException("GroupMatrix: codes have 2 to 8 bits, not " + bits);
        }
        if (group <= 0 || cols % group != 0) {
            throw new IllegalArgumentException(
                    "GroupMatrix: rows of " + cols + " numbers are no whole groups of " + group);
        }
        if (bits <= 4 && cols % 2 != 0) {
            throw new IllegalArgumentException("GroupMatrix: rows of " + cols + " codes of 4 bits are no whole bytes");
        }
    }

    /** True if two codes share a byte. */
    boolean pairs() {
        return bits <= 4;
    }

    /** Byte in which the code at [row, col] stands. */
    long offset(int row, int col) {
        long number = (long) row * cols + col;
        return pairs() ? number / 2 : number;
    }

    /** Index of the group in which [row, col] stands. */
    long groupOf(int row, int col) {
        return ((long) row * cols + col) / group;
    }

    /** The scale of a group. */
    float scale(long index) {
        return scales.get(FLOAT, 4 * index);
    }

    /** The code of 0 in a group. */
    int zero(long index) {
        return u8(zeros, index);
    }

    /** The code at [row, col]. */
    public int code(int row, int col) {
        int b = u8(codes, offset(row, col));
        return pairs() ? b >> col % 2 * 4 & 15 : b;
    }

    @Override
    public void widen(int row, int col, int count, float[] dst, int at) {
        for (int i = 0; i < count; ) {
            long index = groupOf(row, col + i);
            float scale = scale(index);
            int zero = zero(index), stop = Math.min(count, i + group - (col + i) % group);
            for (; i < stop; i++) {
                dst[at + i] = (code(row, col + i) - zero) * scale;
            }
        }
    }

    @Override
    public long bytes() {
        return offset(rows, 0) + 5 * groupOf(rows, 0);
    }
}
