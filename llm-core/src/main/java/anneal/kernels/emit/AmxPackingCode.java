package anneal.kernels.emit;

import anneal.kernels.emit.Vec.Ymm;
import anneal.kernels.emit.Vec.Zmm;
import java.util.function.Consumer;

/**
 * The code of {@link AmxPacking}: functions (to RDI, bytes apart RSI, from RDX, bytes apart RCX, rows R8, floats of a row R9).
 *
 * <p>Sixteen floats at a time lose one part after the other: rounded to bf16, put down, made a float again and taken away. Where a row
 * ends, masks k1 and k2 keep reads inside and make the rest 0.
 */
final class AmxPackingCode {
    private static final int FLOAT = 4, WIDTH = AmxProduct.WIDTH;
    /** Depths of a step. */
    static final int STEP = 32;
    /** What vrangeps takes: of two numbers the one nearer to 0, with the sign of the first. */
    private static final int SMALLER_MAGNITUDE = 2;
    /** Bytes of 16 floats, and of a line of a tile. */
    private static final int LINE = 64;

    private final Assembler a = new Assembler();
    private final Vectors<Zmm> z = a.zmm();
    private final Vectors<Ymm> y = a.ymm();
    private final Constants constants = new Constants(a);
    private final int parts;

    private AmxPackingCode(int parts) {
        this.parts = parts;
    }

    private byte[] end(Gp... saved) {
        for (int i = saved.length - 1; i >= 0; i--) {
            a.pop(saved[i]);
        }
        a.vzeroupper();
        a.ret();
        constants.end();
        return a.bytes();
    }

    /** k1, k2 = masks of the first {@code count} of 32 lanes; {@code to} is lost. */
    private void masks(Gp to, Gp count) {
        int[] first = new int[WIDTH + 1];
        for (int i = 0; i <= WIDTH; i++) {
            first[i] = (int) ((1L << i) - 1);
        }
        constants.address(to, first);
        z.kmovw(Mask.keep(1), Mem.at(to, count, FLOAT, 0));
        z.kmovw(Mask.keep(2), Mem.at(to, count, FLOAT, 2));
    }

    /** k1 = mask of the first {@code count} of 64 bytes; {@code to} is lost. */
    private void byteMask(Gp to, Gp count) {
        int[] first = new int[2 * LINE];
        for (int i = 0; i < LINE; i++) {
            long mask = (1L << i) - 1;
            first[2 * i] = (int) mask;
            first[2 * i + 1] = (int) (mask >>> 32);
        }
        constants.address(to, first);
        z.kmovq(Mask.keep(1), Mem.at(to, count, 8, 0));
    }

    /** z(i) = 16 floats, those of mask 1 or 2 and zeros, or all where that is 0. */
    private void load(int i, int mask, Mem from) {
        if (mask > 0) {
            z.vmovups(z.reg(i), Mask.zero(mask), from);
        } else {
            z.vmovups(z.reg(i), from);
        }
    }

    /** The largest bf16 in every lane of zmm30; RAX is lost. */
    private void largest() {
        if (parts > 1) {
            constants.broadcast(z, z.reg(30), 0x7F7F_0000);
        }
    }

    /** z(to), which may not be z(rest), = 16 floats whose rounded numbers are part number {@code part} of what is left. */
    private Zmm part(int part, Zmm rest, Zmm to) {
        if (part > 0 || parts == 1) {
            return rest;
        }
        z.vrangeps(to, rest, z.reg(30), SMALLER_MAGNITUDE); // larger ones would be infinite once rounded
        return to;
    }

    /** Behind the second part what is left of an infinite number, or of none, is 0, so that the parts add up to it. */
    private void finite(Zmm rest, int part) {
        if (part == 1) {
            z.vfpclassps(Mask.keep(3), rest, AmxProduct.NOT_FINITE);
            z.clear(rest, Mask.keep(3));
        }
    }

    // ---------------------------------------------------------------- rows

    /**
     * Rows stay rows.
     *
     * <pre>
     * RDI  the panel       R10  the row's line in it, R12 the same at the step       RBX  rows left in the panel
     * RDX  the row         RAX  the same at the step    R11  depth left      R9  depth     RBP  depths after the last whole step
     * zmm30  the largest bf16
     * </pre>
     */
    static byte[] rows(int parts) {
        AmxPackingCode code = new AmxPackingCode(parts);
        code.largest();
        return code.rows(STEP, STEP * FLOAT, code::line);
    }

    /** So many depths and bytes of a row are a step. */
    private byte[] rows(int depths, int bytes, Consumer<Boolean> line) {
        Gp[] saved = {Gp.RBX, Gp.RBP, Gp.R12};
        for (Gp r : saved) {
            a.push(r);
        }
        a.mov(Gp.RBP, Gp.R9);
        a.and(Gp.RBP, depths - 1);
        if (depths == STEP) {
            masks(Gp.RAX, Gp.RBP);
        } else {
            byteMask(Gp.RAX, Gp.RBP);
        }
        Label panel = new Label(), row = new Label(), step = new Label(), tail = new Label(), next = new Label();
        Label end = new Label();
        a.bind(panel);
        a.cmp(Gp.R8, 1);
        a.jl(end);
        a.mov(Gp.R10, Gp.RDI);
        a.mov(Gp.RBX, WIDTH);
        a.bind(row);
        a.mov(Gp.RAX, Gp.RDX);
        a.mov(Gp.R12, Gp.R10);
        a.mov(Gp.R11, Gp.R9);
        a.sub(Gp.R11, depths);
        a.jl(tail);
        a.bind(step);
        line.accept(false);
        a.add(Gp.RAX, bytes);
        a.add(Gp.R12, parts * AmxProduct.PART);
        a.sub(Gp.R11, depths);
        a.jge(step);
        a.bind(tail);
        a.test(Gp.RBP, Gp.RBP);
        a.jz(next);
        line.accept(true);
        a.bind(next);
        a.add(Gp.RDX, Gp.RCX);
        a.add(Gp.R10, LINE);
        a.sub(Gp.R8, 1);
        a.jz(end);
        a.sub(Gp.RBX, 1);
        a.jnz(row);
        a.add(Gp.RDI, Gp.RSI);
        a.jmp(panel);
        a.bind(end);
        return end(saved);
    }

    /** 32 depths of a row: a line in each part. */
    private void line(boolean masked) {
        load(0, masked ? 1 : 0, Mem.at(Gp.RAX));
        load(1, masked ? 2 : 0, Mem.at(Gp.RAX, LINE));
        for (int part = 0; part < parts; part++) {
            for (int i = 0; i < 2; i++) {
                Ymm bf16 = y.reg(2 + i);
                z.vcvtneps2bf16(bf16, part(part, z.reg(i), z.reg(2 + i)));
                y.vmovups(Mem.at(Gp.R12, part * AmxProduct.PART + i * LINE / 2), bf16);
                if (part + 1 < parts) {
                    Zmm wide = z.reg(4 + i);
                    z.vpmovzxwd(wide, bf16);
                    z.vpslld(wide, wide, 16);
                    z.vsubps(z.reg(i), z.reg(i), wide);
                    finite(z.reg(i), part);
                }
            }
        }
    }

    /** Rows of bytes, R9 of them each, become panels in the same way: 64 depths are a line. */
    static byte[] bytes() {
        AmxPackingCode code = new AmxPackingCode(1);
        return code.rows(LINE, LINE, code::bytes);
    }

    private void bytes(boolean masked) {
        if (masked) {
            z.vmovdqu8(z.reg(0), Mask.zero(1), Mem.at(Gp.RAX));
        } else {
            z.vmovups(z.reg(0), Mem.at(Gp.RAX));
        }
        z.vmovups(Mem.at(Gp.R12), z.reg(0));
    }

    // ---------------------------------------------------------------- columns

    /**
     * Columns stay columns, two depths become a line.
     *
     * <pre>
     * RDI  the strip      R10  the line in it         RBX  lines left in the step
     * RDX  the strip's first column     RAX  the same at the depth     R11  depth left     R9  columns left
     * zmm31  zeros, zmm30  the largest bf16
     * </pre>
     */
    static byte[] columns(int parts) {
        return new AmxPackingCode(parts).columns();
    }

    private byte[] columns() {
        Gp[] saved = {Gp.RBX};
        a.push(Gp.RBX);
        largest();
        z.vxorps(z.reg(31), z.reg(31), z.reg(31));
        Label strip = new Label(), step = new Label(), pair = new Label(), odd = new Label(), none = new Label();
        Label next = new Label(), wide = new Label(), done = new Label();
        a.bind(strip);
        a.mov(Gp.R11, Gp.R9);
        a.cmp(Gp.R11, WIDTH);
        a.jl(wide);
        a.mov(Gp.R11, WIDTH);
        a.bind(wide);
        masks(Gp.RAX, Gp.R11);
        a.mov(Gp.RAX, Gp.RDX);
        a.mov(Gp.R10, Gp.RDI);
        a.mov(Gp.R11, Gp.R8);
        a.bind(step);
        a.cmp(Gp.R11, 1);
        a.jl(done);
        a.mov(Gp.RBX, STEP / 2);
        a.bind(pair);
        a.cmp(Gp.R11, 1);
        a.jz(odd);
        a.jl(none);
        pair(2);
        a.lea(Gp.RAX, Mem.at(Gp.RAX, Gp.RCX, 2, 0));
        a.jmp(next);
        a.bind(odd);
        pair(1);
        a.jmp(next);
        a.bind(none);
        pair(0);
        a.bind(next);
        a.add(Gp.R10, LINE);
        a.sub(Gp.R11, 2);
        a.sub(Gp.RBX, 1);
        a.jnz(pair);
        a.add(Gp.R10, parts * AmxProduct.PART - AmxProduct.TILE);
        a.jmp(step);
        a.bind(done);
        a.add(Gp.RDI, Gp.RSI);
        a.add(Gp.RDX, WIDTH * FLOAT);
        a.sub(Gp.R9, WIDTH);
        a.cmp(Gp.R9, 1);
        a.jge(strip);
        return end(saved);
    }

    /** A line of both tiles in each part: two depths, or one and zeros, or zeros. */
    private void pair(int rows) {
        for (int half = 0; half < 2; half++) {
            int first = 8 * half, lost = first + rows;
            for (int i = 0; i < rows; i++) {
                Mem from = i == 0 ? Mem.at(Gp.RAX, LINE * half) : Mem.at(Gp.RAX, Gp.RCX, 1, LINE * half);
                load(first + i, 1 + half, from);
            }
            for (int part = 0; part < parts; part++) {
                Mem to = Mem.at(Gp.R10, part * AmxProduct.PART + half * AmxProduct.TILE);
                if (rows == 0) {
                    z.vmovups(to, z.reg(31));
                    continue;
                }
                for (int i = 0; i < rows; i++) {
                    Zmm wide = z.reg(lost + i);
                    Ymm bf16 = y.reg(lost + i);
                    z.vcvtneps2bf16(bf16, part(part, z.reg(first + i), wide));
                    z.vpmovzxwd(wide, bf16);
                    if (i == 1 || part + 1 < parts) {
                        Zmm high = i == 1 ? wide : z.reg(6 + first);
                        z.vpslld(high, wide, 16);
                        if (part + 1 < parts) {
                            z.vsubps(z.reg(first + i), z.reg(first + i), high);
                            finite(z.reg(first + i), part);
                        }
                    }
                }
                if (rows == 2) {
                    z.vpor(z.reg(lost), z.reg(lost), z.reg(lost + 1));
                }
                z.vmovups(to, z.reg(lost));
            }
        }
    }
}
