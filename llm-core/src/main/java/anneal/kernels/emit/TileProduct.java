package anneal.kernels.emit;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import anneal.kernels.emit.Vec.Ymm;
import anneal.kernels.emit.Vec.Zmm;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * Products in tiles of vector registers, the left operand row by row.
 *
 * <p>One step of the depth is one word: a float, a pair of bf16, a pair of 16-bit integers or four bytes ({@link Form}). The left
 * operand is read where it is, rows any distance apart, or from panels ({@link Order}). A strip holds {@link #cols} words for each
 * step.
 *
 * <pre>
 *                  strip: two vectors a step
 *                 [ b0 ............ b1 .......... ]
 *   row 0  a ->   [ sum 0,0         sum 0,1       ]      AVX2:    6 rows x 2 x  8 = 12 sums of 16 registers
 *   row 1  a ->   [ sum 1,0         sum 1,1       ]      AVX-512: 12 rows x 2 x 16 = 24 sums of 32 registers
 *   ...
 * </pre>
 */
public final class TileProduct extends BlockProduct {
    /** What the words of both operands hold, and what becomes of them. */
    public enum Form {
        /** A float. */
        F32(Level.AVX2),
        /** Two bf16, the earlier one in the lower half; sums are floats. */
        BF16_PAIRS(Level.AVX512_BF16),
        /** Two 16-bit integers, so small that their products' sums fit 32 bits; sums are 32-bit integers. */
        SHORT_PAIRS(Level.AVX2),
        /**
         * Four bytes, on the left without sign, on the right with; sums are 32-bit integers. A strip begins with the words that
         * its sums begin with.
         */
        BYTES(Level.AVX512_BF16);

        private final Level least;

        Form(Level least) {
            this.least = least;
        }

        /** The lowest level that has the instruction. */
        public Level least() {
            return least;
        }

        private boolean integer() {
            return this == SHORT_PAIRS || this == BYTES;
        }
    }

    /** How the left operand lies in memory. */
    public enum Order {
        /** Row after row, any distance apart: as the caller has it. */
        ROWS,
        /** Panels of {@link #rows} rows: for each step of the depth that many words. What was columns is packed so. */
        PANELS
    }

    private static final int UNROLLED = 4;

    private final Form form;
    private final Order order;
    private final Level level;
    /** AVX2: lanes that are on, then lanes that are off; a mask is where one starts to read. */
    private final MemorySegment masks;

    /**
     * Emits the product; the code lives as long as the arena.
     *
     * @throws IllegalArgumentException if the level does not have the form's instruction
     */
    public TileProduct(Form form, Order order, Level level, Arena arena) {
        super(arena, code(form, order, level));
        this.form = form;
        this.order = order;
        this.level = level;
        masks = arena.allocate(2 * WORD * cols(), 64);
        masks.asSlice(0, WORD * cols()).fill((byte) -1);
    }

    /** Rows of a tile. */
    public static int rows(Level level) {
        return level == Level.AVX2 ? 6 : 12;
    }

    /** Columns of a tile, and of a strip. */
    public static int cols(Level level) {
        return 2 * level.lanes();
    }

    @Override
    public int rows() {
        return rows(level);
    }

    @Override
    public int cols() {
        return cols(level);
    }

    @Override
    public int together() {
        return order == Order.PANELS ? rows(level) : 1;
    }

    @Override
    public long stripWords(int depth) {
        return (long) (depth + (form == Form.BYTES ? 1 : 0)) * cols();
    }

    @Override
    public int deepest() {
        return 1024;
    }

    @Override
    public int blockWords() {
        return 40 << 10;
    }

    @Override
    void mask(MemorySegment arguments, int columns) {
        if (level == Level.AVX2) {
            arguments.set(JAVA_LONG, MASK, masks.address() + WORD * (cols() - columns));
        } else {
            bits(arguments, columns);
        }
    }

    static byte[] code(Form form, Order order, Level level) {
        if (!level.has(form.least)) {
            throw new IllegalArgumentException("emit: " + level.text() + " has no products of " + form);
        }
        Assembler asm = new Assembler();
        return level == Level.AVX2
                ? new Generator<Ymm>(asm, asm.ymm(), form, order, level).code()
                : new Generator<Zmm>(asm, asm.zmm(), form, order, level).code();
    }

    /**
     * Writes the function (arguments).
     *
     * <pre>
     * RDI  arguments         R8   y of the tile's row, R9 its stride      R15  rows left
     * R12  columns left      R13  y of the tile                            R14  where the strip is read
     * RBX  which left operand, RSI its stride
     * R10, R11, RBP, RDX     rows 0, 3, 6, 9 of it: with once and twice the stride, all twelve. R10 alone for a panel
     * RAX  depth left        RCX  for the moment
     *
     * vectors 0 .. 2 R - 1   sums of R rows       last two       a word of a row in all lanes, in turns (or a product)
     *                                             before them    two vectors of the strip
     * k1, k2 (AVX-512)       columns of the last tile
     * </pre>
     */
    private static final class Generator<V extends Vec> {
        private static final Gp[] BASES = {Gp.R10, Gp.R11, Gp.RBP, Gp.RDX};
        private static final Gp[] SAVED = {Gp.RBX, Gp.RBP, Gp.R12, Gp.R13, Gp.R14, Gp.R15};

        private final Assembler asm;
        private final Vectors<V> v;
        private final Form form;
        private final int tileRows, tileCols, vector;
        private final boolean panels, masks;
        private final V b0, b1, a0, a1;

        Generator(Assembler asm, Vectors<V> v, Form form, Order order, Level level) {
            this.asm = asm;
            this.v = v;
            this.form = form;
            this.panels = order == Order.PANELS;
            tileRows = rows(level);
            tileCols = cols(level);
            vector = level.bits() / 8;
            masks = level.has(Level.AVX512);
            int last = level.registers() - 1;
            b0 = v.reg(last - 3);
            b1 = v.reg(last - 2);
            a0 = v.reg(last - 1);
            a1 = v.reg(last);
        }

        byte[] code() {
            for (Gp r : SAVED) {
                asm.push(r);
            }
            asm.mov(Gp.R8, Mem.at(Gp.RDI, Y));
            asm.mov(Gp.R9, Mem.at(Gp.RDI, Y_STRIDE));
            asm.mov(Gp.R15, Mem.at(Gp.RDI, ROWS));
            if (masks) {
                v.kmovw(Mask.keep(1), Mem.at(Gp.RDI, MASK));
                v.kmovw(Mask.keep(2), Mem.at(Gp.RDI, MASK + 4));
            }
            Label full = new Label(), tails = new Label(), end = new Label();
            asm.bind(full);
            asm.cmp(Gp.R15, tileRows);
            asm.jl(tails);
            rowOfTiles(tileRows);
            nextRow(tileRows);
            asm.jmp(full);
            asm.bind(tails);
            for (int rows = 1; rows < tileRows; rows++) {
                Label other = new Label();
                asm.cmp(Gp.R15, rows);
                asm.jnz(other);
                rowOfTiles(rows);
                asm.jmp(end);
                asm.bind(other);
            }
            asm.bind(end);
            for (int i = SAVED.length - 1; i >= 0; i--) {
                asm.pop(SAVED[i]);
            }
            asm.vzeroupper();
            asm.ret();
            return asm.bytes();
        }

        /** Down by a tile: y, and both left operands in the arguments. */
        private void nextRow(int rows) {
            asm.mov(Gp.RCX, Gp.R9);
            asm.imul(Gp.RCX, Gp.RCX, rows);
            asm.add(Gp.R8, Gp.RCX);
            for (int part = 0; part < 2; part++) {
                int at = LEFT + part * LEFT_SIZE;
                asm.mov(Gp.RCX, Mem.at(Gp.RDI, at + A_STRIDE));
                if (!panels) {
                    asm.imul(Gp.RCX, Gp.RCX, rows);
                }
                asm.mov(Gp.RAX, Mem.at(Gp.RDI, at + A));
                asm.add(Gp.RAX, Gp.RCX);
                asm.mov(Mem.at(Gp.RDI, at + A), Gp.RAX);
            }
            asm.sub(Gp.R15, rows);
        }

        /** All columns of some rows. */
        private void rowOfTiles(int rows) {
            Label tile = new Label(), last = new Label(), end = new Label();
            asm.mov(Gp.R12, Mem.at(Gp.RDI, COLS));
            asm.mov(Gp.R13, Gp.R8);
            asm.mov(Gp.R14, Mem.at(Gp.RDI, STRIPS));
            asm.bind(tile);
            sums(rows);
            asm.cmp(Gp.R12, tileCols);
            asm.jl(last);
            store(rows, false);
            asm.add(Gp.R13, tileCols * (int) WORD);
            asm.sub(Gp.R12, tileCols);
            asm.jnz(tile);
            asm.jmp(end);
            asm.bind(last);
            store(rows, true);
            asm.bind(end);
        }

        /** The sums of a tile, over one left operand or two. */
        private void sums(int rows) {
            Label part = new Label(), next = new Label();
            begin(rows);
            asm.lea(Gp.RBX, Mem.at(Gp.RDI, LEFT));
            asm.bind(part);
            asm.mov(Gp.RAX, Mem.at(Gp.RBX, DEPTH));
            asm.test(Gp.RAX, Gp.RAX);
            asm.jz(next);
            asm.mov(Gp.RSI, Mem.at(Gp.RBX, A_STRIDE));
            asm.mov(BASES[0], Mem.at(Gp.RBX, A));
            for (int i = 1; i < bases(rows); i++) {
                asm.lea(BASES[i], Mem.at(BASES[i - 1], Gp.RSI, 2, 0));
                asm.add(BASES[i], Gp.RSI);
            }
            depth(rows);
            asm.bind(next);
            asm.add(Gp.RBX, LEFT_SIZE);
            asm.lea(Gp.RCX, Mem.at(Gp.RDI, LEFT + 2 * LEFT_SIZE));
            asm.cmp(Gp.RBX, Gp.RCX);
            asm.jnz(part);
        }

        /** What the sums are before the first step. The tile's place in y is called into the cache meanwhile. */
        private void begin(int rows) {
            asm.mov(Gp.RCX, Gp.R13);
            for (int i = 0; i < rows; i++) {
                asm.prefetcht0(Mem.at(Gp.RCX));
                asm.add(Gp.RCX, Gp.R9);
            }
            for (int i = 0; i < 2 * rows; i++) {
                if (form == Form.BYTES) {
                    v.vmovups(v.reg(i), Mem.at(Gp.R14, i % 2 * vector));
                } else {
                    v.vxorps(v.reg(i), v.reg(i), v.reg(i));
                }
            }
            if (form == Form.BYTES) {
                asm.add(Gp.R14, 2 * vector);
            }
        }

        /** RAX steps: four at a time, then one by one. */
        private void depth(int rows) {
            Label four = new Label(), rest = new Label(), one = new Label(), done = new Label();
            asm.sub(Gp.RAX, UNROLLED);
            asm.jl(rest);
            asm.bind(four);
            for (int p = 0; p < UNROLLED; p++) {
                step(rows, p);
            }
            advance(rows, UNROLLED);
            asm.sub(Gp.RAX, UNROLLED);
            asm.jge(four);
            asm.bind(rest);
            asm.add(Gp.RAX, UNROLLED);
            asm.jz(done);
            asm.bind(one);
            step(rows, 0);
            advance(rows, 1);
            asm.sub(Gp.RAX, 1);
            asm.jnz(one);
            asm.bind(done);
        }

        private void advance(int rows, int steps) {
            for (int i = 0; i < bases(rows); i++) {
                asm.add(BASES[i], steps * aStep());
            }
            asm.add(Gp.R14, steps * 2 * vector);
        }

        /** One step of the depth: two vectors of the strip, times one word of each row. */
        private void step(int rows, int p) {
            v.vmovups(b0, Mem.at(Gp.R14, 2 * p * vector));
            v.vmovups(b1, Mem.at(Gp.R14, (2 * p + 1) * vector));
            for (int i = 0; i < rows; i++) {
                V a = form == Form.SHORT_PAIRS || i % 2 == 0 ? a0 : a1;
                v.vbroadcastss(a, row(i, p * aStep()));
                multiply(v.reg(2 * i), a, b0);
                multiply(v.reg(2 * i + 1), a, b1);
            }
        }

        /** Bytes from one word of a row to the next. */
        private int aStep() {
            return (int) WORD * (panels ? tileRows : 1);
        }

        private int bases(int rows) {
            return panels ? 1 : (rows + 2) / 3;
        }

        private Mem row(int i, int displacement) {
            if (panels) {
                return Mem.at(BASES[0], displacement + (int) WORD * i);
            }
            Gp base = BASES[i / 3];
            return i % 3 == 0 ? Mem.at(base, displacement) : Mem.at(base, Gp.RSI, i % 3, displacement);
        }

        private void multiply(V sum, V a, V b) {
            switch (form) {
                case F32 -> v.vfmadd231ps(sum, a, b);
                case BF16_PAIRS -> v.vdpbf16ps(sum, a, b);
                case BYTES -> v.vpdpbusd(sum, a, b);
                case SHORT_PAIRS -> {
                    v.vpmaddwd(a1, a, b);
                    v.vpaddd(sum, sum, a1);
                }
            }
        }

        /** y = alpha sums (+ y). The strip's registers are free now: alpha, y, and with AVX2 the mask of the last tile's columns. */
        private void store(int rows, boolean masked) {
            Label plain = new Label(), done = new Label();
            if (!form.integer()) {
                v.vbroadcastss(a0, Mem.at(Gp.RDI, ALPHA));
                for (int i = 0; i < 2 * rows; i++) {
                    v.vmulps(v.reg(i), v.reg(i), a0);
                }
            }
            if (masked && !masks) {
                asm.mov(Gp.RCX, Mem.at(Gp.RDI, MASK));
                v.vmovups(b0, Mem.at(Gp.RCX));
                v.vmovups(b1, Mem.at(Gp.RCX, vector));
            }
            asm.mov(Gp.RAX, Mem.at(Gp.RDI, ADD));
            asm.mov(Gp.RCX, Gp.R13);
            asm.test(Gp.RAX, Gp.RAX);
            asm.jz(plain);
            eachHalf(rows, (sum, half) -> {
                load(a1, half, masked);
                if (form.integer()) {
                    v.vpaddd(sum, sum, a1);
                } else {
                    v.vaddps(sum, sum, a1);
                }
                put(sum, half, masked);
            });
            asm.jmp(done);
            asm.bind(plain);
            eachHalf(rows, (sum, half) -> put(sum, half, masked));
            asm.bind(done);
        }

        private interface Half<V> {
            void emit(V sum, int half);
        }

        private void eachHalf(int rows, Half<V> emit) {
            for (int i = 0; i < rows; i++) {
                emit.emit(v.reg(2 * i), 0);
                emit.emit(v.reg(2 * i + 1), 1);
                asm.add(Gp.RCX, Gp.R9);
            }
        }

        private void load(V to, int half, boolean masked) {
            Mem from = Mem.at(Gp.RCX, half * vector);
            if (!masked) {
                v.vmovups(to, from);
            } else if (masks) {
                v.vmovups(to, Mask.zero(1 + half), from);
            } else {
                v.vmaskmovps(to, half == 0 ? b0 : b1, from);
            }
        }

        private void put(V sum, int half, boolean masked) {
            Mem to = Mem.at(Gp.RCX, half * vector);
            if (!masked) {
                v.vmovups(to, sum);
            } else if (masks) {
                v.vmovups(to, Mask.keep(1 + half), sum);
            } else {
                v.vmaskmovps(to, half == 0 ? b0 : b1, sum);
            }
        }
    }
}
