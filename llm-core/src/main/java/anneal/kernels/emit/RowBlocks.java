package anneal.kernels.emit;

import anneal.kernels.emit.RowProducts.Layout;
import anneal.kernels.emit.Vec.Xmm;
import anneal.kernels.emit.Vec.Ymm;

/**
 * How a block of each layout is taken apart: its minima, the codes of a group as 32 bytes, and the factor of a group.
 *
 * <pre>
 * ymm0   codes of a group           ymm1   factor of a group in all lanes
 * ymm2 .. ymm4   on the way         ymm8 .. ymm11   the rows' sums
 * ymm15  15 in each byte            ymm6, ymm7, ymm12, ymm13   the layout's own, see {@link #constants}
 * [RSP - 96 .. - 32)   factors of the groups of a K-quant      [RSP - 32 .. 0)   codes of a group
 * </pre>
 */
final class RowBlocks {
    /** Where a block's factors lie, below RSP. */
    private static final int FACTORS = -96;
    /** Where the codes of a group are kept as bytes on their way to floats, below RSP. */
    private static final int WHOLE = -32;
    /** The fifth bit of each byte. */
    private static final int FIFTH = 0x10101010;
    /** Bytes of codes at the end of a block of 32, and of 256, numbers of 4 bits, and of fifth bits before them. */
    private static final int CODES = 16, K_CODES = 128, FIFTHS = 4, K_FIFTHS = 32;

    private final Layout layout;
    private final RowInput input;
    /** True if fifth bits stand apart: they are set for 32 bytes at once, even if those become floats then. */
    private final boolean fifths;

    private final Assembler a;
    private final Vectors<Ymm> y;
    private final Vectors<Xmm> x;

    RowBlocks(Assembler a, RowInput input) {
        this.a = a;
        this.y = a.ymm();
        this.x = a.xmm();
        this.input = input;
        this.layout = input.layout();
        this.fifths = switch (layout) {
            case Q5_0, Q5_1, Q5_K -> true;
            case Q4_0, Q4_1, Q8_0, Q4_K, Q6_K -> false;
        };
    }

    /** A place in the block of row r of four: RDI + r RBX, and RBP = 3 RBX. */
    private static Mem block(int r, int at) {
        return switch (r) {
            case 0 -> Mem.at(Gp.RDI, at);
            case 3 -> Mem.at(Gp.RDI, Gp.RBP, 1, at);
            default -> Mem.at(Gp.RDI, Gp.RBX, r, at);
        };
    }

    void constants(Constants c) {
        c.broadcast(y, y.reg(15), input.eightBits() || fifths ? 0x0F0F0F0F : 15);
        switch (layout) {
            case Q4_0, Q4_1, Q5_0, Q5_1 -> c.lanes(y.reg(13), 0, 0, 0, 0, 4, 4, 4, 4);
            case Q8_0 -> {}
            case Q4_K, Q5_K -> {
                c.lanes(y.reg(13), 0, 0, 0, 4, 0, 0, 0, 0);
                c.lanes(y.reg(12), 0x3F3F3F3F, 0x0F0F0F0F, 0x3F3F3F3F, 0x0F0F0F0F, 0, 0, 0, 0);
                c.lanes(y.reg(7), 0, 0x30303030, 0, 0x30303030, 0, 0, 0, 0);
            }
            case Q6_K -> {
                c.broadcast(y, y.reg(13), input.eightBits() ? 0x30303030 : 0x30);
                c.lanes(y.reg(7), 0, 0, 0, 0, 1, 1, 1, 1);
            }
        }
        switch (layout) {
            case Q5_0, Q5_1 -> {
                int low = 0x08040201, high = 0x80402010;
                c.broadcast(y, y.reg(6), FIFTH);
                c.lanes(y.reg(7), 0, 0, 0x01010101, 0x01010101, 0x02020202, 0x02020202, 0x03030303, 0x03030303);
                c.lanes(y.reg(12), low, high, low, high, low, high, low, high);
            }
            case Q5_K -> c.broadcast(y, y.reg(6), FIFTH);
            default -> {}
        }
    }

    /** What comes before a block's groups: their factors, and the minima's part of the sum of row r. */
    void begin(int r, Ymm sum) {
        switch (layout) {
            case Q4_0, Q5_0, Q8_0 -> half(y.reg(1), block(r, 0));
            case Q4_1, Q5_1 -> {
                x.vpbroadcastd(x.reg(2), block(r, 0));
                y.vcvtph2ps(y.reg(2), x.reg(2)); // d, m, d, m, ..
                y.vfmadd231ps(sum, y.reg(2), sums());
                y.vmovsldup(y.reg(1), y.reg(2));
            }
            case Q4_K, Q5_K -> scalesAndMinima(r, sum);
            case Q6_K -> {
                half(y.reg(1), block(r, 208));
                for (int i = 0; i < 2; i++) {
                    y.vpmovsxbd(y.reg(2), block(r, 192 + 8 * i));
                    y.vcvtdq2ps(y.reg(2), y.reg(2));
                    y.vmulps(y.reg(2), y.reg(2), y.reg(1));
                    y.vmovups(Mem.at(Gp.RSP, FACTORS + 32 * i), y.reg(2));
                }
            }
        }
    }

    private Mem sums() {
        return Mem.at(Gp.R11, input.sums(0));
    }

    /** One half of memory as float in all lanes. */
    private void half(Ymm to, Mem from) {
        Xmm low = x.reg(to.number());
        x.vpbroadcastw(low, from);
        y.vcvtph2ps(to, low);
    }

    /**
     * Twelve bytes a, b, c hold eight scales and eight minima of six bits: the first four of each are the lower bits of a and b,
     * the last four have their lower bits in c and the upper ones above those of a and b.
     *
     * <pre>
     * xmm3   a, c, b, c >> 4, without the other bits     xmm2   a, a, b, b: the upper bits of lanes 1 and 3
     * </pre>
     */
    private void scalesAndMinima(int r, Ymm sum) {
        x.vmovups(x.reg(2), block(r, 4));
        x.vpshufd(x.reg(3), x.reg(2), 0 | 2 << 2 | 1 << 4 | 2 << 6);
        x.vpshufd(x.reg(2), x.reg(2), 0 | 0 << 2 | 1 << 4 | 1 << 6);
        x.vpsrlvd(x.reg(3), x.reg(3), x.reg(13));
        x.vpand(x.reg(3), x.reg(3), x.reg(12));
        x.vpsrld(x.reg(2), x.reg(2), 2);
        x.vpand(x.reg(2), x.reg(2), x.reg(7));
        x.vpor(x.reg(2), x.reg(2), x.reg(3));
        half(y.reg(1), block(r, 0));
        y.vpmovzxbd(y.reg(3), x.reg(2));
        y.vcvtdq2ps(y.reg(3), y.reg(3));
        y.vmulps(y.reg(3), y.reg(3), y.reg(1));
        y.vmovups(Mem.at(Gp.RSP, FACTORS), y.reg(3));
        half(y.reg(1), block(r, 2));
        x.vpshufd(x.reg(2), x.reg(2), 0xEE);
        y.vpmovzxbd(y.reg(3), x.reg(2));
        y.vcvtdq2ps(y.reg(3), y.reg(3));
        y.vmulps(y.reg(3), y.reg(3), y.reg(1));
        y.vfmadd231ps(sum, y.reg(3), sums());
    }

    /** ymm0 = the codes of group g of row r as bytes: with sign for Q8_0, else without. Changes ymm3. */
    void codes(int r, int g) {
        switch (layout) {
            case Q4_0, Q4_1, Q5_0, Q5_1 -> {
                // the lower four bits are the first 16 numbers, the upper ones the others
                y.vbroadcasti128(y.reg(0), block(r, layout.bytes() - CODES));
                y.vpsrlvd(y.reg(0), y.reg(0), y.reg(13));
                y.vpand(y.reg(0), y.reg(0), y.reg(15));
                if (fifths) {
                    fifthBits(r);
                }
            }
            case Q8_0 -> y.vmovups(y.reg(0), block(r, 2));
            case Q4_K, Q5_K -> {
                y.vmovups(y.reg(0), block(r, layout.bytes() - K_CODES + g / 2 * 32));
                nibbles(y.reg(0), g % 2);
                if (fifths) {
                    y.vmovups(y.reg(3), block(r, layout.bytes() - K_CODES - K_FIFTHS));
                    fifthBitsOfGroup(g);
                }
            }
            case Q6_K -> {
                y.vmovups(y.reg(0), block(r, lowBits(g)));
                y.vmovups(y.reg(3), block(r, highBits(g)));
                sixBits(y.reg(0), y.reg(3), g);
            }
        }
    }

    /** ymm(2 + i) = eight of the codes of group g of row r as integers, i = 0 .. 3. Changes ymm0, ymm6 for Q6_K. */
    void codes(int r, int g, int i) {
        Ymm to = y.reg(2 + i);
        switch (layout) {
            case Q4_0, Q4_1 -> {
                y.vpmovzxbd(to, block(r, layout.bytes() - CODES + i % 2 * 8));
                nibbles(to, i / 2);
            }
            case Q5_0, Q5_1, Q5_K -> {
                if (i == 0) {
                    codes(r, g);
                    y.vmovups(Mem.at(Gp.RSP, WHOLE), y.reg(0));
                }
                y.vpmovzxbd(to, Mem.at(Gp.RSP, WHOLE + 8 * i));
            }
            case Q8_0 -> y.vpmovsxbd(to, block(r, 2 + 8 * i));
            case Q4_K -> {
                y.vpmovzxbd(to, block(r, layout.bytes() - K_CODES + g / 2 * 32 + 8 * i));
                nibbles(to, g % 2);
            }
            case Q6_K -> {
                y.vpmovzxbd(to, block(r, lowBits(g) + 8 * i));
                y.vpmovzxbd(y.reg(6), block(r, highBits(g) + 8 * i));
                sixBits(to, y.reg(6), g);
            }
        }
    }

    /** The lower or the upper four bits of each number. */
    private void nibbles(Ymm codes, int upper) {
        if (upper == 1) {
            y.vpsrld(codes, codes, 4);
        }
        if (upper == 0 || input.eightBits() || fifths) { // a byte that was widened has nothing above
            y.vpand(codes, codes, y.reg(15));
        }
    }

    /** Sets the fifth bits of 32 bytes in ymm0, from 32 bits: each byte picks its own eighth of them, and in that its bit. */
    private void fifthBits(int r) {
        y.vpbroadcastd(y.reg(3), block(r, layout.bytes() - CODES - FIFTHS));
        y.vpshufb(y.reg(3), y.reg(3), y.reg(7));
        y.vpand(y.reg(3), y.reg(3), y.reg(12));
        y.vpcmpeqb(y.reg(3), y.reg(3), y.reg(12));
        y.vpand(y.reg(3), y.reg(3), y.reg(6));
        y.vpor(y.reg(0), y.reg(0), y.reg(3));
    }

    /** Sets the fifth bits of 32 bytes in ymm0, for group g of Q5_K: bit g of the bytes in ymm3. */
    private void fifthBitsOfGroup(int g) {
        if (g < 4) {
            y.vpslld(y.reg(3), y.reg(3), 4 - g);
        } else if (g > 4) {
            y.vpsrld(y.reg(3), y.reg(3), g - 4);
        }
        y.vpand(y.reg(3), y.reg(3), y.reg(6));
        y.vpor(y.reg(0), y.reg(0), y.reg(3));
    }

    /** Where the lower four bits of a group of Q6_K are; see {@link anneal.kernels.BlockFormat#Q6_K}. */
    private static int lowBits(int g) {
        return 64 * (g / 4) + g % 2 * 32;
    }

    private static int highBits(int g) {
        return 128 + 32 * (g / 4);
    }

    /** codes = lower four bits of it, and above them two bits of {@code high}. */
    private void sixBits(Ymm codes, Ymm high, int g) {
        nibbles(codes, g % 4 / 2);
        switch (g % 4) {
            case 0 -> y.vpslld(high, high, 4);
            case 1 -> y.vpslld(high, high, 2);
            case 3 -> y.vpsrld(high, high, 2);
            default -> {}
        }
        y.vpand(high, high, y.reg(13));
        y.vpor(codes, codes, high);
    }

    /** ymm1 = the factor of group g; for Q6_K the lower lanes have that of the first 16 numbers, the upper ones the other. */
    void factor(int g) {
        switch (layout) {
            case Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 -> {} // begin() left it there
            case Q4_K, Q5_K -> factor(g, 0);
            case Q6_K -> y.vpermps(y.reg(1), y.reg(7), Mem.at(Gp.RSP, FACTORS + 8 * g));
        }
    }

    /** ymm1 = one factor of group g of a K-quant in all lanes. */
    void factor(int g, int which) {
        int perGroup = layout == Layout.Q6_K ? 2 : 1;
        y.vbroadcastss(y.reg(1), Mem.at(Gp.RSP, FACTORS + 4 * (perGroup * g + which)));
    }
}
