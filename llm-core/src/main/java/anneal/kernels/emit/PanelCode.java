package anneal.kernels.emit;

import anneal.kernels.emit.Packing.Form;
import anneal.kernels.emit.Vec.Xmm;
import anneal.kernels.emit.Vec.Ymm;
import java.util.Arrays;

/**
 * The code of {@link Packing#panelsOfColumns}: a function (panels RDI, bytes from panel to panel RSI, floats RDX, bytes from row to
 * row RCX, rows R8, columns R9).
 *
 * <p>A panel is as wide as a tile has rows: 6 words, stored as 4 and 2, or 12, stored as 8 and 4. Masks keep reads inside the
 * columns; stores are whole, since the panel has room for what is padded.
 *
 * <pre>
 * R10  the panel at the word   RAX  the source at it   R11  rows left
 * ymm0, xmm1   a word of all columns      ymm2, xmm3   the depth after it
 * ymm8, xmm9   masks of the columns       ymm6, ymm7, ymm10 .. ymm15   {@link Rounding}'s
 * </pre>
 */
final class PanelCode {
    private static final int FLOAT = 4;

    private final Assembler a = new Assembler();
    private final Vectors<Ymm> y = a.ymm();
    private final Vectors<Xmm> x = a.xmm();
    private final Form form;
    private final Constants constants = new Constants(a);
    private final Rounding rounding;
    private final int width, first;

    private PanelCode(Level level, Form form) {
        this.form = form;
        this.rounding = new Rounding(a, level);
        this.width = TileProduct.rows(level);
        this.first = level == Level.AVX2 ? 4 : 8;
    }

    static byte[] panelsOfColumns(Level level, Form form) {
        return new PanelCode(level, form).code();
    }

    private byte[] code() {
        Label panel = new Label(), word = new Label(), last = new Label(), end = new Label();
        if (form != Form.F32) {
            rounding.begin(constants);
        }
        a.bind(panel);
        masks();
        a.mov(Gp.R10, Gp.RDI);
        a.mov(Gp.RAX, Gp.RDX);
        a.mov(Gp.R11, Gp.R8);
        a.sub(Gp.R11, form.depths());
        a.jl(last);
        a.bind(word);
        word(form.depths());
        a.add(Gp.R10, FLOAT * width);
        for (int i = 0; i < form.depths(); i++) {
            a.add(Gp.RAX, Gp.RCX);
        }
        a.sub(Gp.R11, form.depths());
        a.jge(word);
        a.bind(last);
        if (form == Form.BF16_PAIRS) {
            a.add(Gp.R11, form.depths());
            a.jz(end);
            word(1);
            a.bind(end);
        }
        a.add(Gp.RDI, Gp.RSI);
        a.add(Gp.RDX, FLOAT * width);
        a.sub(Gp.R9, width);
        a.cmp(Gp.R9, 1);
        a.jge(panel);
        a.vzeroupper();
        a.ret();
        constants.end();
        return a.bytes();
    }

    /** Masks of the panel's columns, R9 of them or all: a window into ones that zeros follow, for all lanes of both registers. */
    private void masks() {
        Label fewer = new Label();
        a.mov(Gp.R11, Gp.R9);
        a.cmp(Gp.R11, width);
        a.jl(fewer);
        a.mov(Gp.R11, width);
        a.bind(fewer);
        a.mov(Gp.R10, width);
        a.sub(Gp.R10, Gp.R11);
        int[] window = new int[2 * width + 2];
        Arrays.fill(window, 0, width, -1);
        constants.address(Gp.R11, window);
        a.lea(Gp.R10, Mem.at(Gp.R11, Gp.R10, FLOAT, 0));
        if (first == 8) {
            y.vmovups(y.reg(8), Mem.at(Gp.R10));
        } else {
            x.vmovups(x.reg(8), Mem.at(Gp.R10));
        }
        x.vmovups(x.reg(9), Mem.at(Gp.R10, FLOAT * first));
    }

    /** A word of all columns, made of so many rows. */
    private void word(int rows) {
        load(0, 1, Gp.RAX, false);
        if (form == Form.BF16_PAIRS) {
            if (rows == 2) {
                load(2, 3, Gp.RAX, true);
            } else {
                y.vxorps(y.reg(2), y.reg(2), y.reg(2));
                x.vxorps(x.reg(3), x.reg(3), x.reg(3));
            }
            rounding.pair(y.reg(0), y.reg(0), y.reg(2));
            rounding.pair(y.reg(1), y.reg(1), y.reg(3));
        } else if (form == Form.ROUNDED) {
            rounding.round(y.reg(0));
            rounding.round(y.reg(1));
        }
        if (first == 8) {
            y.vmovups(Mem.at(Gp.R10), y.reg(0));
            x.vmovups(Mem.at(Gp.R10, FLOAT * 8), x.reg(1));
        } else {
            x.vmovups(Mem.at(Gp.R10), x.reg(0));
            x.vmovlps(Mem.at(Gp.R10, FLOAT * 4), x.reg(1));
        }
    }

    private void load(int i, int j, Gp from, boolean next) {
        Mem low = next ? Mem.at(from, Gp.RCX, 1, 0) : Mem.at(from);
        Mem high = next ? Mem.at(from, Gp.RCX, 1, FLOAT * first) : Mem.at(from, FLOAT * first);
        if (first == 8) {
            y.vmaskmovps(y.reg(i), y.reg(8), low);
        } else {
            x.vmaskmovps(x.reg(i), x.reg(8), low);
        }
        x.vmaskmovps(x.reg(j), x.reg(9), high);
    }
}
