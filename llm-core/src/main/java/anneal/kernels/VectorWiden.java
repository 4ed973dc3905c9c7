package anneal.kernels;

import static anneal.kernels.VectorCodes.BITS;
import static anneal.kernels.VectorCodes.BYTES;
import static anneal.kernels.VectorCodes.FLOATS;
import static anneal.kernels.VectorCodes.INT;
import static anneal.kernels.VectorCodes.INTS;
import static anneal.kernels.VectorCodes.NIBBLES;
import static anneal.kernels.VectorCodes.UPPER_FIRST;
import static anneal.kernels.VectorCodes.half;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;
import static jdk.incubator.vector.VectorOperators.GE;
import static jdk.incubator.vector.VectorOperators.I2F;
import static jdk.incubator.vector.VectorOperators.LSHL;
import static jdk.incubator.vector.VectorOperators.LSHR;
import static jdk.incubator.vector.VectorOperators.OR;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.ByteVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;

/**
 * {@link Matrix#widen} in vectors for the formats that models are trained and run from. Same values to the bit, since each
 * number goes through the same operations. Why the loops have no helpers for vectors is said at {@link VectorDot}.
 */
final class VectorWiden {
    private VectorWiden() {}

    /** Every row. */
    static void all(MemorySegment y, Matrix w) {
        int dim = w.cols();
        Chunks.rows(w.rows(), dim, (from, to) -> {
            float[] row = VectorScratch.mine().piece(dim);
            for (int i = from; i < to; i++) {
                row(w, i, 0, dim, row, 0);
                MemorySegment.copy(row, 0, y, JAVA_FLOAT_UNALIGNED, 4L * i * dim, dim);
            }
        });
    }

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
            case Int8Matrix m ->
                bytes(raw(m.codes(), (long) row * m.cols() + col, count), 0, count, m.scale(row), dst, at);
            case GroupMatrix m -> groups(m, row, col, count, dst, at);
            case CodebookMatrix m -> codebook(m, row, col, count, dst, at);
            case RoundedMatrix m -> {
                row(m.stored(), row, col, count, dst, at);
                VectorRounding.bfloats(dst, at, count);
            }
            default -> w.widen(row, col, count, dst, at);
        }
    }

    /** Group by group; pieces that begin inside a byte are rare and taken one by one. */
    private static void groups(GroupMatrix m, int row, int col, int count, float[] dst, int at) {
        if (m.pairs() && (col | m.group()) % 2 != 0) {
            m.widen(row, col, count, dst, at);
            return;
        }
        int ofByte = m.pairs() ? 2 : 1;
        byte[] raw = raw(m.codes(), m.offset(row, col), (count + ofByte - 1) / ofByte);
        for (int i = 0; i < count; ) {
            long index = m.groupOf(row, col + i);
            int some = Math.min(count - i, m.group() - (col + i) % m.group());
            if (m.pairs()) {
                nibbles(raw, i / 2, some, m.zero(index), m.scale(index), dst, at + i);
            } else {
                unsigned(raw, i, some, m.zero(index), m.scale(index), dst, at + i);
            }
            i += some;
        }
    }

    /** Block by block, which may begin in any row; pieces that begin inside a byte are rare and taken one by one. */
    private static void codebook(CodebookMatrix m, int row, int col, int count, float[] dst, int at) {
        long from = (long) row * m.cols() + col;
        if (from % 2 != 0) {
            m.widen(row, col, count, dst, at);
            return;
        }
        byte[] raw = raw(m.codes(), from / 2, (count + 1) / 2);
        float[] table = m.table();
        for (int i = 0; i < count; ) {
            long block = (from + i) / m.blockSize();
            int some = (int) Math.min(count - i, (block + 1) * m.blockSize() - (from + i));
            values(raw, i / 2, some, table, m.scales().of(block), dst, at + i);
            i += some;
        }
    }

    /** Those of 16 values that codes of 4 bits stand for, times a scale: the table is two vectors, of which each lane picks its own. */
    private static void values(byte[] s, int from, int count, float[] table, float scale, float[] dst, int at) {
        IntVector first = FloatVector.fromArray(FLOATS, table, 0).reinterpretAsInts();
        IntVector second = FloatVector.fromArray(FLOATS, table, 8).reinterpretAsInts();
        int i = 0;
        for (; i <= count - 8; i += 8) {
            IntVector codes = IntVector.broadcast(INTS, (int) INT.get(s, from + i / 2))
                    .lanewise(LSHR, UPPER_FIRST)
                    .and(15);
            codes.selectFrom(first, second).reinterpretAsFloats().mul(scale).intoArray(dst, at + i);
        }
        for (; i < count; i++) {
            dst[at + i] = table[s[from + i / 2] >> (1 - i % 2) * 4 & 15] * scale;
        }
    }

    /** Signed bytes times a scale. */
    private static void bytes(byte[] s, int from, int count, float scale, float[] dst, int at) {
        int i = 0;
        for (; i <= count - 8; i += 8) {
            IntVector codes =
                    (IntVector) ByteVector.fromArray(BYTES, s, from + i).castShape(INTS, 0);
            FloatVector f = (FloatVector) codes.convertShape(I2F, FLOATS, 0);
            f.mul(scale).intoArray(dst, at + i);
        }
        for (; i < count; i++) {
            dst[at + i] = s[from + i] * scale;
        }
    }

    /** Unsigned bytes less their zero, times a scale. */
    private static void unsigned(byte[] s, int from, int count, int zero, float scale, float[] dst, int at) {
        int i = 0;
        for (; i <= count - 8; i += 8) {
            IntVector codes =
                    (IntVector) ByteVector.fromArray(BYTES, s, from + i).castShape(INTS, 0);
            FloatVector f = (FloatVector) codes.and(255).sub(zero).convertShape(I2F, FLOATS, 0);
            f.mul(scale).intoArray(dst, at + i);
        }
        for (; i < count; i++) {
            dst[at + i] = ((s[from + i] & 255) - zero) * scale;
        }
    }

    /** Codes of 4 bits, the first of a byte in the lower ones: four bytes go into all lanes, each lane shifts out its own code. */
    private static void nibbles(byte[] s, int from, int count, int zero, float scale, float[] dst, int at) {
        int i = 0;
        for (; i <= count - 8; i += 8) {
            IntVector codes = IntVector.broadcast(INTS, (int) INT.get(s, from + i / 2))
                    .lanewise(LSHR, NIBBLES)
                    .and(15)
                    .sub(zero);
            FloatVector f = (FloatVector) codes.convertShape(I2F, FLOATS, 0);
            f.mul(scale).intoArray(dst, at + i);
        }
        for (; i < count; i++) {
            dst[at + i] = ((s[from + i / 2] >> i % 2 * 4 & 15) - zero) * scale;
        }
    }

    private static void blocks(BlockMatrix m, int row, int col, int count, float[] dst, int at) {
        switch (m.format()) {
            case Q4_0 -> q4(raw(m, row, col, count), count, dst, at);
            case Q4_1 -> q4WithMinimum(raw(m, row, col, count), count, dst, at);
            case Q8_0 -> q8(raw(m, row, col, count), count, dst, at);
            case Q4_K -> q4K(raw(m, row, col, count), count, dst, at);
            case Q6_K -> q6K(raw(m, row, col, count), count, dst, at);
            case Q5_0 -> q5(raw(m, row, col, count), count, dst, at);
            case Q5_1 -> q5WithMinimum(raw(m, row, col, count), count, dst, at);
            case Q5_K -> q5K(raw(m, row, col, count), count, dst, at);
            case Q2_K, Q3_K -> m.widen(row, col, count, dst, at);
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

    /**
     * IEEE halves. Exponent and fraction are moved to their place in a single and the exponent's bias is mended by a
     * multiplication, which is exact and brings subnormals along; what was infinite or no number is put back.
     */
    private static void halves(byte[] s, int count, float[] dst, int at) {
        int i = 0;
        for (; i <= count - 8; i += 8) {
            IntVector bits = (IntVector) ByteVector.fromArray(ByteVector.SPECIES_128, s, 2 * i)
                    .reinterpretAsShorts()
                    .castShape(INTS, 0);
            IntVector magnitude = bits.and(0x7FFF);
            FloatVector value =
                    magnitude.lanewise(LSHL, 13).reinterpretAsFloats().mul(0x1p112f);
            IntVector single = value.reinterpretAsInts().lanewise(OR, 0x7F800000, magnitude.compare(GE, 0x7C00));
            IntVector sign = bits.lanewise(LSHL, 16).and(0x80000000);
            single.or(sign).reinterpretAsFloats().intoArray(dst, at + i);
        }
        for (; i < count; i++) {
            dst[at + i] = half(s, 2 * i);
        }
    }

    private static void bfloats(byte[] s, int count, float[] dst, int at) {
        int i = 0;
        for (; i <= count - 8; i += 8) {
            IntVector bits = (IntVector) ByteVector.fromArray(ByteVector.SPECIES_128, s, 2 * i)
                    .reinterpretAsShorts()
                    .castShape(INTS, 0);
            bits.lanewise(LSHL, 16).reinterpretAsFloats().intoArray(dst, at + i);
        }
        for (; i < count; i++) {
            dst[at + i] = VectorCodes.bfloat(s, 2 * i);
        }
    }

    private static void q4(byte[] s, int count, float[] dst, int at) {
        for (int i = 0, from = 0; i < count; i += 32, from += 18) {
            float d = half(s, from);
            for (int j = 0; j < 16; j += 8) {
                IntVector codes =
                        (IntVector) ByteVector.fromArray(BYTES, s, from + 2 + j).castShape(INTS, 0);
                FloatVector low = (FloatVector) codes.and(15).convertShape(I2F, FLOATS, 0);
                FloatVector high = (FloatVector) codes.lanewise(LSHR, 4).and(15).convertShape(I2F, FLOATS, 0);
                low.sub(8).mul(d).intoArray(dst, at + i + j);
                high.sub(8).mul(d).intoArray(dst, at + i + j + 16);
            }
        }
    }

    private static void q4WithMinimum(byte[] s, int count, float[] dst, int at) {
        for (int i = 0, from = 0; i < count; i += 32, from += 20) {
            float d = half(s, from), min = half(s, from + 2);
            for (int j = 0; j < 16; j += 8) {
                IntVector codes =
                        (IntVector) ByteVector.fromArray(BYTES, s, from + 4 + j).castShape(INTS, 0);
                FloatVector low = (FloatVector) codes.and(15).convertShape(I2F, FLOATS, 0);
                FloatVector high = (FloatVector) codes.lanewise(LSHR, 4).and(15).convertShape(I2F, FLOATS, 0);
                low.mul(d).add(min).intoArray(dst, at + i + j);
                high.mul(d).add(min).intoArray(dst, at + i + j + 16);
            }
        }
    }

    /** Fifth bits stand together, lane by lane: all of them go into all lanes, and each lane shifts out its own. */
    private static void q5(byte[] s, int count, float[] dst, int at) {
        for (int i = 0, from = 0; i < count; i += 32, from += 22) {
            float d = half(s, from);
            IntVector fifths = IntVector.broadcast(INTS, (int) INT.get(s, from + 2));
            for (int j = 0; j < 16; j += 8) {
                IntVector codes =
                        (IntVector) ByteVector.fromArray(BYTES, s, from + 6 + j).castShape(INTS, 0);
                IntVector mine = fifths.lanewise(LSHR, j).lanewise(LSHR, BITS);
                IntVector low = codes.and(15).or(mine.and(1).lanewise(LSHL, 4));
                IntVector high = codes.lanewise(LSHR, 4)
                        .and(15)
                        .or(mine.lanewise(LSHR, 12).and(16));
                ((FloatVector) low.sub(16).convertShape(I2F, FLOATS, 0)).mul(d).intoArray(dst, at + i + j);
                ((FloatVector) high.sub(16).convertShape(I2F, FLOATS, 0)).mul(d).intoArray(dst, at + i + j + 16);
            }
        }
    }

    private static void q5WithMinimum(byte[] s, int count, float[] dst, int at) {
        for (int i = 0, from = 0; i < count; i += 32, from += 24) {
            float d = half(s, from), min = half(s, from + 2);
            IntVector fifths = IntVector.broadcast(INTS, (int) INT.get(s, from + 4));
            for (int j = 0; j < 16; j += 8) {
                IntVector codes =
                        (IntVector) ByteVector.fromArray(BYTES, s, from + 8 + j).castShape(INTS, 0);
                IntVector mine = fifths.lanewise(LSHR, j).lanewise(LSHR, BITS);
                IntVector low = codes.and(15).or(mine.and(1).lanewise(LSHL, 4));
                IntVector high = codes.lanewise(LSHR, 4)
                        .and(15)
                        .or(mine.lanewise(LSHR, 12).and(16));
                FloatVector first = (FloatVector) low.convertShape(I2F, FLOATS, 0);
                FloatVector second = (FloatVector) high.convertShape(I2F, FLOATS, 0);
                first.mul(d).add(min).intoArray(dst, at + i + j);
                second.mul(d).add(min).intoArray(dst, at + i + j + 16);
            }
        }
    }

    private static void q8(byte[] s, int count, float[] dst, int at) {
        for (int i = 0, from = 0; i < count; i += 32, from += 34) {
            float d = half(s, from);
            for (int j = 0; j < 32; j += 8) {
                IntVector codes =
                        (IntVector) ByteVector.fromArray(BYTES, s, from + 2 + j).castShape(INTS, 0);
                FloatVector f = (FloatVector) codes.convertShape(I2F, FLOATS, 0);
                f.mul(d).intoArray(dst, at + i + j);
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
                    IntVector codes = (IntVector) ByteVector.fromArray(BYTES, s, from + 16 + 16 * g + j)
                            .castShape(INTS, 0);
                    FloatVector low = (FloatVector) codes.and(15).convertShape(I2F, FLOATS, 0);
                    FloatVector high =
                            (FloatVector) codes.lanewise(LSHR, 4).and(15).convertShape(I2F, FLOATS, 0);
                    low.mul(d0).sub(m0).intoArray(dst, to + j);
                    high.mul(d1).sub(m1).intoArray(dst, to + 32 + j);
                }
            }
        }
    }

    /** As Q4_K, and the fifth bit of number j of group g is bit g of byte j. */
    private static void q5K(byte[] s, int count, float[] dst, int at) {
        for (int i = 0, from = 0; i < count; i += 256, from += 176) {
            float d = half(s, from), dmin = half(s, from + 2);
            for (int g = 0; g < 8; g += 2) {
                float d0 = d * VectorCodes.scale(s, from + 4, g), m0 = dmin * VectorCodes.minimum(s, from + 4, g);
                float d1 = d * VectorCodes.scale(s, from + 4, g + 1),
                        m1 = dmin * VectorCodes.minimum(s, from + 4, g + 1);
                int to = at + i + 32 * g;
                for (int j = 0; j < 32; j += 8) {
                    IntVector codes = (IntVector) ByteVector.fromArray(BYTES, s, from + 48 + 16 * g + j)
                            .castShape(INTS, 0);
                    IntVector fifths = (IntVector)
                            ByteVector.fromArray(BYTES, s, from + 16 + j).castShape(INTS, 0);
                    IntVector mine = fifths.lanewise(LSHR, g);
                    IntVector low = codes.and(15).or(mine.and(1).lanewise(LSHL, 4));
                    IntVector high =
                            codes.lanewise(LSHR, 4).and(15).or(mine.and(2).lanewise(LSHL, 3));
                    FloatVector first = (FloatVector) low.convertShape(I2F, FLOATS, 0);
                    FloatVector second = (FloatVector) high.convertShape(I2F, FLOATS, 0);
                    first.mul(d0).sub(m0).intoArray(dst, to + j);
                    second.mul(d1).sub(m1).intoArray(dst, to + 32 + j);
                }
            }
        }
    }

    /** Eight numbers a turn: their lower bits and upper bits are in different places, see {@link BlockFormat#Q6_K}. */
    private static void q6K(byte[] s, int count, float[] dst, int at) {
        for (int i = 0, from = 0; i < count; i += 256, from += 210) {
            float d = half(s, from + 208);
            for (int j = 0; j < 256; j += 8) {
                int half = j >> 7, quarter = j >> 5 & 3, in = j & 31;
                IntVector low = (IntVector) ByteVector.fromArray(BYTES, s, from + 64 * half + (quarter & 1) * 32 + in)
                        .castShape(INTS, 0);
                IntVector high = (IntVector) ByteVector.fromArray(BYTES, s, from + 128 + 32 * half + in)
                        .castShape(INTS, 0);
                low = low.lanewise(LSHR, (quarter >> 1) * 4).and(15);
                high = high.lanewise(LSHR, 2 * quarter).and(3).lanewise(LSHL, 4);
                FloatVector f = (FloatVector) low.or(high).sub(32).convertShape(I2F, FLOATS, 0);
                f.mul(d * s[from + 192 + (j >> 4)]).intoArray(dst, at + i + j);
            }
        }
    }
}
