package anneal.kernels.emit;

import anneal.kernels.emit.RowProducts.Layout;
import anneal.kernels.emit.Vec.Xmm;
import anneal.kernels.emit.Vec.Ymm;

/**
 * The function (w, x, prepared, y, rows, blocks) in System V's registers RDI, RSI, RDX, RCX, R8, R9: four rows at a time, which
 * share the reads of x, have four sums that need not wait for each other, and are added up together; what is left one by one.
 *
 * <pre>
 * RDI  block of w            RBX  bytes of a row, RBP three times that      R12  what is fetched ahead of w
 * R10  x, if it is floats    R11  what is prepared of the block      RAX  blocks left
 * ymm0   codes, then products of a group      ymm1   its factor      ymm8 .. ymm11   the rows' sums
 * ymm2 .. ymm5   on the way                   ymm14  16 bits of 1, or what is subtracted from codes
 * ymm6, ymm7, ymm12, ymm13, ymm15   see {@link RowBlocks}
 * </pre>
 *
 * <p>Registers of 256 bits at every level: a block is 32 bytes of codes, and memory is slower than that. VNNI takes the place
 * of three instructions where there is one.
 */
final class RowCode {
    private static final int TOGETHER = 4;
    /** Bytes that memory is read by. */
    private static final int LINE = 64;

    private static final int FLOAT = 4;

    private final Layout layout;
    private final Level level;
    private final RowInput input;
    private final Assembler a = new Assembler();
    private final Vectors<Ymm> y = a.ymm();
    private final Vectors<Xmm> x = a.xmm();
    private final RowBlocks blocks;

    RowCode(RowInput input, Level level) {
        this.layout = input.layout();
        this.level = level;
        this.input = input;
        this.blocks = new RowBlocks(a, input);
    }

    byte[] bytes() {
        a.push(Gp.RBX);
        a.push(Gp.RBP);
        a.push(Gp.R12);
        a.imul(Gp.RBX, Gp.R9, layout.bytes());
        a.lea(Gp.RBP, Mem.at(Gp.RBX, Gp.RBX, 2, 0));
        Constants constants = new Constants(a);
        blocks.constants(constants);
        constants.broadcast(y, y.reg(14), input.eightBits() ? 0x00010001 : layout.offset());
        rows(TOGETHER);
        rows(1);
        a.pop(Gp.R12);
        a.pop(Gp.RBP);
        a.pop(Gp.RBX);
        a.vzeroupper();
        a.ret();
        constants.end();
        return a.bytes();
    }

    /** Takes n rows as long as there are so many. */
    private void rows(int n) {
        Label more = new Label(), block = new Label(), end = new Label();
        a.bind(more);
        a.cmp(Gp.R8, n);
        a.jl(end);
        a.mov(Gp.R10, Gp.RSI);
        a.mov(Gp.R11, Gp.RDX);
        a.mov(Gp.RAX, Gp.R9);
        for (int r = 0; r < n; r++) {
            y.vxorps(sum(r), sum(r), sum(r));
        }
        if (n == TOGETHER) {
            a.lea(Gp.R12, Mem.at(Gp.RDI, Gp.RBX, 2 * TOGETHER, 0));
        }
        a.bind(block);
        if (n == TOGETHER) {
            prefetch();
        }
        for (int r = 0; r < n; r++) {
            block(r);
        }
        a.add(Gp.RDI, layout.bytes());
        a.add(Gp.R10, FLOAT * RowProducts.GROUP * layout.groups());
        a.add(Gp.R11, input.bytes());
        a.sub(Gp.RAX, 1);
        a.jnz(block);
        if (n == TOGETHER) {
            a.add(Gp.RDI, Gp.RBP); // the first row has been passed already
        }
        put(n);
        a.add(Gp.RCX, FLOAT * n);
        a.sub(Gp.R8, n);
        a.jmp(more);
        a.bind(end);
    }

    /** Asks for the four rows after the next four, from their first byte on: what is read here jumps too much for the processor to guess. */
    private void prefetch() {
        int bytes = TOGETHER * layout.bytes();
        for (int at = 0; at < bytes; at += LINE) {
            a.prefetcht0(Mem.at(Gp.R12, at));
        }
        a.add(Gp.R12, bytes);
    }

    private Ymm sum(int r) {
        return y.reg(8 + r);
    }

    private void block(int r) {
        blocks.begin(r, sum(r));
        for (int g = 0; g < layout.groups(); g++) {
            if (input.eightBits()) {
                blocks.codes(r, g);
                bytes(g);
                blocks.factor(g);
                y.vmulps(y.reg(1), y.reg(1), Mem.at(Gp.R11, input.scales(g)));
                y.vfmadd231ps(sum(r), y.reg(0), y.reg(1));
            } else {
                floats(r, g);
            }
        }
    }

    /** ymm0 = eight sums of four products of codes of w and x each, exact. */
    private void bytes(int g) {
        Mem codes = Mem.at(Gp.R11, input.codes(g));
        int sums = 0;
        if (layout == Layout.Q8_0) {
            // one factor must have no sign: |w| (x with the sign of w); x is never -128, and two times 128 127 fit 16
            // bits
            y.vmovups(y.reg(3), codes);
            y.vpsignb(y.reg(3), y.reg(3), y.reg(0));
            y.vpsignb(y.reg(2), y.reg(0), y.reg(0));
        }
        if (level.has(Level.AVX512_BF16)) {
            sums = 4;
            y.vxorps(y.reg(4), y.reg(4), y.reg(4));
            if (layout == Layout.Q8_0) {
                y.vpdpbusd(y.reg(4), y.reg(2), y.reg(3));
            } else {
                y.vpdpbusd(y.reg(4), y.reg(0), codes);
            }
        } else {
            if (layout == Layout.Q8_0) {
                y.vpmaddubsw(y.reg(0), y.reg(2), y.reg(3));
            } else {
                y.vpmaddubsw(y.reg(0), y.reg(0), codes);
            }
            y.vpmaddwd(y.reg(0), y.reg(0), y.reg(14));
        }
        if (layout.offset() > 0) {
            y.vpsubd(y.reg(sums), y.reg(sums), Mem.at(Gp.R11, input.sums(g)));
        }
        y.vcvtdq2ps(y.reg(0), y.reg(sums));
    }

    /** Adds a group's products with floats of x: ymm2 of the first 16 numbers, ymm4 of the others. */
    private void floats(int r, int g) {
        for (int i = 0; i < 4; i++) {
            blocks.codes(r, g, i);
            if (layout.offset() > 0) {
                y.vpsubd(y.reg(2 + i), y.reg(2 + i), y.reg(14));
            }
            y.vcvtdq2ps(y.reg(2 + i), y.reg(2 + i));
        }
        int at = FLOAT * RowProducts.GROUP * g;
        y.vmulps(y.reg(2), y.reg(2), Mem.at(Gp.R10, at));
        y.vmulps(y.reg(4), y.reg(4), Mem.at(Gp.R10, at + 64));
        y.vfmadd231ps(y.reg(2), y.reg(3), Mem.at(Gp.R10, at + 32));
        y.vfmadd231ps(y.reg(4), y.reg(5), Mem.at(Gp.R10, at + 96));
        if (layout == Layout.Q6_K) {
            blocks.factor(g, 0);
            y.vfmadd231ps(sum(r), y.reg(2), y.reg(1));
            blocks.factor(g, 1);
            y.vfmadd231ps(sum(r), y.reg(4), y.reg(1));
        } else {
            y.vaddps(y.reg(2), y.reg(2), y.reg(4));
            blocks.factor(g);
            y.vfmadd231ps(sum(r), y.reg(2), y.reg(1));
        }
    }

    /** Adds up the lanes of n sums and writes them; in the same order for one row as for four. */
    private void put(int n) {
        y.vhaddps(y.reg(0), sum(0), sum(n == 1 ? 0 : 1));
        y.vhaddps(y.reg(1), sum(n == 1 ? 0 : 2), sum(n == 1 ? 0 : 3));
        y.vhaddps(y.reg(0), y.reg(0), y.reg(1));
        y.vextractf128(x.reg(1), y.reg(0));
        x.vaddps(x.reg(0), x.reg(0), x.reg(1));
        if (n == 1) {
            x.vmovss(Mem.at(Gp.RCX), x.reg(0));
        } else {
            x.vmovups(Mem.at(Gp.RCX), x.reg(0));
        }
    }
}
