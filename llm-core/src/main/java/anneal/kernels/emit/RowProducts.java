package anneal.kernels.emit;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import anneal.kernels.emit.Vec.Xmm;
import anneal.kernels.emit.Vec.Ymm;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/**
 * y[j] = inner product of row j of a stored matrix with x, for rows that lie one after the other: decoding's product. Each
 * weight is read once, in its stored form, and becomes a float in a register.
 *
 * <p>Where a block's numbers are d q + m, its part is d sum(q x) + m sum(x), and sum(x) is the same for all rows. AVX2, FMA and
 * F16C; the plan of the registers stands at each generator.
 */
public final class RowProducts {
    /** How a block of 32 numbers is stored: GGUF's formats. */
    public enum Layout {
        /** Half d, 16 bytes of codes: d (q - 8). */
        Q4_0(18),
        /** Halves d and m, 16 bytes of codes: d q + m. */
        Q4_1(20),
        /** Half d, 32 signed bytes: d q. */
        Q8_0(34);

        private final int bytes;

        Layout(int bytes) {
            this.bytes = bytes;
        }

        /** Bytes of a block. */
        public int bytes() {
            return bytes;
        }
    }

    /** Numbers of a block. */
    public static final int BLOCK = 32;

    /** Floats that {@link #prepare} writes for a block. */
    private static final int SUMS = 4;

    private static final int FLOAT = 4;
    private static final FunctionDescriptor SIGNATURE =
            FunctionDescriptor.ofVoid(ADDRESS, ADDRESS, ADDRESS, ADDRESS, JAVA_LONG, JAVA_LONG);

    private final Layout layout;
    private final MethodHandle call;

    /** Emits the product of a layout; the code lives as long as the arena. */
    public RowProducts(Layout layout, Arena arena) {
        this.layout = layout;
        this.call = Linker.nativeLinker()
                .downcallHandle(CodeBuffer.load(arena, code(layout)), SIGNATURE, Linker.Option.critical(false));
    }

    /** Bytes that {@link #prepare} needs for x of k floats. */
    public static long preparedBytes(int k) {
        return (long) k / BLOCK * SUMS * FLOAT;
    }

    /** What is the same for all rows: for each block four floats that the block's first four halves are multiplied with. */
    public void prepare(MemorySegment sums, MemorySegment x, int k) {
        int lane = lane(layout);
        float factor = layout == Layout.Q4_0 ? -8 : 1;
        for (int b = 0; lane >= 0 && b < k / BLOCK; b++) {
            float s0 = 0, s1 = 0, s2 = 0, s3 = 0; // four, since one would wait for the addition before it
            for (int i = BLOCK * b; i < BLOCK * (b + 1); i += 4) {
                s0 += x.getAtIndex(JAVA_FLOAT, i);
                s1 += x.getAtIndex(JAVA_FLOAT, i + 1);
                s2 += x.getAtIndex(JAVA_FLOAT, i + 2);
                s3 += x.getAtIndex(JAVA_FLOAT, i + 3);
            }
            float sum = s0 + s1 + (s2 + s3);
            for (int i = 0; i < SUMS; i++) {
                sums.setAtIndex(JAVA_FLOAT, SUMS * b + i, i == lane ? factor * sum : 0);
            }
        }
    }

    /** Which of the block's halves is multiplied with the sum; -1 = none. */
    private static int lane(Layout layout) {
        return switch (layout) {
            case Q4_0 -> 0;
            case Q4_1 -> 1;
            case Q8_0 -> -1;
        };
    }

    /**
     * y[0 .. rows) = w x.
     *
     * @param w the rows' blocks
     * @param x k floats
     * @param sums what {@link #prepare} wrote
     * @throws IndexOutOfBoundsException if a segment is too short
     */
    public void multiply(MemorySegment y, MemorySegment w, MemorySegment x, MemorySegment sums, int rows, int k) {
        if (k % BLOCK != 0) {
            throw new IllegalArgumentException("emit: " + k + " columns are no whole blocks of " + BLOCK);
        }
        if (rows == 0) {
            return;
        }
        if (k == 0) {
            y.asSlice(0, (long) FLOAT * rows).fill((byte) 0);
            return;
        }
        MemorySegment to = y.asSlice(0, (long) FLOAT * rows),
                from = w.asSlice(0, (long) rows * (k / BLOCK) * layout.bytes);
        try {
            call.invokeExact(
                    from,
                    x.asSlice(0, (long) FLOAT * k),
                    sums.asSlice(0, preparedBytes(k)),
                    to,
                    (long) rows,
                    (long) k / BLOCK);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable e) {
            throw new IllegalStateException(e);
        }
    }

    /**
     * The function (w, x, sums, y, rows, blocks) in System V's registers RDI, RSI, RDX, RCX, R8, R9.
     *
     * <pre>
     * RDI  block of w; rows follow each other, so it only ever grows
     * R10  32 floats of x        R11  sums of the block      RAX  blocks left in the row
     * ymm0 .. ymm3   codes of the block as floats
     * ymm4, ymm5     two sums of q x                         ymm7   d in all lanes
     * xmm6   first halves of the block as floats
     * ymm8   sum of d q x        xmm9  sum of m sum(x)       ymm15  mask 15 of four bits
     * </pre>
     */
    static byte[] code(Layout layout) {
        Assembler a = new Assembler();
        Vectors<Ymm> y = a.ymm();
        Vectors<Xmm> x = a.xmm();
        Label row = new Label(), block = new Label();
        if (layout != Layout.Q8_0) {
            maskOfFour(a, y);
        }
        a.bind(row);
        a.mov(Gp.R10, Gp.RSI);
        a.mov(Gp.R11, Gp.RDX);
        a.mov(Gp.RAX, Gp.R9);
        y.vxorps(y.reg(8), y.reg(8), y.reg(8));
        x.vxorps(x.reg(9), x.reg(9), x.reg(9));
        a.bind(block);
        if (layout == Layout.Q8_0) {
            bytes(y);
        } else {
            nibbles(y, layout == Layout.Q4_0 ? 2 : 4);
        }
        for (int i = 0; i < 4; i++) {
            y.vcvtdq2ps(y.reg(i), y.reg(i));
        }
        y.vmulps(y.reg(4), y.reg(0), Mem.at(Gp.R10));
        y.vmulps(y.reg(5), y.reg(1), Mem.at(Gp.R10, 32));
        x.vcvtph2ps(x.reg(6), Mem.at(Gp.RDI));
        y.vfmadd231ps(y.reg(4), y.reg(2), Mem.at(Gp.R10, 64));
        y.vfmadd231ps(y.reg(5), y.reg(3), Mem.at(Gp.R10, 96));
        y.vbroadcastss(y.reg(7), x.reg(6));
        y.vaddps(y.reg(4), y.reg(4), y.reg(5));
        if (lane(layout) >= 0) {
            x.vfmadd231ps(x.reg(9), x.reg(6), Mem.at(Gp.R11));
        }
        y.vfmadd231ps(y.reg(8), y.reg(4), y.reg(7));
        a.add(Gp.RDI, layout.bytes);
        a.add(Gp.R10, BLOCK * FLOAT);
        a.add(Gp.R11, SUMS * FLOAT);
        a.sub(Gp.RAX, 1);
        a.jnz(block);
        sum(y, x, lane(layout));
        x.vmovss(Mem.at(Gp.RCX), x.reg(0));
        a.add(Gp.RCX, FLOAT);
        a.sub(Gp.R8, 1);
        a.jnz(row);
        a.vzeroupper();
        a.ret();
        return a.bytes();
    }

    /** ymm15 = 15 in each lane, by way of the stack's red zone: the bytes below RSP that are a leaf function's own. */
    private static void maskOfFour(Assembler a, Vectors<Ymm> y) {
        a.mov(Gp.RAX, 15);
        a.mov32(Mem.at(Gp.RSP, -8), Gp.RAX);
        y.vpbroadcastd(y.reg(15), Mem.at(Gp.RSP, -8));
    }

    /** ymm0 .. ymm3 = 32 codes of four bits: the lower ones of 16 bytes, then the upper ones. */
    private static void nibbles(Vectors<Ymm> y, int at) {
        y.vpmovzxbd(y.reg(0), Mem.at(Gp.RDI, at));
        y.vpmovzxbd(y.reg(1), Mem.at(Gp.RDI, at + 8));
        y.vpsrld(y.reg(2), y.reg(0), 4);
        y.vpsrld(y.reg(3), y.reg(1), 4);
        y.vpand(y.reg(0), y.reg(0), y.reg(15));
        y.vpand(y.reg(1), y.reg(1), y.reg(15));
    }

    /** ymm0 .. ymm3 = 32 signed bytes. */
    private static void bytes(Vectors<Ymm> y) {
        for (int i = 0; i < 4; i++) {
            y.vpmovsxbd(y.reg(i), Mem.at(Gp.RDI, 2 + 8 * i));
        }
    }

    /** The lowest lane of xmm0 = all lanes of ymm8 + one lane of xmm9. */
    private static void sum(Vectors<Ymm> y, Vectors<Xmm> x, int lane) {
        y.vextractf128(x.reg(0), y.reg(8));
        x.vaddps(x.reg(0), x.reg(0), x.reg(8));
        x.vhaddps(x.reg(0), x.reg(0), x.reg(0));
        x.vhaddps(x.reg(0), x.reg(0), x.reg(0));
        if (lane == 1) {
            x.vshufps(x.reg(9), x.reg(9), x.reg(9), 1);
        }
        if (lane >= 0) {
            x.vaddps(x.reg(0), x.reg(0), x.reg(9));
        }
    }
}
