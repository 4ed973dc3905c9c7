package anneal.kernels.emit;

import anneal.kernels.emit.Vec.Xmm;
import anneal.kernels.emit.Widening.Format;
import java.util.function.Consumer;

/**
 * The code of {@link Widening}: functions (floats RDI, stored numbers RSI, blocks of a row RDX, rows RCX, bytes from the end of a row
 * to the next one R8) that go from block to block. R9 keeps the blocks of a row.
 *
 * <p>Codes are widened from bytes to 32 bits as they are loaded, shifted and masked there, converted, and scaled. Scales that
 * a block has several of are computed together and kept below RSP, in the red zone that is a leaf function's own, from where
 * each is loaded into all lanes.
 *
 * <pre>
 * v0 .. v3   numbers         v8   d        v9   minimum
 * v12        -8 or -32       v13  0x30     v14  15          in all lanes each
 * </pre>
 */
final class WideningCode<V extends Vec> {
    private static final int FLOAT = 4;
    /** Numbers of a block of the plain formats, which have none: so many a turn, the rest one by one. */
    private static final int TURN = 32;
    /** Where scales and minima are kept, from RSP. */
    private static final int SCALES = -128, MINIMA = -64;

    private final Assembler a;
    private final Constants constants;
    private final Vectors<V> v;
    private final Vectors<Xmm> x;
    private final int lanes;
    private final V d, minimum, offset, upperTwo, four;

    private WideningCode(Assembler a, Vectors<V> v) {
        this.a = a;
        this.constants = new Constants(a);
        this.v = v;
        this.x = a.xmm();
        this.lanes = v.lanes();
        d = v.reg(8);
        minimum = v.reg(9);
        offset = v.reg(12);
        upperTwo = v.reg(13);
        four = v.reg(14);
    }

    static byte[] of(Format format, Level level) {
        Assembler a = new Assembler();
        return level.bits() == 512
                ? new WideningCode<>(a, a.zmm()).of(format)
                : new WideningCode<>(a, a.ymm()).of(format);
    }

    private byte[] of(Format format) {
        constants.broadcast(v, offset, format == Format.Q6_K ? -32 : -8);
        constants.broadcast(v, upperTwo, 0x30);
        constants.broadcast(v, four, 15);
        Label row = new Label();
        a.mov(Gp.R9, Gp.RDX);
        a.bind(row);
        a.mov(Gp.RDX, Gp.R9);
        switch (format) {
            case F16, BF16 -> plain(format);
            case Q4_0, Q4_1, Q8_0, Q4_K, Q6_K -> {
                Label block = new Label();
                a.bind(block);
                block(format);
                a.add(Gp.RSI, format.bytes());
                a.add(Gp.RDI, FLOAT * format.size());
                a.sub(Gp.RDX, 1);
                a.jnz(block);
            }
        }
        a.add(Gp.RSI, Gp.R8);
        a.sub(Gp.RCX, 1);
        a.jnz(row);
        a.vzeroupper();
        a.ret();
        constants.end();
        return a.bytes();
    }

    private void block(Format format) {
        switch (format) {
            case F16, BF16 -> throw new IllegalArgumentException("emit: " + format + " has no blocks");
            case Q4_0 -> q4();
            case Q4_1 -> q4WithMinimum();
            case Q8_0 -> q8();
            case Q4_K -> q4K();
            case Q6_K -> q6K();
        }
    }

    // ---------------------------------------------------------------- plain numbers

    private void plain(Format format) {
        Label turn = new Label(), last = new Label(), one = new Label(), end = new Label();
        a.sub(Gp.RDX, TURN);
        a.jl(last);
        a.bind(turn);
        for (int i = 0; i < TURN; i += lanes) {
            V f = v.reg(i / lanes);
            if (format == Format.F16) {
                v.vcvtph2ps(f, Mem.at(Gp.RSI, 2 * i));
            } else {
                v.vpmovzxwd(f, Mem.at(Gp.RSI, 2 * i));
                v.vpslld(f, f, 16);
            }
            v.vmovups(Mem.at(Gp.RDI, FLOAT * i), f);
        }
        a.add(Gp.RSI, 2 * TURN);
        a.add(Gp.RDI, FLOAT * TURN);
        a.sub(Gp.RDX, TURN);
        a.jge(turn);
        a.bind(last);
        a.add(Gp.RDX, TURN);
        a.jz(end);
        a.bind(one);
        if (format == Format.F16) {
            half(x.reg(0), Mem.at(Gp.RSI));
        } else {
            x.vxorps(x.reg(0), x.reg(0), x.reg(0));
            x.vpinsrw(x.reg(0), x.reg(0), Mem.at(Gp.RSI), 1);
        }
        x.vmovss(Mem.at(Gp.RDI), x.reg(0));
        a.add(Gp.RSI, 2);
        a.add(Gp.RDI, FLOAT);
        a.sub(Gp.RDX, 1);
        a.jnz(one);
        a.bind(end);
    }

    /** The lowest lane of to = one half float; nothing behind it is read. */
    private void half(Xmm to, Mem from) {
        x.vxorps(to, to, to);
        x.vpinsrw(to, to, from, 0);
        x.vcvtph2ps(to, to);
    }

    /** All lanes of to = the half float at a byte of the block. */
    private void half(V to, int at) {
        half(x.reg(0), Mem.at(Gp.RSI, at));
        v.vbroadcastss(to, x.reg(0));
    }

    // ---------------------------------------------------------------- blocks of 32

    private void q4() {
        half(d, 0);
        for (int i = 0; i < 16; i += lanes) {
            V low = v.reg(0), high = v.reg(1);
            nibbles(low, high, 2 + i);
            v.vpaddd(low, low, offset);
            v.vpaddd(high, high, offset);
            multiply(low, d);
            multiply(high, d);
            store(i, low);
            store(16 + i, high);
        }
    }

    private void q4WithMinimum() {
        half(d, 0);
        half(minimum, 2);
        for (int i = 0; i < 16; i += lanes) {
            V low = v.reg(0), high = v.reg(1);
            nibbles(low, high, 4 + i);
            multiply(low, d);
            multiply(high, d);
            v.vaddps(low, low, minimum);
            v.vaddps(high, high, minimum);
            store(i, low);
            store(16 + i, high);
        }
    }

    private void q8() {
        half(d, 0);
        for (int i = 0; i < 32; i += lanes) {
            v.vpmovsxbd(v.reg(0), Mem.at(Gp.RSI, 2 + i));
            multiply(v.reg(0), d);
            store(i, v.reg(0));
        }
    }

    /** Lower and upper four bits of the bytes from one of the block on. */
    private void nibbles(V low, V high, int at) {
        v.vpmovzxbd(low, Mem.at(Gp.RSI, at));
        v.vpsrld(high, low, 4);
        v.vpand(low, low, four);
    }

    /** Codes become floats times a scale. */
    private void multiply(V codes, V scale) {
        v.vcvtdq2ps(codes, codes);
        v.vmulps(codes, codes, scale);
    }

    /** Numbers of the block from {@code at} on. */
    private void store(int at, V numbers) {
        v.vmovups(Mem.at(Gp.RDI, FLOAT * at), numbers);
    }

    // ---------------------------------------------------------------- blocks of 256

    /** Groups of 32, two of which share bytes. v8 to v11 are their scales and minima. */
    private void q4K() {
        half(d, 0);
        half(minimum, 2);
        sixBits(SCALES, x.reg(8), 4, c -> x.vpand(c, c, x.reg(14)));
        sixBits(MINIMA, x.reg(9), 8, c -> x.vpsrld(c, c, 4));
        V low = v.reg(0), high = v.reg(1), scale0 = v.reg(8), scale1 = v.reg(9), min0 = v.reg(10), min1 = v.reg(11);
        for (int g = 0; g < 8; g += 2) {
            v.vbroadcastss(scale0, Mem.at(Gp.RSP, SCALES + FLOAT * g));
            v.vbroadcastss(scale1, Mem.at(Gp.RSP, SCALES + FLOAT * (g + 1)));
            v.vbroadcastss(min0, Mem.at(Gp.RSP, MINIMA + FLOAT * g));
            v.vbroadcastss(min1, Mem.at(Gp.RSP, MINIMA + FLOAT * (g + 1)));
            for (int i = 0; i < 32; i += lanes) {
                nibbles(low, high, 16 + 16 * g + i);
                multiply(low, scale0);
                multiply(high, scale1);
                v.vsubps(low, low, min0);
                v.vsubps(high, high, min1);
                store(32 * g + i, low);
                store(32 * (g + 1) + i, high);
            }
        }
    }

    /**
     * Eight scales, or minima, of six bits times a factor. Four bytes have those of groups 0 to 3 in their lower six bits, and
     * the upper two bits of groups 4 to 7 above; the lower four of those are in bytes 12 to 15 of the block.
     *
     * @param at the four bytes
     * @param fourBits how the lower or the upper four bits of a byte are taken
     */
    private void sixBits(int to, Xmm factor, int at, Consumer<Xmm> fourBits) {
        Xmm first = x.reg(0), last = x.reg(1), rest = x.reg(2);
        x.vpmovzxbd(last, Mem.at(Gp.RSI, at));
        x.vpmovzxbd(rest, Mem.at(Gp.RSI, 12));
        x.vpslld(first, last, 26);
        x.vpsrld(first, first, 26);
        x.vpsrld(last, last, 2);
        x.vpand(last, last, x.reg(13));
        fourBits.accept(rest);
        x.vpor(last, last, rest);
        x.vcvtdq2ps(first, first);
        x.vcvtdq2ps(last, last);
        x.vmulps(first, first, factor);
        x.vmulps(last, last, factor);
        x.vmovups(Mem.at(Gp.RSP, to), first);
        x.vmovups(Mem.at(Gp.RSP, to + 16), last);
    }

    /** Each half of a block has its numbers in four quarters of 32, which share bytes of upper bits; lower bits are shared by two. */
    private void q6K() {
        half(d, 208);
        for (int i = 0; i < 16; i += lanes) {
            v.vpmovsxbd(v.reg(0), Mem.at(Gp.RSI, 192 + i));
            multiply(v.reg(0), d);
            v.vmovups(Mem.at(Gp.RSP, SCALES + FLOAT * i), v.reg(0));
        }
        V even = v.reg(0), odd = v.reg(1), upper = v.reg(2), q = v.reg(3), bits = v.reg(4);
        for (int half = 0; half < 2; half++) {
            for (int i = 0; i < 32; i += lanes) {
                v.vpmovzxbd(even, Mem.at(Gp.RSI, 64 * half + i));
                v.vpmovzxbd(odd, Mem.at(Gp.RSI, 64 * half + 32 + i));
                v.vpmovzxbd(upper, Mem.at(Gp.RSI, 128 + 32 * half + i));
                for (int quarter = 0; quarter < 4; quarter++) {
                    sixBits(q, quarter % 2 == 0 ? even : odd, upper, bits, quarter);
                    int at = 128 * half + 32 * quarter + i;
                    v.vbroadcastss(bits, Mem.at(Gp.RSP, SCALES + FLOAT * (at / 16)));
                    v.vpaddd(q, q, offset);
                    multiply(q, bits);
                    store(at, q);
                }
            }
        }
    }

    /** q = a quarter's four bits of one register with its two bits of the other above them. */
    private void sixBits(V q, V lower, V upper, V scratch, int quarter) {
        if (quarter < 2) {
            v.vpand(q, lower, four);
            v.vpslld(scratch, upper, 4 - 2 * quarter);
        } else {
            v.vpsrld(q, lower, 4);
            v.vpsrld(scratch, upper, 2 * quarter - 4);
        }
        v.vpand(scratch, scratch, upperTwo);
        v.vpor(q, q, scratch);
    }
}
