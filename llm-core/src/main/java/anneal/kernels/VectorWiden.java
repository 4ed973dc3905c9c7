package anneal.kernels;

import static anneal.kernels.VectorCodes.bytes;
import static anneal.kernels.VectorCodes.floats;
import static anneal.kernels.VectorCodes.half;
import static anneal.kernels.VectorCodes.high;
import static anneal.kernels.VectorCodes.low;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;

/**
 * {@link Matrix#widen} in vectors for the formats that models are trained and run from. Same values to the bit, since each
 * number goes through the same operations.
 */
final class VectorWiden {
    private VectorWiden() {}

    /** As {@link Matrix#widen} of w. */
    static void row(Matrix w, int row, int col, int count, float[] dst, int at) {
        if (!VectorCodes.FAST) {
            w.widen(row, col, count, dst, at);
            return;
        }
        switch (w) {
            case F16Matrix m -> halves(raw(m.data(), 2 * ((long) row * m.cols() + col), 2 * count), count, dst, at);
            case BF16Matrix m -> bfloats(raw(m.data(), 2 * ((long) row * m.cols() + col), 2 * count), count, dst, at);
            case BlockMatrix m -> blocks(m, row, col, count, dst, at);
            default -> w.widen(row, col, count, dst, at);
        }
    }

    private static void blocks(BlockMatrix m, int row, int col, int count, float[] dst, int at) {
        switch (m.format()) {
            case Q4_0 -> q4(raw(m, row, col, count), count, dst, at);
            case Q4_1 -> q4WithMinimum(raw(m, row, col, count), count, dst, at);
            case Q8_0 -> q8(raw(m, row, col, count), count, dst, at);
            case Q4_K -> q4K(raw(m, row, col, count), count, dst, at);
            case Q6_K -> q6K(raw(m, row, col, count), count, dst, at);
            case Q5_0, Q5_1, Q2_K, Q3_K, Q5_K -> m.widen(row, col, count, dst, at);
        }
    }

    private static byte[] raw(BlockMatrix m, int row, int col, int count) {
        return raw(
                m.data(),
                m.offset(row, col),
                count / m.format().size() * m.format().bytes());
    }

    private static byte[] raw(MemorySegment s, long from, int bytes) {
        byte[] raw = VectorScratch.mine().raw(bytes);
        MemorySegment.copy(s, JAVA_BYTE, from, raw, 0, bytes);
        return raw;
    }

    private static void halves(byte[] s, int count, float[] dst, int at) {
        int i = 0;
        for (; i <= count - 8; i += 8) {
            VectorCodes.halves(s, 2 * i).intoArray(dst, at + i);
        }
        for (; i < count; i++) {
            dst[at + i] = half(s, 2 * i);
        }
    }

    private static void bfloats(byte[] s, int count, float[] dst, int at) {
        int i = 0;
        for (; i <= count - 8; i += 8) {
            VectorCodes.bfloats(s, 2 * i).intoArray(dst, at + i);
        }
        for (; i < count; i++) {
            dst[at + i] = VectorCodes.bfloat(s, 2 * i);
        }
    }

    private static void q4(byte[] s, int count, float[] dst, int at) {
        for (int i = 0, from = 0; i < count; i += 32, from += 18) {
            float d = half(s, from);
            for (int j = 0; j < 16; j += 8) {
                IntVector codes = bytes(s, from + 2 + j);
                low(codes).sub(8).mul(d).intoArray(dst, at + i + j);
                high(codes).sub(8).mul(d).intoArray(dst, at + i + j + 16);
            }
        }
    }

    private static void q4WithMinimum(byte[] s, int count, float[] dst, int at) {
        for (int i = 0, from = 0; i < count; i += 32, from += 20) {
            float d = half(s, from), min = half(s, from + 2);
            for (int j = 0; j < 16; j += 8) {
                IntVector codes = bytes(s, from + 4 + j);
                low(codes).mul(d).add(min).intoArray(dst, at + i + j);
                high(codes).mul(d).add(min).intoArray(dst, at + i + j + 16);
            }
        }
    }

    private static void q8(byte[] s, int count, float[] dst, int at) {
        for (int i = 0, from = 0; i < count; i += 32, from += 34) {
            float d = half(s, from);
            for (int j = 0; j < 32; j += 8) {
                floats(bytes(s, from + 2 + j)).mul(d).intoArray(dst, at + i + j);
            }
        }
    }

    private static void q4K(byte[] s, int count, float[] dst, int at) {
        for (int i = 0, from = 0; i < count; i += 256, from += 144) {
            float d = half(s, from), dmin = half(s, from + 2);
            for (int g = 0; g < 8; g += 2) {
                float d0 = d * VectorCodes.scale(s, from + 4, g), m0 = dmin * VectorCodes.minimum(s, from + 4, g);
                float d1 = d * VectorCodes.scale(s, from + 4, g + 1),
                        m1 = dmin * VectorCodes.minimum(s, from + 4, g + 1);
                int to = at + i + 32 * g;
                for (int j = 0; j < 32; j += 8) {
                    IntVector codes = bytes(s, from + 16 + 16 * g + j);
                    low(codes).mul(d0).sub(m0).intoArray(dst, to + j);
                    high(codes).mul(d1).sub(m1).intoArray(dst, to + 32 + j);
                }
            }
        }
    }

    private static void q6K(byte[] s, int count, float[] dst, int at) {
        for (int i = 0, from = 0; i < count; i += 256, from += 210) {
            float d = half(s, from + 208);
            for (int g = 0; g < 16; g++) {
                float scale = d * s[from + 192 + g];
                int to = at + i + 16 * g;
                q6(s, from, g, 0).mul(scale).intoArray(dst, to);
                q6(s, from, g, 8).mul(scale).intoArray(dst, to + 8);
            }
        }
    }

    /** Codes [j, j + 8) of group g of the Q6_K block at {@code block}, minus 32. */
    static FloatVector q6(byte[] s, int block, int g, int j) {
        int half = g >> 3, quarter = g >> 1 & 3, in = (g & 1) * 16 + j;
        IntVector low = bytes(s, block + 64 * half + (quarter & 1) * 32 + in);
        IntVector high = bytes(s, block + 128 + 32 * half + in);
        low = low.lanewise(VectorOperators.LSHR, (quarter >> 1) * 4).and(15);
        high = high.lanewise(VectorOperators.LSHR, 2 * quarter).and(3).lanewise(VectorOperators.LSHL, 4);
        return floats(low.or(high).sub(32));
    }
}
