package anneal.kernels;

import static anneal.kernels.LittleEndian.u8;

import java.lang.foreign.MemorySegment;
import java.util.List;

/**
 * A matrix whose numbers are a scale times one of 16 values: NF4 and FP4. Number i of the row-major order has its code in byte
 * i / 2, the even ones in the upper four bits, and its scale at i / blockSize, as bitsandbytes stores it: a block may run over the
 * end of a row.
 *
 * @param codes rows * cols / 2 bytes, rounded up
 * @param scales one for each block
 * @param blockSize numbers that share a scale, a multiple of 32
 * @param values the 16 values
 */
public record CodebookMatrix(MemorySegment codes, Scales scales, int rows, int cols, int blockSize, List<Float> values)
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

    /** bitsandbytes' 4-bit floats: a sign, two bits of exponent, one of fraction; in the order of their codes. */
    public static final List<Float> FP4 = List.of(
            0f,
            0.0052083334885537624f,
            0.6666666865348816f,
            1f,
            0.3333333432674408f,
            0.5f,
            0.1666666716337204f,
            0.25f,
            0f,
            -0.0052083334885537624f,
            -0.6666666865348816f,
            -1f,
            -0.3333333432674408f,
            -0.5f,
            -0.1666666716337204f,
            -0.25f);

    /** Rejects blocks that are no multiple of 32. */
    public CodebookMatrix {
        if (blockSize <= 0 || blockSize % GROUP != 0) {
            throw new IllegalArgumentException(
                    "CodebookMatrix: a block of " + blockSize + " numbers is no multiple of " + GROUP);
        }
        if (values.size() != 16) {
            throw new IllegalArgumentException("CodebookMatrix: there must be 16 values, not " + values.size());
        }
        values = List.copyOf(values);
    }

    /** With scales as they are: one float for each block. */
    public CodebookMatrix(
            MemorySegment codes, MemorySegment scales, int rows, int cols, int blockSize, List<Float> values) {
        this(codes, new Scales.Plain(scales), rows, cols, blockSize, values);
    }

    /** Columns that share a scale in every row: a block, or the largest part of one that no row's end cuts. */
    int run() {
        int a = blockSize, b = cols;
        while (b != 0) {
            int rest = a % b;
            a = b;
            b = rest;
        }
        return a;
    }

    /** The 16 values. */
    float[] table() {
        float[] table = new float[16];
        for (int i = 0; i < 16; i++) {
            table[i] = values.get(i);
        }
        return table;
    }

    /** True if there is emitted code: it takes groups of 32 numbers that share a scale. */
    boolean grouped() {
        return cols % GROUP == 0;
    }

    @Override
    public void widen(int row, int col, int count, float[] dst, int at) {
        float[] table = table();
        long from = (long) row * cols + col, end = from + count;
        for (long i = from; i < end; ) {
            float scale = scales.of(i / blockSize);
            long stop = Math.min(end, (i / blockSize + 1) * blockSize);
            for (; i < stop; i++) {
                int both = u8(codes, i / 2);
                dst[at + (int) (i - from)] = table[i % 2 == 0 ? both >> 4 : both & 15] * scale;
            }
        }
    }

    @Override
    public int block() {
        return grouped() ? GROUP : 1;
    }

    @Override
    public long bytes() {
        long numbers = (long) rows * cols;
        return Math.ceilDiv(numbers, 2L) + scales.bytes(Math.ceilDiv(numbers, (long) blockSize));
    }
}
