package anneal.kernels.emit;

import anneal.kernels.emit.Vec.Xmm;
import java.util.function.Consumer;

/**
 * The generators of {@link AttentionTiles}: each writes one leaf function with System V's arguments RDI, RSI, RDX, RCX, R8.
 *
 * <p>A product goes by register tiles of {@link #rows} rows by at most three vectors: 4 by 3 sums, 3 vectors of b and one
 * number of a in all lanes fill the 16 registers of AVX2, and 8 by 3 leave four of AVX-512's 32. Three vectors by four rows need 7
 * loads for 12 products, where six rows by two vectors need 8; and 4 divides the tile of 64, which 6 does not.
 */
final class AttentionCode<V extends Vec> {
    /** Rows and columns of a tile of scores. */
    static final int WIDTH = 64;

    private static final int FLOAT = 4, LONG = 8;

    /** Bytes from a row of scores, or of transposed queries, to the next. */
    private static final int TILE_ROW = WIDTH * FLOAT;

    private static final int MOST_VECTORS = 3, CACHE_LINE = 64;

    private final Assembler a;
    private final Constants constants;
    private final Vectors<V> v;
    private final int dim, rows, lanes, panelRow;

    private AttentionCode(Assembler a, Constants constants, Vectors<V> v, Level level, int dim) {
        this.a = a;
        this.constants = constants;
        this.v = v;
        this.dim = dim;
        rows = rows(level);
        lanes = v.lanes();
        panelRow = padded(level, dim) * FLOAT;
    }

    /** The bytes of a function. */
    static byte[] of(Level level, int dim, Consumer<AttentionCode<?>> function) {
        Assembler a = new Assembler();
        Constants constants = new Constants(a);
        function.accept(
                level.bits() == 512
                        ? new AttentionCode<>(a, constants, a.zmm(), level, dim)
                        : new AttentionCode<>(a, constants, a.ymm(), level, dim));
        a.vzeroupper();
        a.ret();
        constants.end();
        return a.bytes();
    }

    /** Rows of a register tile. */
    static int rows(Level level) {
        return level.registers() / 4;
    }

    /** Columns of a panel of {@code dim} columns: whole registers. */
    static int padded(Level level, int dim) {
        return (dim + level.lanes() - 1) / level.lanes() * level.lanes();
    }

    /** n vectors as register tiles of at most three, as even as can be. */
    static int[] parts(int n) {
        int[] parts = new int[(n + MOST_VECTORS - 1) / MOST_VECTORS];
        for (int i = 0; i < parts.length; i++) {
            parts[i] = n / parts.length + (i < n % parts.length ? 1 : 0);
        }
        return parts;
    }

    // ---------------------------------------------------------------- products

    private V sum(int row, int vectors, int vector) {
        return v.reg(row * vectors + vector);
    }

    private Mem vector(Gp base, int offset, int vector) {
        return Mem.at(base, offset + vector * lanes * FLOAT);
    }

    /**
     * sums += a b over RAX numbers.
     *
     * <pre>
     * R9   a: the number of a row is aRow bytes from that of the row before, the next one aStep bytes on
     * R10  b: the next row is bRow bytes on, the register tile {@code offset} bytes in it
     * registers 0 .. rows * vectors - 1  sums    above  vectors of b, and a number of a in all lanes
     * </pre>
     */
    private void accumulate(int vectors, int offset, int aRow, int aStep, int bRow) {
        int first = rows * vectors;
        V number = v.reg(first + vectors);
        Label step = new Label();
        a.bind(step);
        for (int i = 0; i < vectors; i++) {
            v.vmovups(v.reg(first + i), vector(Gp.R10, offset, i));
        }
        for (int r = 0; r < rows; r++) {
            v.vbroadcastss(number, Mem.at(Gp.R9, r * aRow));
            for (int i = 0; i < vectors; i++) {
                v.vfmadd231ps(sum(r, vectors, i), number, v.reg(first + i));
            }
        }
        a.add(Gp.R9, aStep);
        a.add(Gp.R10, bRow);
        a.sub(Gp.RAX, 1);
        a.jnz(step);
    }

    /** Sums to row RDI or R11 and the rows below. */
    private void store(Gp to, int vectors, int offset, int row) {
        for (int r = 0; r < rows; r++) {
            for (int i = 0; i < vectors; i++) {
                v.vmovups(vector(to, r * row + offset, i), sum(r, vectors, i));
            }
        }
    }

    /**
     * scores = a bT for a panel a and a transposed one.
     *
     * <pre>
     * RDI  scores [64, 64]     RSI  a [64, dim]     RDX  bT [dim, 64]     RCX  rows from, to of each part of the columns
     * R8   row                 R11  its scores      RAX, R9, R10  as {@link #accumulate} has them
     * </pre>
     */
    void scores() {
        int offset = 0;
        for (int vectors : parts(WIDTH / lanes)) {
            Label block = new Label(), end = new Label();
            a.mov(Gp.R8, Mem.at(Gp.RCX));
            a.bind(block);
            a.cmp(Gp.R8, Mem.at(Gp.RCX, LONG));
            a.jge(end);
            a.imul(Gp.R9, Gp.R8, panelRow);
            a.add(Gp.R9, Gp.RSI);
            a.imul(Gp.R11, Gp.R8, TILE_ROW);
            a.add(Gp.R11, Gp.RDI);
            a.mov(Gp.R10, Gp.RDX);
            a.mov(Gp.RAX, dim);
            for (int i = 0; i < rows * vectors; i++) {
                v.vxorps(v.reg(i), v.reg(i), v.reg(i));
            }
            accumulate(vectors, offset, panelRow, FLOAT, TILE_ROW);
            store(Gp.R11, vectors, offset, TILE_ROW);
            a.add(Gp.R8, rows);
            a.jmp(block);
            a.bind(end);
            a.add(Gp.RCX, 2 * LONG);
            offset += vectors * lanes * FLOAT;
        }
    }

    /** c = factor c + aT b; see {@link #product}. */
    void columns() {
        product(FLOAT, TILE_ROW, true);
    }

    /** c += a b; see {@link #product}. */
    void rows() {
        product(TILE_ROW, FLOAT, false);
    }

    /**
     * The product of a tile, or of its transpose, with a panel, added to a panel.
     *
     * <pre>
     * RDI  c [64, dim]     RSI  a [64, 64]     RDX  b [64, dim]     R8  a factor for each row of c
     * RCX  of each block of rows of c the from and to of what is summed over
     * R11  blocks left     RAX, R9, R10  as {@link #accumulate} has them
     * </pre>
     *
     * RDI, RSI, RCX and R8 walk over the blocks of rows, and back before the next part of the columns.
     */
    private void product(int aRow, int aStep, boolean scaled) {
        int blocks = WIDTH / rows, offset = 0;
        for (int vectors : parts(panelRow / FLOAT / lanes)) {
            Label block = new Label(), nothing = new Label();
            a.mov(Gp.R11, blocks);
            a.bind(block);
            a.mov(Gp.R9, Mem.at(Gp.RCX));
            a.mov(Gp.RAX, Mem.at(Gp.RCX, LONG));
            a.cmp(Gp.R9, Gp.RAX);
            a.jge(nothing);
            a.sub(Gp.RAX, Gp.R9);
            a.imul(Gp.R10, Gp.R9, panelRow);
            a.add(Gp.R10, Gp.RDX);
            a.imul(Gp.R9, Gp.R9, aStep);
            a.add(Gp.R9, Gp.RSI);
            loadSums(vectors, offset, scaled);
            accumulate(vectors, offset, aRow, aStep, panelRow);
            store(Gp.RDI, vectors, offset, panelRow);
            a.bind(nothing);
            walk(rows, aRow);
            a.sub(Gp.R11, 1);
            a.jnz(block);
            walk(-WIDTH, aRow);
            offset += vectors * lanes * FLOAT;
        }
    }

    private void loadSums(int vectors, int offset, boolean scaled) {
        V factor = v.reg(rows * vectors);
        for (int r = 0; r < rows; r++) {
            if (scaled) {
                v.vbroadcastss(factor, Mem.at(Gp.R8, r * FLOAT));
            }
            for (int i = 0; i < vectors; i++) {
                Mem from = vector(Gp.RDI, r * panelRow + offset, i);
                if (scaled) {
                    v.vmulps(sum(r, vectors, i), factor, from);
                } else {
                    v.vmovups(sum(r, vectors, i), from);
                }
            }
        }
    }

    private void walk(int n, int aRow) {
        a.add(Gp.RDI, n * panelRow);
        a.add(Gp.RSI, n * aRow);
        a.add(Gp.RCX, n / rows * 2 * LONG);
        a.add(Gp.R8, n * FLOAT);
    }

    // ---------------------------------------------------------------- exponentials

    /**
     * For each part of the columns: R8 = its first row's scores and R9 = its rows; parts without rows are left out.
     *
     * @param ranges the register with the rows from, to of each part
     */
    private void eachPart(Gp ranges, Part part) {
        int offset = 0;
        for (int vectors : parts(WIDTH / lanes)) {
            Label end = new Label();
            a.mov(Gp.R8, Mem.at(ranges));
            a.mov(Gp.R9, Mem.at(ranges, LONG));
            a.cmp(Gp.R8, Gp.R9);
            a.jge(end);
            a.sub(Gp.R9, Gp.R8);
            a.imul(Gp.R8, Gp.R8, TILE_ROW);
            part.emit(vectors, offset);
            a.bind(end);
            a.add(ranges, 2 * LONG);
            offset += vectors * lanes * FLOAT;
        }
    }

    private interface Part {
        void emit(int vectors, int offset);
    }

    /**
     * The step of the online softmax: the maxima rise, the sums shrink by 2^(old - new), scores become 2^(score - maximum) and
     * are added.
     *
     * <pre>
     * RDI  scores [64, 64]     RSI  maximum [64], sum [64], shrink [64]     RDX  rows from, to of each part
     * R8   scores of a part    R9   its rows     R10, RAX  as {@link #eachRow} has them     R11  a constant
     * 0 score or 2^(old - new)     1, 2 of the exponential     3 .. 5 maxima of the part     6 maximum     7 sum     9 .. 15 constants
     * </pre>
     */
    void softmax() {
        Exp2<V> exp = new Exp2<>(constants, v, 9, Gp.R11);
        V max = v.reg(6), sum = v.reg(7);
        eachPart(Gp.RDX, (vectors, offset) -> {
            a.add(Gp.R8, Gp.RDI);
            raiseMaxima(exp, vectors, offset);
            for (int i = 0; i < vectors; i++) {
                int column = offset + i * lanes * FLOAT;
                Mem sums = Mem.at(Gp.RSI, column + TILE_ROW);
                v.vmovups(max, Mem.at(Gp.RSI, column));
                v.vmovups(sum, sums);
                eachRow(() -> {
                    exponential(exp, column, max);
                    v.vaddps(sum, sum, v.reg(0));
                });
                v.vmovups(sums, sum);
            }
        });
    }

    /** The maxima of a part with its scores, how much sums shrink by that, and the sums. A NaN is passed over here. */
    private void raiseMaxima(Exp2<V> exp, int vectors, int offset) {
        V x = v.reg(0);
        for (int i = 0; i < vectors; i++) {
            v.vmovups(v.reg(3 + i), vector(Gp.RSI, offset, i));
        }
        eachRow(() -> {
            for (int i = 0; i < vectors; i++) {
                v.vmovups(x, vector(Gp.R10, offset, i));
                v.vmaxps(v.reg(3 + i), x, v.reg(3 + i)); // this way round a NaN in x loses
            }
        });
        for (int i = 0; i < vectors; i++) {
            Mem maxima = vector(Gp.RSI, offset, i), sums = vector(Gp.RSI, offset + TILE_ROW, i);
            v.vmovups(x, maxima);
            v.vmovups(maxima, v.reg(3 + i));
            v.vsubps(x, x, v.reg(3 + i));
            exp.emit(x, v.reg(1), v.reg(2));
            v.vmovups(vector(Gp.RSI, offset + 2 * TILE_ROW, i), x);
            v.vmulps(x, x, sums);
            v.vmovups(sums, x);
        }
    }

    /** Register 0 and the row's vector at R10 = 2^(what is there - shift). */
    private void exponential(Exp2<V> exp, int column, V shift) {
        V x = v.reg(0);
        v.vmovups(x, Mem.at(Gp.R10, column));
        v.vsubps(x, x, shift);
        exp.emit(x, v.reg(1), v.reg(2));
        v.vmovups(Mem.at(Gp.R10, column), x);
    }

    /** A loop over the rows of a part: R10 = the row, RAX = rows left. */
    private void eachRow(Runnable body) {
        Label row = new Label();
        a.mov(Gp.R10, Gp.R8);
        a.mov(Gp.RAX, Gp.R9);
        a.bind(row);
        body.run();
        a.add(Gp.R10, TILE_ROW);
        a.sub(Gp.RAX, 1);
        a.jnz(row);
    }

    /**
     * p = 2^(score - lse), ds = p (dp - delta).
     *
     * <pre>
     * RDI  scores, then p [64, 64]     RSI  dp, then ds [64, 64]     RDX  lse [64], delta [64]     RCX  rows from, to of each part
     * R8   scores of a part            R9   its rows                 R10, RAX  as {@link #eachRow} has them     R11  a constant
     * 0 p     1, 2 of the exponential     3 dp     6 lse     7 delta     9 .. 15 constants
     * </pre>
     */
    void gradient() {
        Exp2<V> exp = new Exp2<>(constants, v, 9, Gp.R11);
        V lse = v.reg(6), delta = v.reg(7), dp = v.reg(3);
        a.sub(Gp.RSI, Gp.RDI); // the distance from a score to its dp
        eachPart(Gp.RCX, (vectors, offset) -> {
            a.add(Gp.R8, Gp.RDI);
            for (int i = 0; i < vectors; i++) {
                int column = offset + i * lanes * FLOAT;
                v.vmovups(lse, Mem.at(Gp.RDX, column));
                v.vmovups(delta, Mem.at(Gp.RDX, column + TILE_ROW));
                eachRow(() -> {
                    Mem gradient = Mem.at(Gp.R10, Gp.RSI, 1, column);
                    exponential(exp, column, lse);
                    v.vmovups(dp, gradient);
                    v.vsubps(dp, dp, delta);
                    v.vmulps(dp, dp, v.reg(0));
                    v.vmovups(gradient, dp);
                });
            }
        });
    }

    // ---------------------------------------------------------------- moves

    /**
     * to[c, r] = factor from[r, c], four rows and columns at a time, whatever the width of the level: it is the stores that
     * take the time.
     *
     * <pre>
     * RDI  to [padded dim, 64]     RSI  from [64, padded dim]     RDX  factor     RAX  columns left     R8  rows left
     * xmm0 .. xmm3 rows     xmm4 .. xmm7 pairs of them     xmm8 factor
     * </pre>
     */
    void transpose() {
        Vectors<Xmm> x = a.xmm();
        Label column = new Label(), row = new Label();
        x.vbroadcastss(x.reg(8), Mem.at(Gp.RDX));
        a.mov(Gp.RAX, panelRow / FLOAT);
        a.bind(column);
        a.mov(Gp.R8, WIDTH);
        a.bind(row);
        for (int i = 0; i < 4; i++) {
            x.vmulps(x.reg(i), x.reg(8), Mem.at(Gp.RSI, i * panelRow));
        }
        for (int i = 0; i < 2; i++) { // the lower halves of two rows side by side, then the upper ones
            x.vshufps(x.reg(4 + i), x.reg(2 * i), x.reg(2 * i + 1), 0x44);
            x.vshufps(x.reg(6 + i), x.reg(2 * i), x.reg(2 * i + 1), 0xEE);
        }
        for (int i = 0; i < 4; i++) { // even numbers of four, then odd ones
            int half = 4 + i / 2 * 2;
            x.vshufps(x.reg(i), x.reg(half), x.reg(half + 1), i % 2 == 0 ? 0x88 : 0xDD);
            x.vmovups(Mem.at(Gp.RDI, i * TILE_ROW), x.reg(i));
        }
        a.add(Gp.RSI, 4 * panelRow);
        a.add(Gp.RDI, 4 * FLOAT);
        a.sub(Gp.R8, 4);
        a.jnz(row);
        a.sub(Gp.RSI, WIDTH * panelRow - 4 * FLOAT);
        a.add(Gp.RDI, 3 * TILE_ROW);
        a.sub(Gp.RAX, 4);
        a.jnz(column);
    }

    /**
     * Rows of a tensor into a panel, with zeros up to its whole registers.
     *
     * <pre>
     * RDI  to [rows, padded dim]     RSI  from, dim floats a row     RCX  bytes from row to row of from     R8  rows left
     * 0 numbers     1 zero
     * </pre>
     */
    void load() {
        v.vxorps(v.reg(1), v.reg(1), v.reg(1));
        eachRowOf(Gp.RSI, Gp.RDI, () -> {
            for (int c = 0; c < full(); c += lanes) {
                v.vmovups(v.reg(0), Mem.at(Gp.RSI, c * FLOAT));
                v.vmovups(Mem.at(Gp.RDI, c * FLOAT), v.reg(0));
            }
            if (full() < dim) {
                v.vmovups(Mem.at(Gp.RDI, full() * FLOAT), v.reg(1));
            }
            Xmm number = new Xmm(0);
            for (int c = full(); c < dim; c++) {
                a.xmm().vmovd(number, Mem.at(Gp.RSI, c * FLOAT));
                a.xmm().vmovss(Mem.at(Gp.RDI, c * FLOAT), number);
            }
        });
    }

    /**
     * to = (or +=) factor from, for rows of a panel and rows of a tensor.
     *
     * <pre>
     * RDI  to, dim floats a row     RSI  from [rows, padded dim]     RDX  a factor for each row
     * RCX  bytes from row to row of to     R8  rows left     0 numbers, 1 factor, 2 what was there
     * </pre>
     */
    void unload(boolean add) {
        Vectors<Xmm> x = a.xmm();
        eachRowOf(Gp.RDI, Gp.RSI, () -> {
            v.vbroadcastss(v.reg(1), Mem.at(Gp.RDX));
            a.add(Gp.RDX, FLOAT);
            for (int c = 0; c < full(); c += lanes) {
                v.vmulps(v.reg(0), v.reg(1), Mem.at(Gp.RSI, c * FLOAT));
                if (add) {
                    v.vaddps(v.reg(0), v.reg(0), Mem.at(Gp.RDI, c * FLOAT));
                }
                v.vmovups(Mem.at(Gp.RDI, c * FLOAT), v.reg(0));
            }
            for (int c = full(); c < dim; c++) {
                x.vmovd(x.reg(0), Mem.at(Gp.RSI, c * FLOAT));
                x.vmulps(x.reg(0), x.reg(0), x.reg(1));
                if (add) {
                    x.vmovd(x.reg(2), Mem.at(Gp.RDI, c * FLOAT));
                    x.vaddps(x.reg(0), x.reg(0), x.reg(2));
                }
                x.vmovss(Mem.at(Gp.RDI, c * FLOAT), x.reg(0));
            }
        });
    }

    /** Numbers of a row that whole registers take; the others go one by one, so that nothing beside the row is touched. */
    private int full() {
        return dim / lanes * lanes;
    }

    /**
     * A loop over R8 rows of a tensor, RCX bytes apart, and of a panel. The tensor's row eight further on is called into the
     * cache: no row is long enough for the processor to see where the next one will be.
     */
    private void eachRowOf(Gp tensor, Gp panel, Runnable body) {
        Label row = new Label();
        a.bind(row);
        for (int c = 0; c < panelRow; c += CACHE_LINE) {
            a.prefetcht0(Mem.at(tensor, Gp.RCX, 8, c));
        }
        body.run();
        a.add(tensor, Gp.RCX);
        a.add(panel, panelRow);
        a.sub(Gp.R8, 1);
        a.jnz(row);
    }
}
