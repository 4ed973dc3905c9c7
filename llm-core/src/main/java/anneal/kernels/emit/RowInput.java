package anneal.kernels.emit;

import anneal.kernels.emit.RowProducts.Layout;
import anneal.kernels.emit.Vec.Xmm;
import anneal.kernels.emit.Vec.Ymm;

/**
 * What is made of x once for all rows, and where it lies: for each of the layout's blocks 8-bit codes of x, then what the layout
 * needs of their sums, then the scales. With floats there are only the sums, and x is read as it is.
 *
 * <pre>
 * codes    a group's 32 signed bytes q = round(x / d), d = max |x| / 127, halves to the even one
 * sums     where blocks have a minimum: eight floats by which the block's minima are multiplied
 *          where codes stand for q - 8, q - 16 or q - 32: for each group eight integers, the sums of 8 q (16 q, 32 q) that the
 *          products' lanes have too much
 * scales   d of each group, eight times
 * </pre>
 *
 * @param eightBits x as bytes; false = as floats
 */
record RowInput(Layout layout, boolean eightBits) {
    /** Bytes of a vector, of a group's codes and of a group's scales. */
    private static final int PART = 32;

    /** Where the codes of group g are. */
    int codes(int g) {
        return PART * g;
    }

    /** Where the sums of the minima are, or the integers of group g. */
    int sums(int g) {
        return (eightBits ? PART * layout.groups() : 0) + PART * g;
    }

    /** Where the scales of group g are. */
    int scales(int g) {
        return sums(layout.minimum() ? 1 : layout.offset() > 0 ? layout.groups() : 0) + PART * g;
    }

    /** Bytes of a block. */
    int bytes() {
        return eightBits ? scales(layout.groups()) : layout.minimum() ? PART : 0;
    }

    /**
     * The function (x, prepared, blocks) in RDI, RSI, RDX that writes it.
     *
     * <pre>
     * ymm0 .. ymm3   32 floats, then integers; ymm0 at last bytes
     * ymm4   |x|, its maximum, d        ymm5   127 / max |x|, sums        ymm6   other lanes of them
     * ymm9   all bits but the sign      ymm10  127         ymm11  largest float
     * ymm12  order of lanes behind the packing             ymm13  bytes 1, 8, 16 or 32
     * ymm14  16 bits of 1               ymm15  all bits of the odd lanes
     * </pre>
     */
    byte[] code() {
        Assembler a = new Assembler();
        Quantiser q = new Quantiser(a, a.ymm(), a.xmm());
        Constants constants = new Constants(a);
        q.constants(constants);
        Label block = new Label();
        a.bind(block);
        for (int g = 0; g < layout.groups(); g++) {
            q.group(g);
        }
        a.add(Gp.RDI, 4 * RowProducts.GROUP * layout.groups());
        a.add(Gp.RSI, bytes());
        a.sub(Gp.RDX, 1);
        a.jnz(block);
        a.vzeroupper();
        a.ret();
        constants.end();
        return a.bytes();
    }

    /** The instructions for one group. */
    private final class Quantiser {
        private final Assembler a;
        private final Vectors<Ymm> y;
        private final Vectors<Xmm> x;

        Quantiser(Assembler a, Vectors<Ymm> y, Vectors<Xmm> x) {
            this.a = a;
            this.y = y;
            this.x = x;
        }

        void constants(Constants c) {
            c.broadcast(y, y.reg(9), Integer.MAX_VALUE);
            c.broadcast(y, y.reg(10), Float.floatToRawIntBits(127f));
            c.broadcast(y, y.reg(11), Float.floatToRawIntBits(Float.MAX_VALUE));
            c.lanes(y.reg(12), 0, 4, 1, 5, 2, 6, 3, 7);
            c.broadcast(y, y.reg(13), Math.max(1, layout.offset()) * 0x01010101);
            c.broadcast(y, y.reg(14), 0x00010001);
            c.lanes(y.reg(15), 0, -1, 0, -1, 0, -1, 0, -1);
        }

        void group(int g) {
            for (int i = 0; i < 4; i++) {
                y.vmovups(y.reg(i), Mem.at(Gp.RDI, 128 * g + 32 * i));
            }
            if (eightBits) {
                codes(g);
            }
            if (layout.minimum()) {
                sumsOfLanes();
                minimum(g);
            } else if (eightBits && layout.offset() > 0) {
                sumsOfFour();
                y.vmovups(Mem.at(Gp.RSI, RowInput.this.sums(g)), y.reg(5));
            }
        }

        /** ymm0 = the group's codes, ymm4 = d; both are written. */
        void codes(int g) {
            largest();
            // the inverse would be infinite where all numbers are 0 or nearly so: with the largest float they become 0
            y.vdivps(y.reg(5), y.reg(10), y.reg(4));
            y.vminps(y.reg(5), y.reg(5), y.reg(11));
            y.vdivps(y.reg(4), y.reg(4), y.reg(10));
            y.vmovups(Mem.at(Gp.RSI, scales(g)), y.reg(4));
            for (int i = 0; i < 4; i++) {
                y.vmulps(y.reg(i), y.reg(i), y.reg(5));
                y.vcvtps2dq(y.reg(i), y.reg(i));
            }
            y.vpackssdw(y.reg(0), y.reg(0), y.reg(1));
            y.vpackssdw(y.reg(2), y.reg(2), y.reg(3));
            y.vpacksswb(y.reg(0), y.reg(0), y.reg(2));
            y.vpermps(y.reg(0), y.reg(12), y.reg(0));
            y.vmovups(Mem.at(Gp.RSI, RowInput.this.codes(g)), y.reg(0));
        }

        /** ymm4 = max |x| in all lanes, NaN if there is one: compared as integers, NaN is above all. */
        private void largest() {
            y.vpand(y.reg(4), y.reg(0), y.reg(9));
            for (int i = 1; i < 4; i++) {
                y.vpand(y.reg(5), y.reg(i), y.reg(9));
                y.vpmaxsd(y.reg(4), y.reg(4), y.reg(5));
            }
            y.vextractf128(x.reg(5), y.reg(4));
            x.vpmaxsd(x.reg(4), x.reg(4), x.reg(5));
            x.vpshufd(x.reg(5), x.reg(4), SWAP_PAIRS);
            x.vpmaxsd(x.reg(4), x.reg(4), x.reg(5));
            x.vpshufd(x.reg(5), x.reg(4), SWAP_NEIGHBOURS);
            x.vpmaxsd(x.reg(4), x.reg(4), x.reg(5));
            y.vbroadcastss(y.reg(4), x.reg(4));
        }

        /** ymm5 = the sums of four codes, times what they are too large by. */
        private void sumsOfFour() {
            y.vpmaddubsw(y.reg(5), y.reg(13), y.reg(0));
            y.vpmaddwd(y.reg(5), y.reg(5), y.reg(14));
        }

        /** ymm5 = eight floats whose sum is that of the group's x, or of its codes. */
        private void sumsOfLanes() {
            if (eightBits) {
                sumsOfFour();
                y.vcvtdq2ps(y.reg(5), y.reg(5)); // so small that floats are exact, and their sums
            } else {
                y.vaddps(y.reg(5), y.reg(0), y.reg(1));
                y.vaddps(y.reg(6), y.reg(2), y.reg(3));
                y.vaddps(y.reg(5), y.reg(5), y.reg(6));
            }
        }

        /** Blocks of one group: sums in the odd lanes, where a block's halves have m; K-quants: one number for the group, negated. */
        private void minimum(int g) {
            y.vpshufd(y.reg(6), y.reg(5), SWAP_NEIGHBOURS);
            y.vaddps(y.reg(5), y.reg(5), y.reg(6));
            if (layout.groups() == 1) {
                scaled(y, y.reg(5), y.reg(4));
                y.vpand(y.reg(5), y.reg(5), y.reg(15));
                y.vmovups(Mem.at(Gp.RSI, RowInput.this.sums(0)), y.reg(5));
                return;
            }
            y.vextractf128(x.reg(6), y.reg(5));
            x.vaddps(x.reg(5), x.reg(5), x.reg(6));
            x.vpshufd(x.reg(6), x.reg(5), SWAP_PAIRS);
            x.vaddps(x.reg(5), x.reg(5), x.reg(6));
            x.vxorps(x.reg(6), x.reg(6), x.reg(6));
            x.vsubps(x.reg(5), x.reg(6), x.reg(5));
            scaled(x, x.reg(5), x.reg(4));
            x.vmovss(Mem.at(Gp.RSI, RowInput.this.sums(0) + 4 * g), x.reg(5));
        }

        private <V extends Vec> void scaled(Vectors<V> v, V sums, V d) {
            if (eightBits) {
                v.vmulps(sums, sums, d);
            }
        }
    }

    /** Choices of vpshufd. */
    private static final int SWAP_NEIGHBOURS = 0xB1, SWAP_PAIRS = 0x4E;
}
