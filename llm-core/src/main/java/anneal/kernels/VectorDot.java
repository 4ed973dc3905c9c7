package anneal.kernels;

import static anneal.kernels.VectorCodes.BITS;
import static anneal.kernels.VectorCodes.BYTES;
import static anneal.kernels.VectorCodes.FLOATS;
import static anneal.kernels.VectorCodes.INT;
import static anneal.kernels.VectorCodes.INTS;
import static anneal.kernels.VectorCodes.NIBBLES;
import static anneal.kernels.VectorCodes.SHORT;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static jdk.incubator.vector.VectorOperators.I2F;
import static jdk.incubator.vector.VectorOperators.LSHL;
import static jdk.incubator.vector.VectorOperators.LSHR;

import java.lang.foreign.MemorySegment;
import java.nio.ByteOrder;
import jdk.incubator.vector.ByteVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorShuffle;
import jdk.incubator.vector.VectorSpecies;

/**
 * Inner product of one stored row with one vector of floats: each weight is read once, in its stored form, and never written
 * as a float.
 *
 * <p>Where a block's numbers are d q + m, the sum over the block is d sum(q x) + m sum(x), and sum(x) is the same for all rows
 * ({@link #sums}).
 *
 * <p>The loops call vector operations and nothing else, however much a helper would shorten them: operations are always inlined,
 * but a helper is not once C2 has reached its node limit, and then every vector in the loop becomes an object (measured on a
 * whole model: 13 instead of 58 tokens a second).
 */
final class VectorDot {
    private static final VectorSpecies<Float> SPECIES = VectorMath.F;
    private static final int LANES = SPECIES.length();
    private static final ByteOrder ORDER = ByteOrder.nativeOrder();

    /** Numbers that a turn of the loops over codes takes. */
    private static final int STEP = 32;

    /** Bytes of rows that are copied together. */
    private static final int PIECE = 8 << 10;

    private VectorDot() {}

    /** True if {@link #row} knows how w is stored. */
    static boolean reads(Matrix w) {
        return switch (w) {
            case F32Matrix m -> true;
            case BF16Matrix m -> VectorCodes.FAST;
            case BlockMatrix m ->
                VectorCodes.FAST
                        && switch (m.format()) {
                            case Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q6_K -> true;
                            case Q2_K, Q3_K, Q5_K -> false;
                        };
            case GroupMatrix m -> VectorCodes.FAST && m.group() % STEP == 0;
            case Int8Matrix m -> VectorCodes.FAST && m.cols() % STEP == 0;
            default -> false;
        };
    }

    /** Writes the products of rows [from, to) of w with x to out[0 ..]. */
    static void rows(Matrix w, int from, int to, float[] x, float[] sums, float[] out) {
        int k = w.cols();
        switch (w) {
            case F32Matrix m -> {
                for (int j = from; j < to; j++) {
                    out[j - from] = f32(m.data(), 4L * j * k, k, x);
                }
            }
            case BF16Matrix m -> pieces(m.data(), 2 * k, from, to, out, (s, at, j) -> bf16(s, at, k, x));
            case BlockMatrix m -> {
                RowDot dot = switch (m.format()) {
                    case Q4_0 -> (s, at, j) -> q4(s, at, k, x, sums);
                    case Q4_1 -> (s, at, j) -> q4WithMinimum(s, at, k, x, sums);
                    case Q5_0 -> (s, at, j) -> q5(s, at, k, x, sums, false);
                    case Q5_1 -> (s, at, j) -> q5(s, at, k, x, sums, true);
                    case Q8_0 -> (s, at, j) -> q8(s, at, k, x);
                    case Q4_K -> (s, at, j) -> q4K(s, at, k, x, sums);
                    case Q6_K -> (s, at, j) -> q6K(s, at, k, x);
                    case Q2_K, Q3_K, Q5_K -> throw new AssertionError("no dot for " + m.format());
                };
                pieces(m.data(), Math.toIntExact(m.offset(1, 0)), from, to, out, dot);
            }
            case Int8Matrix m -> pieces(m.codes(), k, from, to, out, (s, at, j) -> m.scale(j) * bytes(s, at, k, x));
            case GroupMatrix m -> groups(m, from, to, x, out);
            default -> throw new AssertionError("no dot for " + w.getClass());
        }
    }

    private static void groups(GroupMatrix m, int from, int to, float[] x, float[] out) {
        int k = m.cols(), group = m.group();
        float[] scales = new float[k / group];
        byte[] zeros = new byte[k / group];
        RowDot dot = m.pairs()
                ? (s, at, j) -> nibbles(s, at, k, x, group, scales, zeros)
                : (s, at, j) -> unsigned(s, at, k, x, group, scales, zeros);
        pieces(m.codes(), Math.toIntExact(m.offset(1, 0)), from, to, out, (s, at, j) -> {
            long first = m.groupOf(j, 0);
            MemorySegment.copy(m.scales(), LittleEndian.FLOAT, 4 * first, scales, 0, scales.length);
            MemorySegment.copy(m.zeros(), JAVA_BYTE, first, zeros, 0, zeros.length);
            return dot.of(s, at, j);
        });
    }

    /** The product of row j, which starts at byte {@code at}, with x. */
    private interface RowDot {
        float of(byte[] s, int at, int j);
    }

    /** Copies rows of {@code rowBytes} bytes to an array, as many at a time as stay in the nearest cache, and multiplies them. */
    private static void pieces(MemorySegment s, int rowBytes, int from, int to, float[] out, RowDot dot) {
        int some = Math.clamp(PIECE / Math.max(1, rowBytes), 1, to - from);
        byte[] raw = VectorScratch.mine().raw(some * rowBytes);
        for (int j = from; j < to; j += some) {
            int count = Math.min(some, to - j);
            MemorySegment.copy(s, JAVA_BYTE, (long) j * rowBytes, raw, 0, count * rowBytes);
            for (int r = 0; r < count; r++) {
                out[j - from + r] = dot.of(raw, r * rowBytes, j + r);
            }
        }
    }

    /** sum(x) of each 32 floats. */
    static void sums(float[] x, int k, float[] sums) {
        for (int b = 0; b < k / 32; b++) {
            float s0 = 0, s1 = 0, s2 = 0, s3 = 0; // four, since one would wait for the addition before it
            for (int i = 32 * b; i < 32 * b + 32; i += 4) {
                s0 += x[i];
                s1 += x[i + 1];
                s2 += x[i + 2];
                s3 += x[i + 3];
            }
            sums[b] = s0 + s1 + (s2 + s3);
        }
    }

    private static float f32(MemorySegment s, long at, int k, float[] x) {
        FloatVector s0 = FloatVector.zero(SPECIES), s1 = s0, s2 = s0, s3 = s0;
        int i = 0;
        // four sums, since one would wait for the multiply-add before it
        for (; i <= k - 4 * LANES; i += 4 * LANES) {
            s0 = load(s, at, i).fma(FloatVector.fromArray(SPECIES, x, i), s0);
            s1 = load(s, at, i + LANES).fma(FloatVector.fromArray(SPECIES, x, i + LANES), s1);
            s2 = load(s, at, i + 2 * LANES).fma(FloatVector.fromArray(SPECIES, x, i + 2 * LANES), s2);
            s3 = load(s, at, i + 3 * LANES).fma(FloatVector.fromArray(SPECIES, x, i + 3 * LANES), s3);
        }
        for (; i <= k - LANES; i += LANES) {
            s0 = load(s, at, i).fma(FloatVector.fromArray(SPECIES, x, i), s0);
        }
        float sum = VectorMath.sum(s0.add(s1).add(s2.add(s3)));
        for (; i < k; i++) {
            sum += s.get(LittleEndian.FLOAT, at + 4L * i) * x[i];
        }
        return sum;
    }

    private static FloatVector load(MemorySegment s, long at, int i) {
        return FloatVector.fromMemorySegment(SPECIES, s, at + 4L * i, ORDER);
    }

    private static float bf16(byte[] s, int at, int k, float[] x) {
        FloatVector s0 = FloatVector.zero(FLOATS), s1 = s0;
        int i = 0;
        for (; i <= k - 16; i += 16) {
            IntVector c0 = (IntVector) ByteVector.fromArray(ByteVector.SPECIES_128, s, at + 2 * i)
                    .reinterpretAsShorts()
                    .castShape(INTS, 0);
            IntVector c1 = (IntVector) ByteVector.fromArray(ByteVector.SPECIES_128, s, at + 2 * i + 16)
                    .reinterpretAsShorts()
                    .castShape(INTS, 0);
            s0 = c0.lanewise(LSHL, 16).reinterpretAsFloats().fma(FloatVector.fromArray(FLOATS, x, i), s0);
            s1 = c1.lanewise(LSHL, 16).reinterpretAsFloats().fma(FloatVector.fromArray(FLOATS, x, i + 8), s1);
        }
        float sum = sum(s0.add(s1));
        for (; i < k; i++) {
            sum += VectorCodes.bfloat(s, at + 2 * i) * x[i];
        }
        return sum;
    }

    private static final VectorShuffle<Float> TURN4 = VectorShuffle.iota(FLOATS, 4, 1, true),
            TURN2 = VectorShuffle.iota(FLOATS, 2, 1, true),
            TURN1 = VectorShuffle.iota(FLOATS, 1, 1, true);

    /** Sum of eight lanes in one order; see {@link VectorMath#sum} for why not reduceLanes. */
    private static float sum(FloatVector x) {
        x = x.add(x.rearrange(TURN4));
        x = x.add(x.rearrange(TURN2));
        return x.add(x.rearrange(TURN1)).lane(0);
    }

    private static float q4(byte[] s, int at, int k, float[] x, float[] sums) {
        FloatVector acc = FloatVector.zero(FLOATS);
        float rest = 0;
        for (int i = 0; i < k; i += 32, at += 18) {
            float d = Float.float16ToFloat((short) SHORT.get(s, at));
            IntVector c0 = (IntVector) ByteVector.fromArray(BYTES, s, at + 2).castShape(INTS, 0);
            IntVector c1 = (IntVector) ByteVector.fromArray(BYTES, s, at + 10).castShape(INTS, 0);
            FloatVector low0 = (FloatVector) c0.and(15).convertShape(I2F, FLOATS, 0),
                    low1 = (FloatVector) c1.and(15).convertShape(I2F, FLOATS, 0);
            FloatVector high0 = (FloatVector) c0.lanewise(LSHR, 4).and(15).convertShape(I2F, FLOATS, 0);
            FloatVector high1 = (FloatVector) c1.lanewise(LSHR, 4).and(15).convertShape(I2F, FLOATS, 0);
            FloatVector t =
                    low1.fma(FloatVector.fromArray(FLOATS, x, i + 8), low0.mul(FloatVector.fromArray(FLOATS, x, i)));
            FloatVector u = high1.fma(
                    FloatVector.fromArray(FLOATS, x, i + 24), high0.mul(FloatVector.fromArray(FLOATS, x, i + 16)));
            acc = t.add(u).fma(FloatVector.broadcast(FLOATS, d), acc);
            rest -= 8 * d * sums[i >> 5];
        }
        return sum(acc) + rest;
    }

    private static float q4WithMinimum(byte[] s, int at, int k, float[] x, float[] sums) {
        FloatVector acc = FloatVector.zero(FLOATS);
        float rest = 0;
        for (int i = 0; i < k; i += 32, at += 20) {
            float d = Float.float16ToFloat((short) SHORT.get(s, at));
            IntVector c0 = (IntVector) ByteVector.fromArray(BYTES, s, at + 4).castShape(INTS, 0);
            IntVector c1 = (IntVector) ByteVector.fromArray(BYTES, s, at + 12).castShape(INTS, 0);
            FloatVector low0 = (FloatVector) c0.and(15).convertShape(I2F, FLOATS, 0),
                    low1 = (FloatVector) c1.and(15).convertShape(I2F, FLOATS, 0);
            FloatVector high0 = (FloatVector) c0.lanewise(LSHR, 4).and(15).convertShape(I2F, FLOATS, 0);
            FloatVector high1 = (FloatVector) c1.lanewise(LSHR, 4).and(15).convertShape(I2F, FLOATS, 0);
            FloatVector t =
                    low1.fma(FloatVector.fromArray(FLOATS, x, i + 8), low0.mul(FloatVector.fromArray(FLOATS, x, i)));
            FloatVector u = high1.fma(
                    FloatVector.fromArray(FLOATS, x, i + 24), high0.mul(FloatVector.fromArray(FLOATS, x, i + 16)));
            acc = t.add(u).fma(FloatVector.broadcast(FLOATS, d), acc);
            rest += Float.float16ToFloat((short) SHORT.get(s, at + 2)) * sums[i >> 5];
        }
        return sum(acc) + rest;
    }

    /** Q5_0, or Q5_1, which has a minimum behind its scale. Of fifth bits each lane shifts out its own. */
    private static float q5(byte[] s, int at, int k, float[] x, float[] sums, boolean minimum) {
        FloatVector acc = FloatVector.zero(FLOATS);
        float rest = 0;
        int bytes = minimum ? 24 : 22;
        for (int i = 0; i < k; i += 32, at += bytes) {
            float d = Float.float16ToFloat((short) SHORT.get(s, at));
            IntVector fifths =
                    IntVector.broadcast(INTS, (int) INT.get(s, at + bytes - 20)).lanewise(LSHR, BITS);
            IntVector c0 =
                    (IntVector) ByteVector.fromArray(BYTES, s, at + bytes - 16).castShape(INTS, 0);
            IntVector c1 =
                    (IntVector) ByteVector.fromArray(BYTES, s, at + bytes - 8).castShape(INTS, 0);
            IntVector low0 = c0.and(15).or(fifths.lanewise(LSHL, 4).and(16)),
                    low1 = c1.and(15).or(fifths.lanewise(LSHR, 4).and(16));
            IntVector high0 =
                    c0.lanewise(LSHR, 4).and(15).or(fifths.lanewise(LSHR, 12).and(16));
            IntVector high1 =
                    c1.lanewise(LSHR, 4).and(15).or(fifths.lanewise(LSHR, 20).and(16));
            FloatVector f0 = (FloatVector) low0.convertShape(I2F, FLOATS, 0),
                    f1 = (FloatVector) low1.convertShape(I2F, FLOATS, 0);
            FloatVector f2 = (FloatVector) high0.convertShape(I2F, FLOATS, 0),
                    f3 = (FloatVector) high1.convertShape(I2F, FLOATS, 0);
            FloatVector t =
                    f1.fma(FloatVector.fromArray(FLOATS, x, i + 8), f0.mul(FloatVector.fromArray(FLOATS, x, i)));
            FloatVector u =
                    f3.fma(FloatVector.fromArray(FLOATS, x, i + 24), f2.mul(FloatVector.fromArray(FLOATS, x, i + 16)));
            acc = t.add(u).fma(FloatVector.broadcast(FLOATS, d), acc);
            rest += (minimum ? Float.float16ToFloat((short) SHORT.get(s, at + 2)) : -16 * d) * sums[i >> 5];
        }
        return sum(acc) + rest;
    }

    private static float q8(byte[] s, int at, int k, float[] x) {
        FloatVector acc = FloatVector.zero(FLOATS);
        for (int i = 0; i < k; i += 32, at += 34) {
            IntVector c0 = (IntVector) ByteVector.fromArray(BYTES, s, at + 2).castShape(INTS, 0);
            IntVector c1 = (IntVector) ByteVector.fromArray(BYTES, s, at + 10).castShape(INTS, 0);
            IntVector c2 = (IntVector) ByteVector.fromArray(BYTES, s, at + 18).castShape(INTS, 0);
            IntVector c3 = (IntVector) ByteVector.fromArray(BYTES, s, at + 26).castShape(INTS, 0);
            FloatVector f0 = (FloatVector) c0.convertShape(I2F, FLOATS, 0);
            FloatVector f1 = (FloatVector) c1.convertShape(I2F, FLOATS, 0);
            FloatVector f2 = (FloatVector) c2.convertShape(I2F, FLOATS, 0);
            FloatVector f3 = (FloatVector) c3.convertShape(I2F, FLOATS, 0);
            FloatVector t =
                    f1.fma(FloatVector.fromArray(FLOATS, x, i + 8), f0.mul(FloatVector.fromArray(FLOATS, x, i)));
            FloatVector u =
                    f3.fma(FloatVector.fromArray(FLOATS, x, i + 24), f2.mul(FloatVector.fromArray(FLOATS, x, i + 16)));
            acc = t.add(u).fma(FloatVector.broadcast(FLOATS, Float.float16ToFloat((short) SHORT.get(s, at))), acc);
        }
        return sum(acc);
    }

    private static float q4K(byte[] s, int at, int k, float[] x, float[] sums) {
        FloatVector acc = FloatVector.zero(FLOATS);
        float rest = 0;
        for (int i = 0; i < k; i += 256, at += 144) {
            float d = Float.float16ToFloat((short) SHORT.get(s, at)),
                    dmin = Float.float16ToFloat((short) SHORT.get(s, at + 2));
            for (int g = 0; g < 8; g += 2) {
                FloatVector t = FloatVector.zero(FLOATS), u = t;
                int from = i + 32 * g;
                for (int j = 0; j < 32; j += 8) {
                    IntVector codes = (IntVector)
                            ByteVector.fromArray(BYTES, s, at + 16 + 16 * g + j).castShape(INTS, 0);
                    FloatVector low = (FloatVector) codes.and(15).convertShape(I2F, FLOATS, 0);
                    FloatVector high =
                            (FloatVector) codes.lanewise(LSHR, 4).and(15).convertShape(I2F, FLOATS, 0);
                    t = low.fma(FloatVector.fromArray(FLOATS, x, from + j), t);
                    u = high.fma(FloatVector.fromArray(FLOATS, x, from + 32 + j), u);
                }
                acc = t.fma(FloatVector.broadcast(FLOATS, d * VectorCodes.scale(s, at + 4, g)), acc);
                acc = u.fma(FloatVector.broadcast(FLOATS, d * VectorCodes.scale(s, at + 4, g + 1)), acc);
                rest -= dmin
                        * (VectorCodes.minimum(s, at + 4, g) * sums[from >> 5]
                                + VectorCodes.minimum(s, at + 4, g + 1) * sums[(from >> 5) + 1]);
            }
        }
        return sum(acc) + rest;
    }

    /** Signed bytes, without their row's scale. */
    private static float bytes(byte[] s, int at, int k, float[] x) {
        FloatVector s0 = FloatVector.zero(FLOATS), s1 = s0, s2 = s0, s3 = s0;
        for (int i = 0; i < k; i += STEP) {
            IntVector c0 = (IntVector) ByteVector.fromArray(BYTES, s, at + i).castShape(INTS, 0);
            IntVector c1 =
                    (IntVector) ByteVector.fromArray(BYTES, s, at + i + 8).castShape(INTS, 0);
            IntVector c2 =
                    (IntVector) ByteVector.fromArray(BYTES, s, at + i + 16).castShape(INTS, 0);
            IntVector c3 =
                    (IntVector) ByteVector.fromArray(BYTES, s, at + i + 24).castShape(INTS, 0);
            FloatVector f0 = (FloatVector) c0.convertShape(I2F, FLOATS, 0);
            FloatVector f1 = (FloatVector) c1.convertShape(I2F, FLOATS, 0);
            FloatVector f2 = (FloatVector) c2.convertShape(I2F, FLOATS, 0);
            FloatVector f3 = (FloatVector) c3.convertShape(I2F, FLOATS, 0);
            s0 = f0.fma(FloatVector.fromArray(FLOATS, x, i), s0);
            s1 = f1.fma(FloatVector.fromArray(FLOATS, x, i + 8), s1);
            s2 = f2.fma(FloatVector.fromArray(FLOATS, x, i + 16), s2);
            s3 = f3.fma(FloatVector.fromArray(FLOATS, x, i + 24), s3);
        }
        return sum(s0.add(s1).add(s2.add(s3)));
    }

    /** Codes of 4 bits less their group's zero, times its scale; see {@link GroupMatrix}. */
    private static float nibbles(byte[] s, int at, int k, float[] x, int group, float[] scales, byte[] zeros) {
        FloatVector acc = FloatVector.zero(FLOATS);
        for (int i = 0, g = 0; i < k; g++) {
            FloatVector t = FloatVector.zero(FLOATS), u = t;
            int zero = zeros[g] & 255;
            for (int end = i + group; i < end; i += 16) {
                IntVector c0 = IntVector.broadcast(INTS, (int) INT.get(s, at + (i >> 1)))
                        .lanewise(LSHR, NIBBLES)
                        .and(15)
                        .sub(zero);
                IntVector c1 = IntVector.broadcast(INTS, (int) INT.get(s, at + (i >> 1) + 4))
                        .lanewise(LSHR, NIBBLES)
                        .and(15)
                        .sub(zero);
                FloatVector f0 = (FloatVector) c0.convertShape(I2F, FLOATS, 0);
                FloatVector f1 = (FloatVector) c1.convertShape(I2F, FLOATS, 0);
                t = f0.fma(FloatVector.fromArray(FLOATS, x, i), t);
                u = f1.fma(FloatVector.fromArray(FLOATS, x, i + 8), u);
            }
            acc = t.add(u).fma(FloatVector.broadcast(FLOATS, scales[g]), acc);
        }
        return sum(acc);
    }

    /** As {@link #nibbles}, for bytes without sign. */
    private static float unsigned(byte[] s, int at, int k, float[] x, int group, float[] scales, byte[] zeros) {
        FloatVector acc = FloatVector.zero(FLOATS);
        for (int i = 0, g = 0; i < k; g++) {
            FloatVector t = FloatVector.zero(FLOATS), u = t;
            int zero = zeros[g] & 255;
            for (int end = i + group; i < end; i += 16) {
                IntVector c0 =
                        (IntVector) ByteVector.fromArray(BYTES, s, at + i).castShape(INTS, 0);
                IntVector c1 =
                        (IntVector) ByteVector.fromArray(BYTES, s, at + i + 8).castShape(INTS, 0);
                FloatVector f0 = (FloatVector) c0.and(255).sub(zero).convertShape(I2F, FLOATS, 0);
                FloatVector f1 = (FloatVector) c1.and(255).sub(zero).convertShape(I2F, FLOATS, 0);
                t = f0.fma(FloatVector.fromArray(FLOATS, x, i), t);
                u = f1.fma(FloatVector.fromArray(FLOATS, x, i + 8), u);
            }
            acc = t.add(u).fma(FloatVector.broadcast(FLOATS, scales[g]), acc);
        }
        return sum(acc);
    }

    /** Half a group, eight numbers, a turn: its lower bits and upper bits are in different places, see {@link BlockFormat#Q6_K}. */
    private static float q6K(byte[] s, int at, int k, float[] x) {
        FloatVector acc = FloatVector.zero(FLOATS);
        for (int i = 0; i < k; i += 256, at += 210) {
            float d = Float.float16ToFloat((short) SHORT.get(s, at + 208));
            for (int j = 0; j < 256; j += 8) {
                int half = j >> 7, quarter = j >> 5 & 3, in = j & 31;
                IntVector low = (IntVector) ByteVector.fromArray(BYTES, s, at + 64 * half + (quarter & 1) * 32 + in)
                        .castShape(INTS, 0);
                IntVector high = (IntVector) ByteVector.fromArray(BYTES, s, at + 128 + 32 * half + in)
                        .castShape(INTS, 0);
                low = low.lanewise(LSHR, (quarter >> 1) * 4).and(15);
                high = high.lanewise(LSHR, 2 * quarter).and(3).lanewise(LSHL, 4);
                FloatVector f = (FloatVector) low.or(high).sub(32).convertShape(I2F, FLOATS, 0);
                FloatVector t = f.mul(FloatVector.fromArray(FLOATS, x, i + j));
                acc = t.fma(FloatVector.broadcast(FLOATS, d * s[at + 192 + (j >> 4)]), acc);
            }
        }
        return sum(acc);
    }
}
