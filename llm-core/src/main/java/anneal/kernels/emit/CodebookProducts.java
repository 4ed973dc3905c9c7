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
 * y[j] = inner product of row j of a codebook matrix (NF4, FP4) with x: as {@link RowProducts}, for numbers that are a scale
 * times one of 16 values. See {@link anneal.kernels.CodebookMatrix} for how they are stored.
 *
 * <p>x is taken as floats: the values are no multiples of one number, so there is no product of integers.
 */
public final class CodebookProducts {
    /** Numbers that the inner loop takes at a time; a scale belongs to a multiple of it. */
    private static final int STEP = 32;

    private static final int VALUES = 16;
    private static final int FLOAT = 4;
    private static final FunctionDescriptor SIGNATURE =
            FunctionDescriptor.ofVoid(ADDRESS, ADDRESS, ADDRESS, ADDRESS, JAVA_LONG, JAVA_LONG, ADDRESS, JAVA_LONG);

    private final MethodHandle call;

    /** Emits the product; the code lives as long as the arena. */
    public CodebookProducts(Level level, Arena arena) {
        this.call = CodeBuffer.function(arena, code(level), SIGNATURE);
    }

    /** Writes the 16 values as floats, which {@link #multiply} reads. */
    public static void table(MemorySegment table, List<Float> values) {
        for (int i = 0; i < VALUES; i++) {
            table.setAtIndex(JAVA_FLOAT, i, values.get(i));
        }
    }

    /**
     * The rows of a codebook matrix.
     *
     * @param codes k / 2 bytes for each row
     * @param scales k / block floats for each row
     * @param table 16 floats
     * @param block numbers that share a scale
     */
    public record Rows(MemorySegment codes, MemorySegment scales, MemorySegment table, int block) {}

    /**
     * y[0 .. rows) = w x.
     *
     * @param x k floats
     * @throws IndexOutOfBoundsException if a segment is too short
     */
    public void multiply(MemorySegment y, Rows w, MemorySegment x, int rows, int k) {
        if (w.block < STEP || w.block % STEP != 0 || k % w.block != 0) {
            throw new IllegalArgumentException(
                    "emit: " + k + " columns are no whole blocks of " + w.block + ", or these no multiple of " + STEP);
        }
        MemorySegment to = y.asSlice(0, (long) FLOAT * rows);
        if (rows == 0 || k == 0) {
            to.fill((byte) 0);
            return;
        }
        try {
            call.invokeExact(
                    w.codes.asSlice(0, (long) rows * k / 2),
                    x.asSlice(0, (long) FLOAT * k),
                    w.table.asSlice(0, (long) FLOAT * VALUES),
                    to,
                    (long) rows,
                    (long) k / w.block,
                    w.scales.asSlice(0, FLOAT * ((long) rows * k / w.block)),
                    (long) w.block / STEP);
        } catch (Throwable e) {
            throw CodeBuffer.failure(e);
        }
    }

    /**
     * The function (codes, x, table, y, rows, blocks, scales, steps) in RDI, RSI, RDX, RCX, R8, R9 and on the stack.
     *
     * <pre>
     * RDI  codes     RDX  scales     both only ever grow, since rows follow each other
     * R10  x         RAX  blocks left in the row          R11  steps left in the block
     * ymm0 .. ymm2   eight values are looked up
     * ymm4 .. ymm7   sums of the block      ymm8  sum of the row
     * ymm12, ymm13   the table              ymm15  where in 32 bits the eight codes begin
     * </pre>
     */
    static byte[] code(Level level) {
        Assembler a = new Assembler();
        Vectors<Ymm> y = a.ymm();
        Vectors<Xmm> x = a.xmm();
        Label row = new Label(), block = new Label(), step = new Label();
        Constants constants = new Constants(a);
        constants.lanes(y.reg(15), CodebookWidening.SHIFTS);
        y.vmovups(y.reg(12), Mem.at(Gp.RDX));
        y.vmovups(y.reg(13), Mem.at(Gp.RDX, 32));
        a.mov(Gp.RDX, Mem.at(Gp.RSP, 8));
        a.bind(row);
        a.mov(Gp.R10, Gp.RSI);
        a.mov(Gp.RAX, Gp.R9);
        y.vxorps(y.reg(8), y.reg(8), y.reg(8));
        a.bind(block);
        a.mov(Gp.R11, Mem.at(Gp.RSP, 16));
        for (int i = 0; i < 4; i++) {
            y.vxorps(y.reg(4 + i), y.reg(4 + i), y.reg(4 + i));
        }
        a.bind(step);
        for (int i = 0; i < 4; i++) {
            Ymm values = CodebookWidening.lookup(y, level, Mem.at(Gp.RDI, 4 * i), y.reg(15));
            y.vfmadd231ps(y.reg(4 + i), values, Mem.at(Gp.R10, 32 * i));
        }
        a.add(Gp.RDI, STEP / 2);
        a.add(Gp.R10, FLOAT * STEP);
        a.sub(Gp.R11, 1);
        a.jnz(step);
        y.vaddps(y.reg(4), y.reg(4), y.reg(5));
        y.vaddps(y.reg(6), y.reg(6), y.reg(7));
        y.vaddps(y.reg(4), y.reg(4), y.reg(6));
        y.vbroadcastss(y.reg(0), Mem.at(Gp.RDX));
        y.vfmadd231ps(y.reg(8), y.reg(4), y.reg(0));
        a.add(Gp.RDX, FLOAT);
        a.sub(Gp.RAX, 1);
        a.jnz(block);
        y.vextractf128(x.reg(0), y.reg(8));
        x.vaddps(x.reg(0), x.reg(0), x.reg(8));
        x.vhaddps(x.reg(0), x.reg(0), x.reg(0));
        x.vhaddps(x.reg(0), x.reg(0), x.reg(0));
        x.vmovss(Mem.at(Gp.RCX), x.reg(0));
        a.add(Gp.RCX, FLOAT);
        a.sub(Gp.R8, 1);
        a.jnz(row);
        a.vzeroupper();
        a.ret();
        constants.end();
        return a.bytes();
    }
}
