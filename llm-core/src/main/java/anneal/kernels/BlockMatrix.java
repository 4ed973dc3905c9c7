package anneal.kernels;

import java.lang.foreign.MemorySegment;

/**
 * A quantised matrix in one of GGUF's block formats, read in place: each row is a sequence of whole blocks.
 *
 * @param data rows * cols / 32 or / 256 blocks, at any alignment
 * @param format how a block is laid out
 */
public record BlockMatrix(MemorySegment data, int rows, int cols, BlockFormat format) implements Matrix {
    /** Rejects rows that are no whole number of blocks. */
    public BlockMatrix {
        if (cols % format.size() != 0) {
            throw new IllegalArgumentException("BlockMatrix: rows of " + cols + " numbers are no whole blocks of "
                    + format.size() + " (" + format + ")");
        }
    }

    @Override
    public void widen(int row, int col, int count, float[] dst, int at) {
        long from = offset(row, col);
        for (int i = 0; i < count; i += format.size()) {
            format.widen(data, from, dst, at + i);
            from += format.bytes();
        }
    }

    /** Byte offset of the block that starts at [row, col]. */
    long offset(int row, int col) {
        return ((long) row * cols + col) / format.size() * format.bytes();
    }

    @Override
    public int block() {
        return format.size();
    }

    @Override
    public long bytes() {
        return offset(rows, 0);
    }
}
