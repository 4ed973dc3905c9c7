package anneal.kernels.emit;

import anneal.kernels.emit.Vec.Xmm;
import anneal.kernels.emit.Vec.Ymm;

/**
 * Rounds floats to bf16 in their place: the lower half of each becomes 0, to nearest even, NaN stays NaN and becomes quiet,
 * denormals become 0 of their sign.
 *
 * <p>That is what VCVTNEPS2BF16 does, and the processor's products of bf16 read denormals as 0 too. Levels without it do the
 * same in integers, so that all levels agree to the bit.
 *
 * <pre>
 * ymm6, ymm7     scratch
 * ymm10 .. ymm15 constants, below AVX512_BF16
 * </pre>
 */
final class Rounding {
    private final Vectors<Ymm> y;
    private final Vectors<Xmm> x;
    private final boolean instruction;
    private final Ymm magnitudeBits, largestDenormal, one, almostHalf, quietBit, upperHalf;

    Rounding(Assembler a, Level level) {
        this.y = a.ymm();
        this.x = a.xmm();
        this.instruction = level.has(Level.AVX512_BF16);
        magnitudeBits = y.reg(10);
        largestDenormal = y.reg(11);
        one = y.reg(12);
        almostHalf = y.reg(13);
        quietBit = y.reg(14);
        upperHalf = y.reg(15);
    }

    /** Puts the constants into their registers; RAX is lost. */
    void begin(Constants constants) {
        if (!instruction) {
            constants.broadcast(y, magnitudeBits, 0x7FFF_FFFF);
            constants.broadcast(y, largestDenormal, 0x007F_FFFF);
            constants.broadcast(y, one, 1);
            constants.broadcast(y, almostHalf, 0x7FFF);
            constants.broadcast(y, quietBit, 0x0040_0000);
            constants.broadcast(y, upperHalf, 0xFFFF_0000);
        }
    }

    /** Rounds each lane of f. */
    void round(Ymm f) {
        if (instruction) {
            Xmm halves = x.reg(f.number());
            y.vcvtneps2bf16(halves, f);
            y.vpmovzxwd(f, halves);
            y.vpslld(f, f, 16);
            return;
        }
        Ymm s = y.reg(6), t = y.reg(7);
        // f + 0x7FFF, and 1 more where the last bit that stays is odd: a carry into the upper half rounds up
        y.vpsrld(s, f, 16);
        y.vpand(s, s, one);
        y.vpaddd(s, s, almostHalf);
        y.vpaddd(s, s, f);
        // no number: its own upper half, since the sum may have run over
        y.vcmpunordps(t, f, f);
        y.vblendvps(s, s, f, t);
        y.vpand(t, t, quietBit);
        y.vpor(s, s, t);
        // zero and denormals: the sign alone
        y.vpand(t, f, magnitudeBits);
        y.vpcmpgtd(t, t, largestDenormal);
        y.vpandn(t, t, magnitudeBits);
        y.vpandn(s, t, s);
        y.vpand(f, s, upperHalf);
    }

    /** to = pairs: the rounded lanes of {@code low} in the lower halves, of {@code high} in the upper ones; both are lost. */
    void pair(Ymm to, Ymm low, Ymm high) {
        round(low);
        round(high);
        y.vpsrld(low, low, 16);
        y.vpor(to, low, high);
    }
}
