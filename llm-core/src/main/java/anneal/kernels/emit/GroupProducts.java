package anneal.kernels.emit;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import anneal.kernels.emit.Vec.Xmm;
import anneal.kernels.emit.Vec.Ymm;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.List;

/**
 * y[i, j] = inner product of row j of a matrix with row i of x: as {@link RowProducts}, for matrices whose codes stand apart from
 * their scales. Numbers that share a scale follow each other in a row.
 *
 * <p>x is taken as floats. Two rows of it share what becomes of the codes; each has the same bits as if it were alone.
 */
public final class GroupProducts {
    /** What a number is, before its scale. */
    public enum Form {
        /** One of 16 values, codes of 4 bits, the upper ones of a byte first. See {@link anneal.kernels.CodebookMatrix}. */
        CODEBOOK(2),
        /** A code of 4 bits, the lower ones of a byte first, less its block's zero. See {@link anneal.kernels.GroupMatrix}. */
        NIBBLES(2),
        /** A byte without sign, less its block's zero. */
        BYTES(1),
        /** A byte with sign. See {@link anneal.kernels.Int8Matrix}. */
        SIGNED_BYTES(1);

        private final int inByte;

        Form(int inByte) {
            this.inByte = inByte;
        }

        private boolean hasZeros() {
            return this == NIBBLES || this == BYTES;
        }

        /** Bytes of the table, or of the zeros. */
        private long others(long blocks) {
            return this == CODEBOOK ? FLOAT * VALUES : hasZeros() ? blocks : 0;
        }
    }

    /** Numbers that the inner loop takes at a time; a scale belongs to a multiple of it. */
    public static final int STEP = 32;

    /** Rows of x that one call takes at most. */
    private static final int TOGETHER = 2;

    private static final int VALUES = 16;
    private static final int FLOAT = 4;
    private static final FunctionDescriptor SIGNATURE = FunctionDescriptor.ofVoid(
            ADDRESS, ADDRESS, ADDRESS, ADDRESS, JAVA_LONG, JAVA_LONG, ADDRESS, JAVA_LONG, JAVA_LONG, JAVA_LONG);

    private final Form form;
    private final MethodHandle one;
    private final MethodHandle two;

    /** Emits the product; the code lives as long as the arena. */
    public GroupProducts(Form form, Level level, Arena arena) {
        this.form = form;
        this.one = CodeBuffer.function(arena, new Code(form, 1, level).bytes(), SIGNATURE);
        this.two = CodeBuffer.function(arena, new Code(form, TOGETHER, level).bytes(), SIGNATURE);
    }

    /** Writes the 16 values as floats, which {@link #multiply} reads. */
    public static void table(MemorySegment table, List<Float> values) {
        for (int i = 0; i < VALUES; i++) {
            table.setAtIndex(JAVA_FLOAT, i, values.get(i));
        }
    }

    /**
     * The rows of a matrix.
     *
     * @param codes k codes for each row
     * @param scales k / block floats for each row
     * @param others the 16 floats of a codebook, or k / block bytes for each row, the blocks' zeros; not read for signed bytes
     * @param block numbers that share a scale
     */
    public record Rows(MemorySegment codes, MemorySegment scales, MemorySegment others, int block) {}

    /**
     * y[i, 0 .. rows) = w x[i], for m rows of x.
     *
     * @param y floats
     * @param apart floats from one row of y to the next
     * @param x floats [m, k]
     * @throws IndexOutOfBoundsException if a segment is too short
     */
    public void multiply(MemorySegment y, long apart, Rows w, MemorySegment x, int m, int rows, int k) {
        if (w.block < STEP || w.block % STEP != 0 || k % w.block != 0) {
            throw new IllegalArgumentException(
                    "emit: " + k + " columns are no whole blocks of " + w.block + ", or these no multiple of " + STEP);
        }
        if (rows <= 0 || m <= 0) {
            return;
        }
        if (m > 1 && apart < rows) {
            throw new IllegalArgumentException("emit: rows of " + rows + " results overlap when " + apart + " apart");
        }
        long blocks = (long) k / w.block;
        MemorySegment to = y.asSlice(0, FLOAT * ((m - 1) * apart + rows)), from = x.asSlice(0, (long) FLOAT * m * k);
        if (k == 0) {
            for (int i = 0; i < m; i++) {
                to.asSlice(FLOAT * i * apart, (long) FLOAT * rows).fill((byte) 0);
            }
            return;
        }
        MemorySegment codes = w.codes.asSlice(0, (long) rows * k / form.inByte),
                scales = w.scales.asSlice(0, FLOAT * rows * blocks),
                others = w.others.asSlice(0, form.others(rows * blocks));
        try {
            for (int i = 0; i < m; i += TOGETHER) {
                MethodHandle call = m - i < TOGETHER ? one : two;
                call.invokeExact(
                        codes,
                        from.asSlice((long) FLOAT * i * k),
                        others,
                        to.asSlice(FLOAT * i * apart),
                        (long) rows,
                        blocks,
                        scales,
                        (long) w.block / STEP,
                        (long) FLOAT * k,
                        FLOAT * apart);
            }
        } catch (Throwable e) {
            throw CodeBuffer.failure(e);
        }
    }

    /**
     * The function (codes, x, others, y, rows, blocks, scales, steps, bytes from row to row of x, and of y) in RDI, RSI, RDX, RCX, R8,
     * R9 and on the stack.
     *
     * <pre>
     * RDI  codes     RBX  scales     RDX  zeros     all only ever grow, since rows follow each other
     * R10  x         RBP  bytes to its next row     RAX  blocks left in the row          R11  steps left in the block
     * ymm0 .. ymm2   how eight numbers are made
     * ymm4 .. ymm7, ymm8 .. ymm11   sums of the block, of each row of x      ymm3, ymm14  sums of the row
     * ymm12, ymm13   the table; or the zero, and 15                          ymm15  where in 32 bits the eight codes begin
     * </pre>
     */
    private static final class Code {
        private static final int[] LOWER_FIRST = {0, 4, 8, 12, 16, 20, 24, 28};
        /** Behind the return address and two registers: arguments seven to ten. */
        private static final int STACK = 24;

        private final Form form;
        private final int together;
        private final Level level;
        private final Assembler a = new Assembler();
        private final Vectors<Ymm> y = a.ymm();
        private final Vectors<Xmm> x = a.xmm();

        Code(Form form, int together, Level level) {
            this.form = form;
            this.together = together;
            this.level = level;
        }

        byte[] bytes() {
            Label row = new Label(), block = new Label(), step = new Label();
            Constants constants = new Constants(a);
            a.push(Gp.RBX);
            a.push(Gp.RBP);
            constants(constants);
            a.mov(Gp.RBX, Mem.at(Gp.RSP, STACK));
            a.mov(Gp.RBP, Mem.at(Gp.RSP, STACK + 16));
            a.bind(row);
            a.mov(Gp.R10, Gp.RSI);
            a.mov(Gp.RAX, Gp.R9);
            for (int r = 0; r < together; r++) {
                y.vxorps(sum(r), sum(r), sum(r));
            }
            a.bind(block);
            a.mov(Gp.R11, Mem.at(Gp.RSP, STACK + 8));
            for (int i = 0; i < 4 * together; i++) {
                y.vxorps(y.reg(4 + i), y.reg(4 + i), y.reg(4 + i));
            }
            if (form.hasZeros()) {
                x.vpbroadcastb(x.reg(12), Mem.at(Gp.RDX));
                y.vpmovzxbd(y.reg(12), x.reg(12));
                a.add(Gp.RDX, 1);
            }
            a.bind(step);
            for (int i = 0; i < 4; i++) {
                Ymm numbers = numbers(Mem.at(Gp.RDI, 8 / form.inByte * i));
                for (int r = 0; r < together; r++) {
                    Mem from = r == 0 ? Mem.at(Gp.R10, 32 * i) : Mem.at(Gp.R10, Gp.RBP, 1, 32 * i);
                    y.vfmadd231ps(part(r, i), numbers, from);
                }
            }
            a.add(Gp.RDI, STEP / form.inByte);
            a.add(Gp.R10, FLOAT * STEP);
            a.sub(Gp.R11, 1);
            a.jnz(step);
            y.vbroadcastss(y.reg(0), Mem.at(Gp.RBX));
            for (int r = 0; r < together; r++) {
                y.vaddps(part(r, 0), part(r, 0), part(r, 1));
                y.vaddps(part(r, 2), part(r, 2), part(r, 3));
                y.vaddps(part(r, 0), part(r, 0), part(r, 2));
                y.vfmadd231ps(sum(r), part(r, 0), y.reg(0));
            }
            a.add(Gp.RBX, FLOAT);
            a.sub(Gp.RAX, 1);
            a.jnz(block);
            put();
            a.add(Gp.RCX, FLOAT);
            a.sub(Gp.R8, 1);
            a.jnz(row);
            a.pop(Gp.RBP);
            a.pop(Gp.RBX);
            a.vzeroupper();
            a.ret();
            constants.end();
            return a.bytes();
        }

        private void constants(Constants c) {
            switch (form) {
                case CODEBOOK -> {
                    c.lanes(y.reg(15), CodebookWidening.SHIFTS);
                    y.vmovups(y.reg(12), Mem.at(Gp.RDX));
                    y.vmovups(y.reg(13), Mem.at(Gp.RDX, 32));
                }
                case NIBBLES -> {
                    c.lanes(y.reg(15), LOWER_FIRST);
                    c.broadcast(y, y.reg(13), 15);
                }
                case BYTES, SIGNED_BYTES -> {}
            }
        }

        private Ymm sum(int r) {
            return y.reg(r == 0 ? 3 : 14);
        }

        private Ymm part(int r, int i) {
            return y.reg(4 + 4 * r + i);
        }

        /** Eight numbers as floats, without their scale. */
        private Ymm numbers(Mem codes) {
            Ymm to = y.reg(0);
            switch (form) {
                case CODEBOOK -> {
                    return CodebookWidening.lookup(y, level, codes, y.reg(15));
                }
                case NIBBLES -> {
                    y.vpbroadcastd(to, codes);
                    y.vpsrlvd(to, to, y.reg(15));
                    y.vpand(to, to, y.reg(13));
                }
                case BYTES -> y.vpmovzxbd(to, codes);
                case SIGNED_BYTES -> y.vpmovsxbd(to, codes);
            }
            if (form.hasZeros()) {
                y.vpsubd(to, to, y.reg(12));
            }
            y.vcvtdq2ps(to, to);
            return to;
        }

        /** Adds up the lanes of the sums and writes them. */
        private void put() {
            for (int r = 0; r < together; r++) {
                y.vextractf128(x.reg(0), sum(r));
                x.vaddps(x.reg(0), x.reg(0), x.reg(sum(r).number()));
                x.vhaddps(x.reg(0), x.reg(0), x.reg(0));
                x.vhaddps(x.reg(0), x.reg(0), x.reg(0));
                if (r > 0) {
                    a.mov(Gp.RAX, Mem.at(Gp.RSP, STACK + 24));
                }
                x.vmovss(r == 0 ? Mem.at(Gp.RCX) : Mem.at(Gp.RCX, Gp.RAX, 1, 0), x.reg(0));
            }
        }
    }
}
