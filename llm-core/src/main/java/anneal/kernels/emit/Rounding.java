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
    /** What the constants are, in the order of their registers from ymm10. */
    private static final int[] CONSTANTS = {0x7FFF_FFFF, 0x007F_FFFF, 1, 0x7FFF, 0x0040_0000, 0xFFFF_0000};

    private final Assembler a;
    private final Vectors<Ymm> y;
    private final boolean instruction;
    private final Label table = new Label();
    private final Ymm magnitudeBits, largestDenormal, one, almostHalf, quietBit, upperHalf;

    Rounding(Assembler a, Level level) {
        this.a = a;
        this.y = a.ymm();
        this.instruction = level.has(Level.AVX512_BF16);
        magnitudeBits = y.reg(10);
        largestDenormal = y.reg(11);
        one = y.reg(12);
        almostHalf = y.reg(13);
        quietBit = y.reg(14);
        upperHalf = y.reg(15);
    }

    /** Puts the constants into their registers; RAX is lost. */
    void begin() {
        if (!instruction) {
            a.lea(Gp.RAX, table);
            for (int i = 0; i < CONSTANTS.length; i++) {
                y.vpbroadcastd(y.reg(10 + i), Mem.at(Gp.RAX, 4 * i));
            }
        }
    }

    /** The constants themselves, behind the last instruction. */
    void end() {
        if (!instruction) {
            a.bind(table);
            for (int constant : CONSTANTS) {
                a.put4(constant);
            }
        }
    }

    /** Rounds each lane of x. */
    void round(Ymm x) {
        if (instruction) {
            Xmm halves = a.xmm().reg(x.number());
            y.vcvtneps2bf16(halves, x);
            y.vpmovzxwd(x, halves);
            y.vpslld(x, x, 16);
            return;
        }
        Ymm s = y.reg(6), t = y.reg(7);
        // x + 0x7FFF, and 1 more where the last bit that stays is odd: a carry into the upper half rounds up
        y.vpsrld(s, x, 16);
        y.vpand(s, s, one);
        y.vpaddd(s, s, almostHalf);
        y.vpaddd(s, s, x);
        // no number: its own upper half, since the sum may have run over
        y.vcmpunordps(t, x, x);
        y.vblendvps(s, s, x, t);
        y.vpand(t, t, quietBit);
        y.vpor(s, s, t);
        // zero and denormals: the sign alone
        y.vpand(t, x, magnitudeBits);
        y.vpcmpgtd(t, t, largestDenormal);
        y.vpandn(t, t, magnitudeBits);
        y.vpandn(s, t, s);
        y.vpand(x, s, upperHalf);
    }
}
