package anneal.kernels.emit;

import anneal.kernels.emit.Packing.Form;
import anneal.kernels.emit.Vec.Xmm;
import anneal.kernels.emit.Vec.Ymm;
import java.util.Arrays;
import java.util.function.IntConsumer;

/**
 * The code of {@link Packing}: functions (to RDI, bytes apart RSI, from RDX, bytes apart RCX, rows R8, floats of a row R9).
 *
 * <p>All levels move 8 floats at a time in registers of 256 bits, so that what AVX-512 runs can be tested without it. What
 * differs is the number of columns of a strip, and how a float becomes bf16. Wider moves were not measured.
 *
 * <p>Where a row ends within a vector, masks keep reads and writes inside: a window into 1s that 0s follow.
 *
 * <pre>
 * ymm0 .. ymm3   floats on their way     ymm4 .. ymm7   scratch     ymm8, ymm9   masks
 * ymm10 .. ymm15 constants of {@link Rounding}
 * </pre>
 */
final class PackingCode {
    private static final int FLOAT = 4;
    /** Floats of a vector. */
    private static final int LANES = 8;

    private final Assembler a = new Assembler();
    private final Vectors<Ymm> y = a.ymm();
    private final Vectors<Xmm> x = a.xmm();
    private final Level level;
    private final Form form;
    private final int columns;
    private final Rounding rounding;
    private final Constants constants = new Constants(a);

    private PackingCode(Level level, Form form) {
        this.level = level;
        this.form = form;
        this.columns = TileProduct.cols(level);
        this.rounding = new Rounding(a, level);
    }

    private void begin(Gp... saved) {
        for (Gp r : saved) {
            a.push(r);
        }
        if (form != Form.F32) {
            rounding.begin(constants);
        }
    }

    /** Returns; the constants stand behind. */
    private byte[] end(Gp... saved) {
        for (int i = saved.length - 1; i >= 0; i--) {
            a.pop(saved[i]);
        }
        a.vzeroupper();
        a.ret();
        constants.end();
        return a.bytes();
    }

    /** to = where the masks of the first {@code count} lanes are, count to {@link #columns}, vector after vector; count is lost. */
    private void masks(Gp to, Gp count) {
        int[] ones = new int[2 * columns]; // and zeros
        Arrays.fill(ones, 0, columns, -1);
        a.mov(to, columns);
        a.sub(to, count);
        constants.address(count, ones);
        a.lea(to, Mem.at(count, to, FLOAT, 0));
    }

    /** y(i) in the form of the panel, if that needs no second depth. */
    private void round(int i) {
        if (form != Form.F32) {
            rounding.round(y.reg(i));
        }
    }

    /** y(i) = 8 floats, or those of a mask and zeros; no mask where that is 0. */
    private void load(int i, Mem from, int mask) {
        if (mask > 0) {
            y.vmaskmovps(y.reg(i), y.reg(mask), from);
        } else {
            y.vmovups(y.reg(i), from);
        }
    }

    /** The words of y(i), or those of a mask. */
    private void store(Mem to, int mask, int i) {
        if (mask > 0) {
            y.vmaskmovps(to, y.reg(mask), y.reg(i));
        } else {
            y.vmovups(to, y.reg(i));
        }
    }

    // ---------------------------------------------------------------- rows become columns

    /** Depths that are brought from rows into columns at a time. */
    private static final int STEP = 4;

    /**
     * Groups of 8 rows, one after the other; in each, 4 depths at a time. Rows 4 to 7 stand in the upper halves of the registers
     * of rows 0 to 3, so that shuffles within 128 bits are enough.
     *
     * <pre>
     * RDI  the strip from the group's first column on      R10  the same at the step
     * RDX  the group's first row    RAX  the same at the step    RBX  four rows below
     * RCX  bytes from row to row    RSI  three times that
     * R8   rows from the group's first on, maybe none      R9   depth    R11  depth from the step on
     * RBP  groups left              xmm8 mask of the last depths
     * </pre>
     */
    static byte[] stripOfRows(Level level, Form form) {
        PackingCode code = new PackingCode(level, form);
        Gp[] saved = {Gp.RBX, Gp.RBP};
        code.begin(saved);
        code.groups();
        return code.end(saved);
    }

    private void groups() {
        Label group = new Label(), step = new Label(), last = new Label(), end = new Label();
        a.mov(Gp.RBX, Gp.R9);
        a.and(Gp.RBX, STEP - 1);
        masks(Gp.RAX, Gp.RBX);
        x.vmovups(x.reg(8), Mem.at(Gp.RAX));
        a.lea(Gp.RSI, Mem.at(Gp.RCX, Gp.RCX, 2, 0));
        a.mov(Gp.RBP, columns / LANES);
        a.bind(group);
        a.mov(Gp.RAX, Gp.RDX);
        a.lea(Gp.RBX, Mem.at(Gp.RDX, Gp.RCX, 4, 0));
        a.mov(Gp.R10, Gp.RDI);
        a.mov(Gp.R11, Gp.R9);
        a.sub(Gp.R11, STEP);
        a.jl(last);
        a.bind(step);
        fourDepths();
        a.sub(Gp.R11, STEP);
        a.jge(step);
        a.bind(last);
        a.add(Gp.R11, STEP);
        a.jz(end);
        lastDepths(end);
        a.bind(end);
        a.add(Gp.RDI, FLOAT * LANES);
        a.lea(Gp.RDX, Mem.at(Gp.RDX, Gp.RCX, 8, 0));
        a.sub(Gp.R8, LANES);
        a.sub(Gp.RBP, 1);
        a.jnz(group);
    }

    private void fourDepths() {
        Label fewer = new Label(), loaded = new Label();
        a.cmp(Gp.R8, LANES);
        a.jl(fewer);
        for (int i = 0; i < 4; i++) {
            x.vmovups(x.reg(i), row(i));
            y.vinsertf128(y.reg(i), y.reg(i), row(4 + i));
        }
        a.jmp(loaded);
        a.bind(fewer);
        rowsThatAre(i -> x.vmovups(x.reg(i), row(i)));
        a.bind(loaded);
        int words = transpose();
        for (int i = 0; i < words; i++) {
            y.vmovups(Mem.at(Gp.R10, FLOAT * columns * i), y.reg(i));
        }
        a.add(Gp.R10, FLOAT * columns * words);
        a.add(Gp.RAX, FLOAT * STEP);
        a.add(Gp.RBX, FLOAT * STEP);
    }

    /** One to three depths, R11 of them. */
    private void lastDepths(Label end) {
        rowsThatAre(i -> x.vmaskmovps(x.reg(i), x.reg(8), row(i)));
        int words = transpose();
        for (int i = 0; i < words; i++) {
            a.cmp(Gp.R11, form.depths() * i + 1);
            a.jl(end);
            y.vmovups(Mem.at(Gp.R10, FLOAT * columns * i), y.reg(i));
        }
    }

    /** ymm0 .. ymm3 = the R8 first of 8 rows, 0 for the others. */
    private void rowsThatAre(IntConsumer load) {
        Label loaded = new Label();
        for (int i = 0; i < LANES; i++) {
            x.vxorps(x.reg(i), x.reg(i), x.reg(i));
        }
        for (int i = 0; i < LANES; i++) {
            a.cmp(Gp.R8, i + 1);
            a.jl(loaded);
            load.accept(i);
        }
        a.bind(loaded);
        for (int i = 0; i < 4; i++) {
            y.vinsertf128(y.reg(i), y.reg(i), x.reg(4 + i));
        }
    }

    /** Where row i of the group is at the step. */
    private static Mem row(int i) {
        Gp base = i < 4 ? Gp.RAX : Gp.RBX;
        return switch (i % 4) {
            case 0 -> Mem.at(base);
            case 1 -> Mem.at(base, Gp.RCX, 1, 0);
            case 2 -> Mem.at(base, Gp.RCX, 2, 0);
            default -> Mem.at(base, Gp.RSI, 1, 0);
        };
    }

    /** ymm0, ymm1 .. = the words of 4 depths, 8 columns each, of 8 rows of 4 depths; the number of them. */
    private int transpose() {
        Ymm r0 = y.reg(0), r1 = y.reg(1), r2 = y.reg(2), r3 = y.reg(3);
        Ymm low01 = y.reg(4), high01 = y.reg(5), low23 = y.reg(6), high23 = y.reg(7);
        y.vunpcklps(low01, r0, r1);
        y.vunpckhps(high01, r0, r1);
        y.vunpcklps(low23, r2, r3);
        y.vunpckhps(high23, r2, r3);
        y.vshufps(r0, low01, low23, 0x44);
        y.vshufps(r1, low01, low23, 0xEE);
        y.vshufps(r2, high01, high23, 0x44);
        y.vshufps(r3, high01, high23, 0xEE);
        if (form == Form.BF16_PAIRS) {
            rounding.pair(y.reg(0), y.reg(0), y.reg(1));
            rounding.pair(y.reg(1), y.reg(2), y.reg(3));
            return 2;
        }
        for (int i = 0; i < 4; i++) {
            round(i);
        }
        return 4;
    }

    // ---------------------------------------------------------------- columns stay columns

    /**
     * Rows of the source, one or two at a time, each over all strips.
     *
     * <pre>
     * RDI  the first strip at the word      R10  the strip at the word    RSI  bytes from strip to strip
     * RDX  the row                          RAX  the row at the strip     RCX  bytes from row to row
     * R8   rows left                        R9   columns                  R11  columns from the strip on
     * RBX  masks of the last columns        ymm8 one of them
     * </pre>
     */
    static byte[] stripsOfColumns(Level level, Form form) {
        PackingCode code = new PackingCode(level, form);
        code.begin(Gp.RBX);
        code.lines();
        return code.end(Gp.RBX);
    }

    private void lines() {
        Label word = new Label(), last = new Label(), end = new Label();
        a.mov(Gp.RAX, Gp.R9);
        a.and(Gp.RAX, columns - 1);
        masks(Gp.RBX, Gp.RAX);
        a.sub(Gp.R8, form.depths());
        a.jl(last);
        a.bind(word);
        strips(form.depths());
        a.add(Gp.RDI, FLOAT * columns);
        for (int i = 0; i < form.depths(); i++) {
            a.add(Gp.RDX, Gp.RCX);
        }
        a.sub(Gp.R8, form.depths());
        a.jge(word);
        a.bind(last);
        if (form == Form.BF16_PAIRS) {
            a.add(Gp.R8, form.depths());
            a.jz(end);
            strips(1);
            a.bind(end);
        }
    }

    /** One word of all strips, made of so many rows. */
    private void strips(int rows) {
        Label strip = new Label(), last = new Label(), end = new Label();
        a.mov(Gp.R10, Gp.RDI);
        a.mov(Gp.RAX, Gp.RDX);
        a.mov(Gp.R11, Gp.R9);
        a.sub(Gp.R11, columns);
        a.jl(last);
        a.bind(strip);
        strip(rows, false);
        a.add(Gp.R10, Gp.RSI);
        a.add(Gp.RAX, FLOAT * columns);
        a.sub(Gp.R11, columns);
        a.jge(strip);
        a.bind(last);
        a.add(Gp.R11, columns);
        a.jz(end);
        strip(rows, true);
        a.bind(end);
    }

    /** Bytes that come from memory together. */
    private static final int CACHE_LINE = 64;

    /** How many rows ahead they are asked for: short pieces of rows far apart are no stream that the processor foresees. */
    private static final int AHEAD = 8;

    /** One word of one strip. */
    private void strip(int rows, boolean masked) {
        for (int at = 0; at < FLOAT * columns; at += FLOAT * LANES) {
            if (at % CACHE_LINE == 0) {
                a.prefetcht0(Mem.at(Gp.RAX, Gp.RCX, AHEAD, at));
            }
            if (masked) {
                y.vmovups(y.reg(8), Mem.at(Gp.RBX, at));
            }
            load(0, Mem.at(Gp.RAX, at), masked ? 8 : 0);
            if (form != Form.BF16_PAIRS) {
                round(0);
            } else {
                if (rows == 2) {
                    load(1, Mem.at(Gp.RAX, Gp.RCX, 1, at), masked ? 8 : 0);
                } else {
                    y.vxorps(y.reg(1), y.reg(1), y.reg(1));
                }
                rounding.pair(y.reg(0), y.reg(0), y.reg(1));
            }
            y.vmovups(Mem.at(Gp.R10, at), y.reg(0));
        }
    }

    // ---------------------------------------------------------------- rows stay rows

    /**
     * Row after row, 16 floats at a time.
     *
     * <pre>
     * RDI  a row of words at its start      R10  at the step     RSI  bytes from row to row
     * RDX  a row of floats at its start     RAX  at the step     RCX  bytes from row to row
     * R8   rows left                        R9   floats of a row      R11  those from the step on
     * ymm8, ymm9   masks of the last floats
     * </pre>
     */
    static byte[] rows(Level level, Form form) {
        PackingCode code = new PackingCode(level, form);
        code.begin();
        code.rows();
        return code.end();
    }

    private void rows() {
        Label row = new Label(), step = new Label(), last = new Label(), end = new Label();
        a.mov(Gp.R11, Gp.R9);
        a.and(Gp.R11, 2 * LANES - 1);
        masks(Gp.RAX, Gp.R11);
        y.vmovups(y.reg(8), Mem.at(Gp.RAX));
        y.vmovups(y.reg(9), Mem.at(Gp.RAX, FLOAT * LANES));
        a.bind(row);
        a.mov(Gp.R10, Gp.RDI);
        a.mov(Gp.RAX, Gp.RDX);
        a.mov(Gp.R11, Gp.R9);
        a.sub(Gp.R11, 2 * LANES);
        a.jl(last);
        a.bind(step);
        sixteen(false);
        a.add(Gp.R10, FLOAT * 2 * LANES / form.depths());
        a.add(Gp.RAX, FLOAT * 2 * LANES);
        a.sub(Gp.R11, 2 * LANES);
        a.jge(step);
        a.bind(last);
        a.add(Gp.R11, 2 * LANES);
        a.jz(end);
        sixteen(true);
        a.bind(end);
        a.add(Gp.RDI, Gp.RSI);
        a.add(Gp.RDX, Gp.RCX);
        a.sub(Gp.R8, 1);
        a.jnz(row);
    }

    private void sixteen(boolean masked) {
        load(0, Mem.at(Gp.RAX), masked ? 8 : 0);
        load(1, Mem.at(Gp.RAX, FLOAT * LANES), masked ? 9 : 0);
        if (form != Form.BF16_PAIRS) {
            round(0);
            round(1);
            store(Mem.at(Gp.R10), masked ? 8 : 0, 0);
            store(Mem.at(Gp.R10, FLOAT * LANES), masked ? 9 : 0, 1);
            return;
        }
        if (level.has(Level.AVX512_BF16)) {
            y.vcvtne2ps2bf16(y.reg(2), y.reg(1), y.reg(0)); // neighbours in a row are the pairs
        } else {
            everyOther(2, 0, 1, EVEN);
            everyOther(3, 0, 1, ODD);
            rounding.pair(y.reg(2), y.reg(2), y.reg(3));
        }
        if (masked) {
            everyOther(4, 8, 9, EVEN); // a word is there if its even float is
        }
        store(Mem.at(Gp.R10), masked ? 4 : 0, 2);
    }

    /** Lanes 0 and 2, or 1 and 3, of each 128 bits. */
    private static final int EVEN = 0x88, ODD = 0xDD;

    /** y(to) = every other lane of y(i), then of y(j). */
    private void everyOther(int to, int i, int j, int which) {
        y.vshufps(y.reg(to), y.reg(i), y.reg(j), which);
        y.vpermq(y.reg(to), y.reg(to), 0xD8); // lower halves came from i, upper ones from j, 128 bits for 128 bits
    }
}
