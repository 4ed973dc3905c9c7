package anneal.kernels.emit;

import anneal.kernels.emit.Vec.Xmm;
import java.util.function.IntFunction;

/**
 * Vector instructions of one register width: AVX2 and FMA for 128 and 256 bits, AVX-512 for 512, or where a register above 15
 * or a mask is used.
 *
 * <p>Two encodings: VEX (two or three bytes before the opcode) and EVEX (four, with masks, broadcasts and registers to 31). An
 * instruction takes VEX where it can, as GNU as does.
 */
final class Vectors<V extends Vec> {
    /** Opcode maps. */
    private static final int M0F = 1, M38 = 2, M3A = 3;
    /** Mandatory prefixes. */
    private static final int P0 = 0, P66 = 1, PF3 = 2, PF2 = 3;
    /** What one step of a one-byte EVEX displacement is: the whole vector, half, a quarter of it, or so many bytes. */
    private static final int WHOLE = 0, HALF = 1, QUARTER = 2, NUMBER = -4, SHORT = -2;

    private final Assembler asm;
    private final int bits;
    private final IntFunction<V> registers;

    Vectors(Assembler asm, int bits, IntFunction<V> registers) {
        this.asm = asm;
        this.bits = bits;
        this.registers = registers;
    }

    /** Register number i. */
    V reg(int i) {
        return registers.apply(i);
    }

    /** Floats in a register. */
    int lanes() {
        return bits / 32;
    }

    /**
     * An instruction.
     *
     * @param map opcode map
     * @param prefix mandatory prefix
     * @param wide the W bit
     * @param opcode in the map
     * @param step what a displacement counts with EVEX
     * @param evexOnly true if there is no VEX form
     */
    private record Op(int map, int prefix, int wide, int opcode, int step, boolean evexOnly) {
        Op(int map, int prefix, int opcode) {
            this(map, prefix, 0, opcode, WHOLE, false);
        }

        Op step(int s) {
            return new Op(map, prefix, wide, opcode, s, evexOnly);
        }

        Op evex() {
            return new Op(map, prefix, wide, opcode, step, true);
        }
    }

    // ---------------------------------------------------------------- moves

    void vmovups(V to, Mem from) {
        memory(new Op(M0F, P0, 0x10), to.number(), 0, from, null, false);
    }

    void vmovups(Mem to, V from) {
        memory(new Op(M0F, P0, 0x11), from.number(), 0, to, null, false);
    }

    /** Only the lanes of the mask are read. */
    void vmovups(V to, Mask mask, Mem from) {
        memory(new Op(M0F, P0, 0x10), to.number(), 0, from, mask, false);
    }

    /** Only the lanes of the mask are written. */
    void vmovups(Mem to, Mask mask, V from) {
        memory(new Op(M0F, P0, 0x11), from.number(), 0, to, mask, false);
    }

    /** A mask of 16 lanes from 16 bits of memory; AVX-512. */
    void kmovw(Mask to, Mem from) {
        memory(new Op(M0F, P0, 0x90), to.number(), 0, from, null, false, 128);
    }

    /** A mask of 64 lanes from 64 bits of memory; AVX-512 BW. */
    void kmovq(Mask to, Mem from) {
        memory(new Op(M0F, P0, 1, 0x90, WHOLE, false), to.number(), 0, from, null, false, 128);
    }

    /** Only the bytes of the mask are read; AVX-512 BW. */
    void vmovdqu8(V to, Mask mask, Mem from) {
        memory(new Op(M0F, PF2, 0x6F).evex(), to.number(), 0, from, mask, false);
    }

    /** Only the lanes whose number in {@code mask} is negative are read, the others become 0. */
    void vmaskmovps(V to, V mask, Mem from) {
        memory(new Op(M38, P66, 0x2C), to.number(), mask.number(), from, null, false);
    }

    /** Only the lanes whose number in {@code mask} is negative are written. */
    void vmaskmovps(Mem to, V mask, V from) {
        memory(new Op(M38, P66, 0x2E), from.number(), mask.number(), to, null, false);
    }

    /** a with its 16 bits number {@code at} replaced by those of memory. */
    void vpinsrw(Xmm to, Xmm a, Mem from, int at) {
        memory(new Op(M0F, P66, 0xC4), to.number(), a.number(), from, null, false, 128);
        asm.put(at);
    }

    /** 32 bits into the lowest lane, zeros above. */
    void vmovd(V to, Mem from) {
        memory(new Op(M0F, P66, 0x6E).step(NUMBER), to.number(), 0, from, null, false);
    }

    /** The lowest lane. */
    void vmovss(Mem to, Xmm from) {
        memory(new Op(M0F, PF3, 0x11).step(NUMBER), from.number(), 0, to, null, false, 128);
    }

    /** The two lowest lanes. */
    void vmovlps(Mem to, Xmm from) {
        memory(new Op(M0F, P0, 0x13), from.number(), 0, to, null, false, 128);
    }

    void vbroadcastss(V to, Mem from) {
        memory(new Op(M38, P66, 0x18).step(NUMBER), to.number(), 0, from, null, false);
    }

    void vbroadcastss(V to, Xmm from) {
        register(new Op(M38, P66, 0x18), to.number(), 0, from.number(), null);
    }

    void vpbroadcastd(V to, Mem from) {
        memory(new Op(M38, P66, 0x58).step(NUMBER), to.number(), 0, from, null, false);
    }

    /** a with its upper half replaced by b. */
    void vinsertf128(Vec.Ymm to, Vec.Ymm a, Xmm b) {
        register(new Op(M3A, P66, 0x18), to.number(), a.number(), b.number(), null, 256);
        asm.put(1);
    }

    /** a with its upper half replaced by 128 bits of memory. */
    void vinsertf128(Vec.Ymm to, Vec.Ymm a, Mem b) {
        memory(new Op(M3A, P66, 0x18), to.number(), a.number(), b, null, false, 256);
        asm.put(1);
    }

    /** 16 bits in all lanes of 16 bits. */
    void vpbroadcastw(V to, Mem from) {
        memory(new Op(M38, P66, 0x79).step(SHORT), to.number(), 0, from, null, false);
    }

    /** Each byte is the one of a that its index chooses within the same 128 bits. No 512-bit form. */
    void vpshufb(V to, V a, V index) {
        register(new Op(M38, P66, 0x00), to.number(), a.number(), index.number(), null);
    }

    /** A byte in all lanes of bytes. No 512-bit form. */
    void vpbroadcastb(V to, Mem from) {
        memory(new Op(M38, P66, 0x78).step(1), to.number(), 0, from, null, false);
    }

    /** 128 bits in both halves; 256-bit registers 0 to 15 only. */
    void vbroadcasti128(V to, Mem from) {
        memory(new Op(M38, P66, 0x5A), to.number(), 0, from, null, false);
    }

    /** Each even lane in itself and the one above it. */
    void vmovsldup(V to, V from) {
        register(new Op(M0F, PF3, 0x12), to.number(), 0, from.number(), null);
    }

    /** Lanes of one register, chosen within each 128 bits by pairs of bits. */
    void vpshufd(V to, V from, int choice) {
        register(new Op(M0F, P66, 0x70), to.number(), 0, from.number(), null);
        asm.put(choice);
    }

    /** The upper half of a register of 256 bits. */
    void vextractf128(Xmm to, Vec.Ymm from) {
        register(new Op(M3A, P66, 0x19), from.number(), 0, to.number(), null, 256);
        asm.put(1);
    }

    /** Lanes of two registers, chosen within each 128 bits by pairs of bits. */
    void vshufps(V to, V a, V b, int choice) {
        register(new Op(M0F, P0, 0xC6), to.number(), a.number(), b.number(), null);
        asm.put(choice);
    }

    /** Lower lanes of a and b in turn, within each 128 bits. */
    void vunpcklps(V to, V a, V b) {
        register(new Op(M0F, P0, 0x14), to.number(), a.number(), b.number(), null);
    }

    /** Upper lanes of a and b in turn, within each 128 bits. */
    void vunpckhps(V to, V a, V b) {
        register(new Op(M0F, P0, 0x15), to.number(), a.number(), b.number(), null);
    }

    /** Four lanes of 64 bits in the order that pairs of bits say. */
    void vpermq(Vec.Ymm to, Vec.Ymm from, int order) {
        register(new Op(M3A, P66, 1, 0x00, WHOLE, false), to.number(), 0, from.number(), null, 256);
        asm.put(order);
    }

    /** Lanes of b where the sign of {@code mask} is set, else of a; registers 0 to 15. No 512-bit form. */
    void vblendvps(V to, V a, V b, V mask) {
        register(new Op(M3A, P66, 0x4A), to.number(), a.number(), b.number(), null);
        asm.put(mask.number() << 4);
    }

    /** to[i] = from[index[i] mod 8 or 16]. */
    void vpermps(V to, V index, V from) {
        register(new Op(M38, P66, 0x16), to.number(), index.number(), from.number(), null);
    }

    /** The same with the table in memory. */
    void vpermps(V to, V index, Mem from) {
        memory(new Op(M38, P66, 0x16), to.number(), index.number(), from, null, false);
    }

    /** indexAndTo[i] = one of the lanes of a and b together: a table of 32 numbers. */
    void vpermi2ps(V indexAndTo, V a, V b) {
        register(new Op(M38, P66, 0x77).evex(), indexAndTo.number(), a.number(), b.number(), null);
    }

    // ---------------------------------------------------------------- floats

    void vxorps(V to, V a, V b) {
        // EVEX has it only with AVX-512 DQ; clearing a register above 15 is vpxord
        boolean high = bits == 512 || Math.max(to.number(), Math.max(a.number(), b.number())) > 15;
        register(
                high ? new Op(M0F, P66, 0xEF).evex() : new Op(M0F, P0, 0x57),
                to.number(),
                a.number(),
                b.number(),
                null);
    }

    void vaddps(V to, V a, V b) {
        register(new Op(M0F, P0, 0x58), to.number(), a.number(), b.number(), null);
    }

    void vaddps(V to, V a, Mem b) {
        memory(new Op(M0F, P0, 0x58), to.number(), a.number(), b, null, false);
    }

    void vsubps(V to, V a, V b) {
        register(new Op(M0F, P0, 0x5C), to.number(), a.number(), b.number(), null);
    }

    void vmulps(V to, V a, V b) {
        register(new Op(M0F, P0, 0x59), to.number(), a.number(), b.number(), null);
    }

    void vmulps(V to, V a, Mem b) {
        memory(new Op(M0F, P0, 0x59), to.number(), a.number(), b, null, false);
    }

    void vmaxps(V to, V a, V b) {
        register(new Op(M0F, P0, 0x5F), to.number(), a.number(), b.number(), null);
    }

    /** All bits of a lane = a and b cannot be compared, so one is no number. Registers 0 to 15. */
    void vcmpunordps(V to, V a, V b) {
        register(new Op(M0F, P0, 0xC2), to.number(), a.number(), b.number(), null);
        asm.put(3);
    }

    void vdivps(V to, V a, V b) {
        register(new Op(M0F, P0, 0x5E), to.number(), a.number(), b.number(), null);
    }

    /** The smaller one; b if one of them is NaN. */
    void vminps(V to, V a, V b) {
        register(new Op(M0F, P0, 0x5D), to.number(), a.number(), b.number(), null);
    }

    /** sum += a b. */
    void vfmadd231ps(V sum, V a, V b) {
        register(new Op(M38, P66, 0xB8), sum.number(), a.number(), b.number(), null);
    }

    /** a = a b + c. */
    void vfmadd213ps(V a, V b, V c) {
        register(new Op(M38, P66, 0xA8), a.number(), b.number(), c.number(), null);
    }

    /** sum += a b. */
    void vfmadd231ps(V sum, V a, Mem b) {
        memory(new Op(M38, P66, 0xB8), sum.number(), a.number(), b, null, false);
    }

    /** Neighbours added, within each 128 bits. */
    void vhaddps(V to, V a, V b) {
        register(new Op(M0F, PF2, 0x7C), to.number(), a.number(), b.number(), null);
    }

    /** mask = lanes of a class: {@code classes} has a bit for each, Intel's manual says which. AVX-512 DQ. */
    void vfpclassps(Mask to, V a, int classes) {
        register(new Op(M3A, P66, 0x66).evex(), to.number(), 0, a.number(), null);
        asm.put(classes);
    }

    /** Of each two numbers one, with a sign: {@code choice} says which, Intel's manual how. AVX-512 DQ. */
    void vrangeps(V to, V a, V b, int choice) {
        register(new Op(M3A, P66, 0x50).evex(), to.number(), a.number(), b.number(), null);
        asm.put(choice);
    }

    /** The lanes of the mask become 0; AVX-512. */
    void clear(V to, Mask mask) {
        register(new Op(M0F, P66, 0xEF).evex(), to.number(), to.number(), to.number(), mask);
    }

    /** The result is 0 if no bit of both masks is set; AVX-512. */
    void kortestw(Mask a, Mask b) {
        register(new Op(M0F, P0, 0x98), a.number(), 0, b.number(), null, 128);
    }

    // ---------------------------------------------------------------- low precision

    /** Floats to bf16, to nearest even; denormals become 0, whatever MXCSR says. AVX-512 BF16. */
    void vcvtneps2bf16(Xmm to, Vec.Ymm from) {
        register(new Op(M38, PF3, 0x72).evex(), to.number(), 0, from.number(), null, 256);
    }

    /** The same of sixteen. */
    void vcvtneps2bf16(Vec.Ymm to, Vec.Zmm from) {
        register(new Op(M38, PF3, 0x72).evex(), to.number(), 0, from.number(), null, 512);
    }

    /** The same of twice as many: those of {@code low} first, then those of {@code high}. AVX-512 BF16. */
    void vcvtne2ps2bf16(V to, V high, V low) {
        register(new Op(M38, PF2, 0x72).evex(), to.number(), high.number(), low.number(), null);
    }

    /** sum += pairs of bf16 multiplied; AVX-512 BF16. */
    void vdpbf16ps(V sum, V a, V b) {
        register(new Op(M38, PF3, 0x52).evex(), sum.number(), a.number(), b.number(), null);
    }

    /** sum += four products of bytes, a without and b with sign; AVX-512 VNNI. */
    void vpdpbusd(V sum, V a, V b) {
        register(new Op(M38, P66, 0x50).evex(), sum.number(), a.number(), b.number(), null);
    }

    /** Two products of bytes added, a without and b with sign, as 16 bits that saturate. */
    void vpmaddubsw(V to, V a, V b) {
        register(new Op(M38, P66, 0x04), to.number(), a.number(), b.number(), null);
    }

    /** sum += four products of bytes, a without and b with sign; AVX-512 VNNI. */
    void vpdpbusd(V sum, V a, Mem b) {
        memory(new Op(M38, P66, 0x50).evex(), sum.number(), a.number(), b, null, false);
    }

    /** Two products of bytes added, a without and b with sign, as 16 bits that saturate. */
    void vpmaddubsw(V to, V a, Mem b) {
        memory(new Op(M38, P66, 0x04), to.number(), a.number(), b, null, false);
    }

    /** Two products of 16 bits added, as 32 bits. */
    void vpmaddwd(V to, V a, V b) {
        register(new Op(M0F, P66, 0xF5), to.number(), a.number(), b.number(), null);
    }

    /** b with the sign of a; 0 where a is 0. No 512-bit form. */
    void vpsignb(V to, V b, V a) {
        register(new Op(M38, P66, 0x08), to.number(), b.number(), a.number(), null);
    }

    // ---------------------------------------------------------------- integers and conversions

    void vpand(V to, V a, V b) {
        boolean high = bits == 512 || Math.max(to.number(), Math.max(a.number(), b.number())) > 15;
        Op op = new Op(M0F, P66, 0xDB);
        register(high ? op.evex() : op, to.number(), a.number(), b.number(), null);
    }

    /** b without the bits of a. */
    void vpandn(V to, V a, V b) {
        register(new Op(M0F, P66, 0xDF), to.number(), a.number(), b.number(), null);
    }

    void vpor(V to, V a, V b) {
        register(new Op(M0F, P66, 0xEB), to.number(), a.number(), b.number(), null);
    }

    /** All bits of a lane = a is greater than b, with signs; registers 0 to 15. No 512-bit form. */
    void vpcmpgtd(V to, V a, V b) {
        register(new Op(M0F, P66, 0x66), to.number(), a.number(), b.number(), null);
    }

    /** All bits of a byte = a equals b; registers 0 to 15. No 512-bit form. */
    void vpcmpeqb(V to, V a, V b) {
        register(new Op(M0F, P66, 0x74), to.number(), a.number(), b.number(), null);
    }

    void vpaddd(V to, V a, V b) {
        register(new Op(M0F, P66, 0xFE), to.number(), a.number(), b.number(), null);
    }

    void vpsubd(V to, V a, V b) {
        register(new Op(M0F, P66, 0xFA), to.number(), a.number(), b.number(), null);
    }

    void vpsubd(V to, V a, Mem b) {
        memory(new Op(M0F, P66, 0xFA), to.number(), a.number(), b, null, false);
    }

    /** The larger one, with sign. Floats without sign compare like integers, NaN above all. */
    void vpmaxsd(V to, V a, V b) {
        register(new Op(M38, P66, 0x3D), to.number(), a.number(), b.number(), null);
    }

    /** 32 bits of a and b to 16 that saturate, within each 128 bits. */
    void vpackssdw(V to, V a, V b) {
        register(new Op(M0F, P66, 0x6B), to.number(), a.number(), b.number(), null);
    }

    /** 16 bits of a and b to 8 that saturate, within each 128 bits. */
    void vpacksswb(V to, V a, V b) {
        register(new Op(M0F, P66, 0x63), to.number(), a.number(), b.number(), null);
    }

    /** to[i] = a[i] shifted right, without sign, by the lane i of {@code by}. */
    void vpsrlvd(V to, V a, V by) {
        register(new Op(M38, P66, 0x45), to.number(), a.number(), by.number(), null);
    }

    void vpsrld(V to, V a, int by) {
        register(new Op(M0F, P66, 0x72), 2, to.number(), a.number(), null);
        asm.put(by);
    }

    void vpslld(V to, V a, int by) {
        register(new Op(M0F, P66, 0x72), 6, to.number(), a.number(), null);
        asm.put(by);
    }

    void vcvtdq2ps(V to, V from) {
        register(new Op(M0F, P0, 0x5B), to.number(), 0, from.number(), null);
    }

    /** Floats to the nearest integers, halves to the even one; what has none becomes -2^31. */
    void vcvtps2dq(V to, V from) {
        register(new Op(M0F, P66, 0x5B), to.number(), 0, from.number(), null);
    }

    /** Bytes without sign to 32 bits, from the lowest lanes. */
    void vpmovzxbd(V to, Xmm from) {
        register(new Op(M38, P66, 0x31), to.number(), 0, from.number(), null);
    }

    /** Bytes without sign to 32 bits. */
    void vpmovzxbd(V to, Mem from) {
        memory(new Op(M38, P66, 0x31).step(QUARTER), to.number(), 0, from, null, false);
    }

    /** Bytes with sign to 32 bits. */
    void vpmovsxbd(V to, Mem from) {
        memory(new Op(M38, P66, 0x21).step(QUARTER), to.number(), 0, from, null, false);
    }

    /** Bytes with sign to 16 bits. */
    void vpmovsxbw(V to, Mem from) {
        memory(new Op(M38, P66, 0x20).step(HALF), to.number(), 0, from, null, false);
    }

    /** 16 bits without sign to 32. */
    void vpmovzxwd(V to, Mem from) {
        memory(new Op(M38, P66, 0x33).step(HALF), to.number(), 0, from, null, false);
    }

    /** 16 bits without sign to 32. */
    void vpmovzxwd(Vec.Ymm to, Xmm from) {
        register(new Op(M38, P66, 0x33), to.number(), 0, from.number(), null, 256);
    }

    /** 16 bits without sign to 32. */
    void vpmovzxwd(Vec.Zmm to, Vec.Ymm from) {
        register(new Op(M38, P66, 0x33), to.number(), 0, from.number(), null, 512);
    }

    /** Half floats to floats. */
    void vcvtph2ps(V to, Mem from) {
        memory(new Op(M38, P66, 0x13).step(HALF), to.number(), 0, from, null, false);
    }

    /** Half floats to floats, from the lowest lanes. */
    void vcvtph2ps(V to, Xmm from) {
        register(new Op(M38, P66, 0x13), to.number(), 0, from.number(), null);
    }

    // ---------------------------------------------------------------- encoding

    private void register(Op op, int reg, int second, int rm, Mask mask) {
        register(op, reg, second, rm, mask, bits);
    }

    private void register(Op op, int reg, int second, int rm, Mask mask, int width) {
        if (width == 512 || op.evexOnly || mask != null || Math.max(reg, Math.max(second, rm)) > 15) {
            evex(op, reg, second, rm >> 3 & 1, rm >> 4, mask, false, width);
        } else {
            vex(op, reg, second, 0, rm >> 3, width);
        }
        asm.put(op.opcode);
        asm.registers(reg, rm);
    }

    private void memory(Op op, int reg, int second, Mem m, Mask mask, boolean broadcast) {
        memory(op, reg, second, m, mask, broadcast, bits);
    }

    private void memory(Op op, int reg, int second, Mem m, Mask mask, boolean broadcast, int width) {
        int base = m.base().number() >> 3,
                index = m.index() == null ? 0 : m.index().number() >> 3;
        int unit = 1;
        if (width == 512 || op.evexOnly || mask != null || Math.max(reg, second) > 15) {
            evex(op, reg, second, base, index, mask, broadcast, width);
            unit = broadcast ? 4 : op.step < 0 ? -op.step : width / 8 >> op.step;
        } else {
            vex(op, reg, second, index, base, width);
        }
        asm.put(op.opcode);
        asm.memory(reg, m, unit);
    }

    /** Two bytes if nothing needs the third: the first map, W 0, no high register in index or base. */
    private void vex(Op op, int reg, int second, int index, int base, int width) {
        int last = (~second & 15) << 3 | (width == 256 ? 4 : 0) | op.prefix;
        int high = (reg >> 3 ^ 1) << 7;
        if (op.map == M0F && op.wide == 0 && index == 0 && base == 0) {
            asm.put(0xC5);
            asm.put(high | last);
        } else {
            asm.put(0xC4);
            asm.put(high | (index ^ 1) << 6 | (base ^ 1) << 5 | op.map);
            asm.put(op.wide << 7 | last);
        }
    }

    /**
     * Four bytes. Bits of register numbers stand inverted.
     *
     * @param base the fourth bit of the base, or of the register that is read
     * @param index the fourth bit of the index, or the fifth of the register that is read
     */
    private void evex(Op op, int reg, int second, int base, int index, Mask mask, boolean broadcast, int width) {
        asm.put(0x62);
        asm.put((~reg >> 3 & 1) << 7 | (~index & 1) << 6 | (~base & 1) << 5 | (~reg >> 4 & 1) << 4 | op.map);
        asm.put(op.wide << 7 | (~second & 15) << 3 | 4 | op.prefix);
        int length = width == 512 ? 2 : width == 256 ? 1 : 0;
        int m = mask == null ? 0 : mask.number() | (mask.zero() ? 0x80 : 0);
        asm.put(m | length << 5 | (broadcast ? 0x10 : 0) | (~second >> 4 & 1) << 3);
    }
}
