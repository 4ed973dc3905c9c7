package anneal.kernels.emit;

import anneal.kernels.emit.TileInstructions.Tile;
import anneal.kernels.emit.Vec.Zmm;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.function.IntConsumer;

/**
 * Products by AMX, the matrix unit of Intel's servers since 2023, which multiplies bf16 and adds up floats.
 *
 * <p>A float is one bf16, or the sum of three ({@link AmxPacking}): 24 bits of a float are three times 8. Then the product of two
 * floats is that of their parts, without the three pairs of parts whose product is below the last bit of a float:
 *
 * <pre>
 * x = x0 + x1 + x2        |x1| &lt;= 2^-8 |x|     |x2| &lt;= 2^-16 |x|
 * x y = x0 y0 + x0 y1 + x1 y0 + x1 y1 + x0 y2 + x2 y0     and less than 2^-22 |x y|, for most 2^-25
 * </pre>
 *
 * <p>Six products in AMX take less time than one in vectors, which multiply 16 times fewer numbers; sums are as exact as sums of
 * floats. Infinity times a part that is 0 is NaN: a sum that is not finite is computed again in vectors, from the sums of the parts.
 * Parts below 2^-126 are 0, and so are such sums. Henry, Tang and Heinecke, "Leveraging the bfloat16 Artificial Intelligence Datatype
 * For Higher-Precision Computations", arXiv:1904.06376.
 *
 * <p>Operands are packed in steps of 64 bytes of depth of 32 rows or columns: for each part two tiles of 1024 bytes. In a tile of the
 * left operand a line is 32 depths of a row (64, if they are bytes), in one of the right operand it is a word, two depths or four, of 16
 * columns. Strips of bytes have the lines of both tiles side by side, as {@link Packing} makes them.
 */
public final class AmxProduct extends BlockProduct {
    /** What the words of both operands hold. */
    public enum Form {
        /** Numbers of two bytes; sums are floats. */
        BF16(1),
        /** Floats, each in three bf16; sums are floats. */
        FLOATS(3),
        /** Bytes with sign; sums are 32-bit integers, exact. */
        BYTES(1);

        /** Words of a number are so many times those of its line. */
        final int parts;

        Form(int parts) {
            this.parts = parts;
        }

        /** Numbers in 64 bytes: the depths of a step. */
        int depths() {
            return this == BYTES ? 64 : 32;
        }

        /** Words of a step in one row. */
        int stepWords() {
            return 16 * parts;
        }

        /** Words that so many depths of a row become. */
        public int words(int depth) {
            return (depth + depths() - 1) / depths() * stepWords();
        }
    }

    /** Rows and columns of two tiles by two. */
    static final int WIDTH = 32;
    /** Bytes of a tile register, and of a step of one part: two of them. */
    static final int TILE = 1024, PART = 2 * TILE;

    /** Classes of vfpclassps: quiet and signalling NaN, both infinities. */
    static final int NOT_FINITE = 0x99;

    /** Bytes of a row of sums. */
    private static final int LINE = WIDTH * (int) WORD;
    /** Offsets of what the code keeps among the arguments: where the strip began, and where the sums of rows that are there end. */
    private static final int STRIP = LEFT + 2 * LEFT_SIZE, END = STRIP + 8;

    private final Form form;

    /**
     * Emits the product; the code lives as long as the arena.
     *
     * @throws IllegalArgumentException if there is no AMX here; asking is also what makes the system allow its registers
     */
    public AmxProduct(Form form, Arena arena) {
        super(arena, code(form));
        this.form = form;
    }

    private static byte[] code(Form form) {
        String obstacle = CpuFeatures.obstacle(Level.AMX);
        if (obstacle != null) {
            throw new IllegalArgumentException("emit: no products by AMX: " + obstacle);
        }
        return new Generator(form).code();
    }

    @Override
    public int rows() {
        return WIDTH;
    }

    @Override
    public int cols() {
        return WIDTH;
    }

    @Override
    public int together() {
        return WIDTH;
    }

    @Override
    public long stripWords(int depth) {
        return (long) WIDTH * depth;
    }

    @Override
    public int deepest() {
        return 2048;
    }

    /** A part of the 2 MB that processors with AMX have. */
    @Override
    public int blockWords() {
        return 256 << 10;
    }

    @Override
    void mask(MemorySegment arguments, int columns) {
        bits(arguments, columns);
    }

    @Override
    MemorySegment checked(Left a, int rows) {
        if (a.depth() % form.stepWords() != 0) {
            throw new IllegalArgumentException(
                    "emit: " + a.depth() + " words are no whole steps of " + form.stepWords());
        }
        return super.checked(a, rows);
    }

    /**
     * Writes the function (arguments).
     *
     * <pre>
     * RDI  arguments       R8   y of the panel's first row, R9 its stride     R15  rows left
     * R12  columns left    R13  y of the tiles            R14  where the strip is read
     * RBX  which left operand       R10  where its panel is read       RAX  words of depth left
     * R11  where sums are put       RSI  64: bytes of a line of a tile     RDX  128: of two lines     RCX, RBP  for the moment
     *
     * tiles 0 .. 3   sums      4, 5   a part of 32 rows      6, 7   a part of 32 columns
     * k1, k2         columns of the last tiles               zmm31  alpha, zmm30  ones above zeros in pairs of 16 bits
     * </pre>
     */
    private static final class Generator {
        private static final Gp[] SAVED = {Gp.RBX, Gp.RBP, Gp.R12, Gp.R13, Gp.R14, Gp.R15};

        /**
         * Which parts of the operands are multiplied, the smallest products first, in an order in which one of two stays. {left,
         * right}.
         */
        private static final int[][] SIX = {{2, 0}, {1, 0}, {1, 1}, {0, 1}, {0, 0}, {0, 2}};

        private static final int[][] ONE = {{0, 0}};

        private final Assembler asm = new Assembler();
        private final TileInstructions tiles = new TileInstructions(asm);
        private final Vectors<Zmm> v = asm.zmm();
        private final Constants constants = new Constants(asm);
        private final Form form;
        private final int parts;

        Generator(Form form) {
            this.form = form;
            this.parts = form.parts;
        }

        byte[] code() {
            for (Gp r : SAVED) {
                asm.push(r);
            }
            asm.mov(Gp.R8, Mem.at(Gp.RDI, Y));
            asm.mov(Gp.R9, Mem.at(Gp.RDI, Y_STRIDE));
            asm.mov(Gp.R15, Mem.at(Gp.RDI, ROWS));
            v.kmovw(Mask.keep(1), Mem.at(Gp.RDI, MASK));
            v.kmovw(Mask.keep(2), Mem.at(Gp.RDI, MASK + 4));
            v.vbroadcastss(v.reg(31), Mem.at(Gp.RDI, ALPHA));
            constants.address(Gp.RCX, 0xFFFF_0000);
            v.vpbroadcastd(v.reg(30), Mem.at(Gp.RCX));
            asm.lea(Gp.R11, Mem.at(Gp.RDI, SUMS));
            asm.mov(Gp.RSI, 64);
            constants.address(Gp.RCX, configuration());
            tiles.ldtilecfg(Mem.at(Gp.RCX));
            Label panel = new Label(), few = new Label(), end = new Label();
            asm.bind(panel);
            asm.cmp(Gp.R15, WIDTH / 2 + 1);
            asm.jl(few);
            rowOfTiles(2);
            nextPanel();
            asm.cmp(Gp.R15, 1);
            asm.jge(panel);
            asm.jmp(end);
            asm.bind(few);
            rowOfTiles(1);
            asm.bind(end);
            tiles.tilerelease();
            for (int i = SAVED.length - 1; i >= 0; i--) {
                asm.pop(SAVED[i]);
            }
            asm.vzeroupper();
            asm.ret();
            constants.end();
            return asm.bytes();
        }

        /** Palette 1; bytes of a line from byte 16, lines from byte 48 on: 64 and 16 for all eight tiles. */
        private static int[] configuration() {
            int[] words = new int[16];
            words[0] = 1;
            for (int i = 0; i < 4; i++) {
                words[4 + i] = 64 << 16 | 64;
            }
            words[12] = words[13] = 0x10101010;
            return words;
        }

        private void nextPanel() {
            asm.mov(Gp.RCX, Gp.R9);
            asm.imul(Gp.RCX, Gp.RCX, WIDTH);
            asm.add(Gp.R8, Gp.RCX);
            for (int i = 0; i < 2; i++) {
                int at = LEFT + i * LEFT_SIZE;
                asm.mov(Gp.RAX, Mem.at(Gp.RDI, at + A));
                asm.mov(Gp.RCX, Mem.at(Gp.RDI, at + A_STRIDE));
                asm.add(Gp.RAX, Gp.RCX);
                asm.mov(Mem.at(Gp.RDI, at + A), Gp.RAX);
            }
            asm.sub(Gp.R15, WIDTH);
        }

        /** All columns of a panel, of which one or both tiles have rows. */
        private void rowOfTiles(int high) {
            Label next = new Label(), last = new Label(), end = new Label();
            asm.mov(Gp.R12, Mem.at(Gp.RDI, COLS));
            asm.mov(Gp.R13, Gp.R8);
            asm.mov(Gp.R14, Mem.at(Gp.RDI, STRIPS));
            asm.bind(next);
            sums(high);
            asm.cmp(Gp.R12, WIDTH);
            asm.jl(last);
            store(high, false);
            asm.add(Gp.R13, LINE);
            asm.sub(Gp.R12, WIDTH);
            asm.jnz(next);
            asm.jmp(end);
            asm.bind(last);
            store(high, true);
            asm.bind(end);
        }

        /** The sums over one left operand or two, put into memory: [32, 32], or the first 16 rows. */
        private void sums(int high) {
            Label step = new Label();
            for (int i = 0; i < 2 * high; i++) {
                tiles.tilezero(new Tile(i));
            }
            asm.mov(Mem.at(Gp.RDI, STRIP), Gp.R14);
            eachLeft(() -> {
                asm.mov(Gp.R10, Mem.at(Gp.RBX, A));
                asm.mov(Gp.RDX, 128);
                asm.bind(step);
                step(high);
                asm.add(Gp.R10, parts * PART);
                asm.add(Gp.R14, parts * PART);
                asm.sub(Gp.RAX, form.stepWords());
                asm.jnz(step);
            });
            asm.mov(Gp.RCX, LINE);
            for (int i = 0; i < 2 * high; i++) {
                int at = i / 2 * (WIDTH / 2) * LINE + i % 2 * 64;
                tiles.tilestored(Mem.at(Gp.R11, Gp.RCX, 1, at), new Tile(i));
            }
            if (parts > 1) {
                notFinite(high);
            }
        }

        /** Code for each left operand that there is, RAX words deep. */
        private void eachLeft(Runnable code) {
            Label left = new Label(), next = new Label();
            asm.lea(Gp.RBX, Mem.at(Gp.RDI, LEFT));
            asm.bind(left);
            asm.mov(Gp.RAX, Mem.at(Gp.RBX, DEPTH));
            asm.test(Gp.RAX, Gp.RAX);
            asm.jz(next);
            code.run();
            asm.bind(next);
            asm.add(Gp.RBX, LEFT_SIZE);
            asm.lea(Gp.RCX, Mem.at(Gp.RDI, LEFT + 2 * LEFT_SIZE));
            asm.cmp(Gp.RBX, Gp.RCX);
            asm.jnz(left);
        }

        /** RDX = rows of the tiles that there are. */
        private void rowsThatAre(int high) {
            Label fewer = new Label();
            asm.mov(Gp.RDX, Gp.R15);
            asm.cmp(Gp.RDX, high * WIDTH / 2);
            asm.jl(fewer);
            asm.mov(Gp.RDX, high * WIDTH / 2);
            asm.bind(fewer);
        }

        /** Computes each sum that is not finite again: k3 and k4 are which of a row's. Rows that are not there hold anything. */
        private void notFinite(int high) {
            Label row = new Label(), next = new Label(), again = new Label(), end = new Label();
            rowsThatAre(high);
            asm.imul(Gp.RDX, Gp.RDX, LINE);
            asm.add(Gp.RDX, Gp.R11);
            asm.mov(Mem.at(Gp.RDI, END), Gp.RDX);
            asm.mov(Gp.RBP, Gp.R11);
            asm.mov(Gp.RDX, 0);
            asm.bind(row);
            for (int i = 0; i < 2; i++) {
                v.vmovups(v.reg(i), Mem.at(Gp.RBP, 64 * i));
                v.vfpclassps(Mask.keep(3 + i), v.reg(i), NOT_FINITE);
            }
            v.kortestw(Mask.keep(3), Mask.keep(4));
            asm.jnz(again);
            asm.bind(next);
            asm.add(Gp.RBP, LINE);
            asm.add(Gp.RDX, 64);
            asm.cmp(Gp.RBP, Mem.at(Gp.RDI, END));
            asm.jnz(row);
            asm.jmp(end);
            asm.bind(again);
            sumsInVectors();
            for (int i = 0; i < 2; i++) {
                v.vmovups(Mem.at(Gp.RBP, 64 * i), Mask.keep(3 + i), v.reg(i));
            }
            asm.jmp(next);
            asm.bind(end);
        }

        /** zmm0, zmm1 = the sums of a row that begins RDX bytes behind the panel's first; RSI pairs left, and 64 again after it. */
        private void sumsInVectors() {
            Label step = new Label(), pair = new Label();
            v.vxorps(v.reg(0), v.reg(0), v.reg(0));
            v.vxorps(v.reg(1), v.reg(1), v.reg(1));
            asm.mov(Gp.R14, Mem.at(Gp.RDI, STRIP));
            eachLeft(() -> {
                asm.mov(Gp.R10, Mem.at(Gp.RBX, A));
                asm.add(Gp.R10, Gp.RDX);
                asm.bind(step);
                asm.mov(Gp.RSI, 16);
                asm.bind(pair);
                for (int depth = 0; depth < 2; depth++) {
                    whole(2, 8, part -> v.vpbroadcastd(v.reg(5 + part), Mem.at(Gp.R10, part * PART)), depth);
                    for (int i = 0; i < 2; i++) {
                        int at = i * TILE;
                        whole(3, 8, part -> v.vmovups(v.reg(5 + part), Mem.at(Gp.R14, part * PART + at)), depth);
                        v.vfmadd231ps(v.reg(i), v.reg(2), v.reg(3));
                    }
                }
                asm.add(Gp.R10, (int) WORD);
                asm.add(Gp.R14, 64);
                asm.sub(Gp.RSI, 1);
                asm.jnz(pair);
                asm.add(Gp.R10, parts * PART - 64);
                asm.add(Gp.R14, parts * PART - TILE);
                asm.sub(Gp.RAX, form.stepWords());
                asm.jnz(step);
            });
            asm.mov(Gp.RSI, 64);
        }

        /** zmm(to) = the sum of a depth's parts, the smallest first, of the pairs that {@code load} brings into zmm5 and after. */
        private void whole(int to, int scratch, IntConsumer load, int depth) {
            for (int part = parts - 1; part >= 0; part--) {
                load.accept(part);
                Zmm pairs = v.reg(5 + part), one = v.reg(part == parts - 1 ? to : scratch);
                if (depth == 0) {
                    v.vpslld(one, pairs, 16);
                } else {
                    v.vpand(one, pairs, v.reg(30));
                }
                if (part < parts - 1) {
                    v.vaddps(v.reg(to), v.reg(to), one);
                }
            }
        }

        /** 32 depths. */
        private void step(int high) {
            int left = -1, right = -1;
            for (int[] pair : parts == 1 ? ONE : SIX) {
                for (int i = 0; i < high && pair[0] != left; i++) {
                    tiles.tileloadd(new Tile(4 + i), Mem.at(Gp.R10, Gp.RSI, 1, pair[0] * PART + i * TILE));
                }
                for (int i = 0; i < 2 && pair[1] != right; i++) {
                    tiles.tileloadd(new Tile(6 + i), right(pair[1], i));
                }
                left = pair[0];
                right = pair[1];
                for (int i = 0; i < 2 * high; i++) {
                    Tile sum = new Tile(i), a = new Tile(4 + i / 2), b = new Tile(6 + i % 2);
                    if (form == Form.BYTES) {
                        tiles.tdpbssd(sum, a, b);
                    } else {
                        tiles.tdpbf16ps(sum, a, b);
                    }
                }
            }
        }

        /** A tile of the strip: lines after each other, or side by side with those of the other tile. */
        private Mem right(int part, int i) {
            return form == Form.BYTES
                    ? Mem.at(Gp.R14, Gp.RDX, 1, 64 * i)
                    : Mem.at(Gp.R14, Gp.RSI, 1, part * PART + i * TILE);
        }

        /** y = alpha sums (+ y), for the rows that there are. */
        private void store(int high, boolean masked) {
            Label plain = new Label(), done = new Label();
            rowsThatAre(high);
            asm.mov(Gp.RCX, Gp.R13);
            asm.mov(Gp.RBP, Gp.R11);
            asm.mov(Gp.RAX, Mem.at(Gp.RDI, ADD));
            asm.test(Gp.RAX, Gp.RAX);
            asm.jz(plain);
            rows(masked, true);
            asm.jmp(done);
            asm.bind(plain);
            rows(masked, false);
            asm.bind(done);
        }

        private void rows(boolean masked, boolean add) {
            Label row = new Label();
            asm.bind(row);
            for (int i = 0; i < 2; i++) {
                Zmm sum = v.reg(i), old = v.reg(2 + i);
                Mem y = Mem.at(Gp.RCX, 64 * i), from = Mem.at(Gp.RBP, 64 * i);
                if (form == Form.BYTES) {
                    v.vmovups(sum, from);
                } else {
                    v.vmulps(sum, v.reg(31), from);
                }
                if (add) {
                    if (masked) {
                        v.vmovups(old, Mask.zero(1 + i), y);
                    } else {
                        v.vmovups(old, y);
                    }
                    if (form == Form.BYTES) {
                        v.vpaddd(sum, sum, old);
                    } else {
                        v.vaddps(sum, sum, old);
                    }
                }
                if (masked) {
                    v.vmovups(y, Mask.keep(1 + i), sum);
                } else {
                    v.vmovups(y, sum);
                }
            }
            asm.add(Gp.RCX, Gp.R9);
            asm.add(Gp.RBP, LINE);
            asm.sub(Gp.RDX, 1);
            asm.jnz(row);
        }
    }
}
