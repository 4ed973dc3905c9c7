package anneal.kernels;

import anneal.kernels.emit.Exp2;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShuffle;
import jdk.incubator.vector.VectorSpecies;

/**
 * Elementary functions of a vector of floats, a few units in the last place from exact.
 *
 * <p>The coefficients are minimax fits of our own (Remez exchange on the relative error, 40 digits). Comparisons and blends stand
 * where MIN and MAX would: those carry a fix-up for NaN and -0 that costs more than the rest of the function.
 */
final class VectorMath {
    /** The species of every float kernel: the widest of the machine, at most 512 bits. */
    static final VectorSpecies<Float> F = FloatVector.SPECIES_PREFERRED.vectorBitSize() > 512
            ? FloatVector.SPECIES_512
            : FloatVector.SPECIES_PREFERRED;

    /** Integers of the same shape. */
    static final VectorSpecies<Integer> I = VectorSpecies.of(int.class, F.vectorShape());

    /** Lanes of {@link #F}. */
    static final int L = F.length();

    static final float LOG2E = 1.44269504f;
    static final float LN2 = 0.693147181f;

    /** ln 2 in two parts; the first has few enough bits that a whole number times it is exact. */
    private static final float LN2_HIGH = 0.693359375f, LN2_LOW = -2.12194440e-4f;

    /** Adding it rounds to a whole number and leaves that number, plus a bias, in the low bits. */
    static final float ROUND = Exp2.ROUND;

    /** 2^f = 1 + f (c1 + f (c2 + ...)) for f of [-1/2, 1/2]; emitted code has the same numbers. */
    static final float EXP2_1 = Exp2.C1, EXP2_2 = Exp2.C2, EXP2_3 = Exp2.C3, EXP2_4 = Exp2.C4, EXP2_5 = Exp2.C5;

    /** 1 / sqrt(2 pi): the normal density is this times {@link #bell}. */
    static final float DENSITY = 0.398942280f;

    private VectorMath() {}

    /**
     * 2^x for x of at most 127, which scores below their maximum are: 0 from -127 down, -infinity included; relative error 2e-7.
     */
    static FloatVector exp2(FloatVector x) {
        FloatVector low = x.blend(-127f, x.compare(VectorOperators.LT, -127f));
        FloatVector biased = low.add(ROUND + 127);
        FloatVector f = low.sub(biased.sub(ROUND + 127));
        FloatVector p = f.fma(broadcast(EXP2_5), broadcast(EXP2_4));
        p = p.fma(f, broadcast(EXP2_3)).fma(f, broadcast(EXP2_2));
        p = p.fma(f, broadcast(EXP2_1)).fma(f, broadcast(1f));
        IntVector exponent = biased.reinterpretAsInts().lanewise(VectorOperators.LSHL, 23);
        return p.mul(exponent.reinterpretAsFloats());
    }

    /** e^x, correct for all arguments: 0 at -infinity, denormal results, infinity above 88.73, NaN. */
    static FloatVector exp(FloatVector x) {
        FloatVector low = x.blend(-104f, x.compare(VectorOperators.LT, -104f));
        FloatVector clamped = low.blend(89f, low.compare(VectorOperators.GT, 89f));
        FloatVector rounded = clamped.fma(broadcast(LOG2E), broadcast(ROUND));
        FloatVector n = rounded.sub(ROUND);
        FloatVector r = n.fma(broadcast(-LN2_HIGH), clamped);
        r = n.fma(broadcast(-LN2_LOW), r);
        FloatVector p = r.lanewise(VectorOperators.FMA, 0.00138145987f, 0.00836871688f);
        p = p.fma(r, broadcast(0.0416683880f));
        p = p.fma(r, broadcast(0.166665206f));
        p = p.fma(r, broadcast(0.499999934f));
        p = p.fma(r, broadcast(1f));
        p = p.fma(r, broadcast(1f));
        // 2^n in two factors, because n = 128 and the denormals have no exponent of their own.
        IntVector whole = rounded.reinterpretAsInts().sub(0x4B400000);
        IntVector half = whole.lanewise(VectorOperators.ASHR, 1);
        return p.mul(power(half)).mul(power(whole.sub(half)));
    }

    /** 2^n for n of -126 .. 127. */
    private static FloatVector power(IntVector n) {
        return n.add(127).lanewise(VectorOperators.LSHL, 23).reinterpretAsFloats();
    }

    /** ln x for positive normal x; only that is needed here. */
    static FloatVector log(FloatVector x) {
        // x = 2^n m with m in [sqrt(1/2), sqrt(2)); ln m = 2 artanh(s), s = (m - 1) / (m + 1).
        IntVector bits = x.reinterpretAsInts();
        IntVector shifted = bits.sub(0x3F3504F3).lanewise(VectorOperators.ASHR, 23);
        FloatVector n = (FloatVector) shifted.convertShape(VectorOperators.I2F, F, 0);
        FloatVector m = bits.sub(shifted.lanewise(VectorOperators.LSHL, 23)).reinterpretAsFloats();
        FloatVector f = m.sub(1f);
        FloatVector s = f.div(m.add(1f));
        FloatVector z = s.mul(s);
        FloatVector p = z.lanewise(VectorOperators.FMA, 2f / 9, 2f / 7);
        p = p.fma(z, broadcast(2f / 5));
        p = p.fma(z, broadcast(2f / 3));
        FloatVector series = s.mul(2f).add(p.mul(z).mul(s));
        return n.fma(broadcast(LN2_HIGH), n.fma(broadcast(LN2_LOW), series));
    }

    /** ln(1 + x) for x of [0, 1], to full relative precision also where 1 + x rounds. */
    static FloatVector log1p(FloatVector x) {
        FloatVector u = x.add(1f);
        FloatVector lost = x.sub(u.sub(1f));
        return log(u).add(lost.div(u));
    }

    /** tanh x; an odd polynomial below 0.625, where the quotient of exponentials would cancel. */
    static FloatVector tanh(FloatVector x) {
        FloatVector a = x.abs();
        FloatVector y = x.mul(x);
        FloatVector p = y.lanewise(VectorOperators.FMA, -0.00564831649f, 0.0205898265f);
        p = p.fma(y, broadcast(-0.0537251266f));
        p = p.fma(y, broadcast(0.133312744f));
        p = p.fma(y, broadcast(-0.333332761f));
        FloatVector small = p.mul(y).fma(x, x);
        FloatVector large = broadcast(1f).sub(broadcast(2f).div(exp(a.add(a)).add(1f)));
        FloatVector signed = large.blend(large.neg(), x.compare(VectorOperators.LT, 0f));
        return signed.blend(small, a.compare(VectorOperators.LT, 0.625f));
    }

    /** e^(-x^2 / 2), with the rounding error of the square put back: it would show in the tails. */
    static FloatVector bell(FloatVector x) {
        FloatVector square = x.mul(x);
        FloatVector lost = x.fma(x, square.neg());
        FloatVector e = exp(square.mul(-0.5f));
        // beyond x^2 = inf both parts are infinite and their difference NaN; the exponential is 0 long before
        FloatVector fix = e.mul(lost.mul(-0.5f)).blend(0f, e.compare(VectorOperators.EQ, 0f));
        return e.add(fix);
    }

    /**
     * The normal distribution function Phi(x) = erfc(-x / sqrt 2) / 2, to full relative precision in the lower tail: for z = |x|
     * / sqrt 2, erfc(z) = e^(-z^2) t p(t) with t = 1 / (1 + 0.4 z).
     *
     * @param bell e^(-x^2 / 2), from {@link #bell}
     */
    static FloatVector phi(FloatVector x, FloatVector bell) {
        FloatVector z = x.abs();
        FloatVector t = broadcast(1f).div(z.fma(broadcast(0.282842712f), broadcast(1f)));
        FloatVector p = t.lanewise(VectorOperators.FMA, -0.0295940853f, 0.198011943f);
        p = p.fma(t, broadcast(-0.498808736f));
        p = p.fma(t, broadcast(0.547432081f));
        p = p.fma(t, broadcast(-0.284364156f));
        p = p.fma(t, broadcast(0.272065017f));
        p = p.fma(t, broadcast(0.129679976f));
        p = p.fma(t, broadcast(0.214919030f));
        p = p.fma(t, broadcast(0.224952029f));
        p = p.fma(t, broadcast(0.225706909f));
        FloatVector lower = p.mul(t).mul(0.5f).mul(bell);
        VectorMask<Float> positive = x.compare(VectorOperators.GT, 0f);
        return lower.blend(broadcast(1f).sub(lower), positive);
    }

    private static final VectorShuffle<Float> TURN8 = turn(8), TURN4 = turn(4), TURN2 = turn(2), TURN1 = turn(1);

    private static VectorShuffle<Float> turn(int lanes) {
        return VectorShuffle.iota(F, lanes % L, 1, true);
    }

    /**
     * Sum of the lanes, halves first. {@code reduceLanes(ADD)} may not stand here: its order is one thing in the interpreter and
     * another in compiled code, so that the last bit would depend on when the JIT gets to a loop.
     */
    static float sum(FloatVector x) {
        if (L >= 16) {
            x = x.add(x.rearrange(TURN8));
        }
        if (L >= 8) {
            x = x.add(x.rearrange(TURN4));
        }
        x = x.add(x.rearrange(TURN2));
        return x.add(x.rearrange(TURN1)).lane(0);
    }

    /** The value in every lane. */
    static FloatVector broadcast(float value) {
        return FloatVector.broadcast(F, value);
    }

    /** The dropout bits of {@link Noise} for L elements: {@code low} and {@code high} are the halves of their indices. */
    static IntVector noise(long seed, IntVector low, IntVector high) {
        IntVector h = mix(low.lanewise(VectorOperators.XOR, (int) seed));
        IntVector high2 = high.mul(0x9E3779B9).lanewise(VectorOperators.XOR, (int) (seed >>> 32));
        return mix(h.lanewise(VectorOperators.XOR, high2));
    }

    private static IntVector mix(IntVector x) {
        x = x.lanewise(VectorOperators.XOR, x.lanewise(VectorOperators.LSHR, 16))
                .mul(0x7feb352d);
        x = x.lanewise(VectorOperators.XOR, x.lanewise(VectorOperators.LSHR, 15))
                .mul(0x846ca68b);
        return x.lanewise(VectorOperators.XOR, x.lanewise(VectorOperators.LSHR, 16));
    }

    /** The number that 24 random bits must reach for the element to survive a dropout of p: {@link Noise#keeps}. */
    static int threshold(float p) {
        return (int) Math.ceil(p * 0x1p24);
    }
}
