package anneal.kernels;

import static anneal.kernels.LittleEndian.u8;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;

import java.lang.foreign.MemorySegment;
import java.util.List;

/**
 * A matrix whose numbers are a scale times one of 16 values: NF4 and FP4. Number i of the row-major order has its code in byte
 * i / 2, the even ones in the upper four bits, and its scale at i / blockSize, as bitsandbytes stores it.
 *
 * @param codes rows * cols / 2 bytes
 * @param scales one float for each block
 * @param blockSize numbers that share a scale; whole blocks make a row
 * @param values the 16 values
 */
public record CodebookMatrix(
        MemorySegment codes, MemorySegment scales, int rows, int cols, int blockSize, List<Float> values)
        implements Matrix {
    /** Numbers that code widens together. */
    private static final int GROUP = 32;

    /** The 16 quantiles of a normal distribution, scaled to [-1, 1]: Dettmers et al., arXiv:2305.14314, appendix E. */
    public static final List<Float> NF4 = List.of(
            -1f,
            -0.6961928009986877f,
            -0.5250730514526367f,
            -0.39491748809814453f,
            -0.28444138169288635f,
            -0.18477343022823334f,
            -0.09105003625154495f,
            0f,
            0.07958029955625534f,
            0.16093020141124725f,
            0.24611230194568634f,
            0.33791524171829224f,
            0.44070982933044434f,
            0.5626170039176941f,
            0.7229568362236023f,
            1f);

    /** Rejects rows that are no whole number of blocks, and blocks that share a byte. */
    public CodebookMatrix {
        if (blockSize <= 0 || blockSize % GROUP != 0 || cols % blockSize != 0) {
            throw new IllegalArgumentException("CodebookMatrix: rows of " + cols + " numbers are no whole blocks of "
                    + blockSize + ", a multiple of " + GROUP);
        }
        if (values.size() != 16) {
            throw new IllegalArgumentException("CodebookMatrix: there must be 16 values, not " + values.size());
        }
        values = List.copyOf(values);
    }

    @Override
    public void widen(int row, int col, int count, float[] dst, int at) {
        long from = (long) row * cols + col;
        float[] table = new float[16];
        for (int i = 0; i < 16; i++) {
            table[i] = values.get(i);
        }
        for (int i = 0; i < count; i += 2) {
            float scale = scales.getAtIndex(JAVA_FLOAT_UNALIGNED, (from + i) / blockSize);
            int both = u8(codes, (from + i) / 2);
            dst[at + i] = table[both >> 4] * scale;
            dst[at + i + 1] = table[both & 15] * scale;
        }
    }

    @Override
    public int block() {
        return GROUP;
    }

    @Override
    public long bytes() {
        long numbers = (long) rows * cols;
        return numbers / 2 + 4 * (numbers / blockSize);
    }
}
