package anneal.kernels.emit;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_LONG;
import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;

import anneal.kernels.emit.Vec.Xmm;
import anneal.kernels.emit.Vec.Ymm;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/** Rows of signed bytes as rows of what an integer tile product reads: 16-bit integers, or bytes without sign, 128 above. */
public final class BytePacking {
    /** What a byte becomes. */
    public enum Form {
        /** A 16-bit integer. */
        SHORTS(2),
        /** A byte without sign: the value + 128. */
        OFFSET_BYTES(1);

        private final int bytes;

        Form(int bytes) {
            this.bytes = bytes;
        }

        /** Bytes of a number. */
        public int bytes() {
            return bytes;
        }
    }

    private static final int STEP = 16;

    private final Form form;
    private final MethodHandle call;

    /** Emits the function, for every level; the code lives as long as the arena. */
    public BytePacking(Form form, Arena arena) {
        this.form = form;
        call = CodeBuffer.function(arena, code(form), FunctionDescriptor.ofVoid(ADDRESS, ADDRESS, JAVA_LONG));
    }

    /**
     * dst[0 .. padded) = the first {@code count} bytes of src, then what stands for 0.
     *
     * @param padded numbers that dst gets, at least {@code count}
     * @throws IndexOutOfBoundsException if a segment is too short
     */
    public void row(MemorySegment dst, MemorySegment src, int count, int padded) {
        if (count < 0 || padded < count) {
            throw new IllegalArgumentException("emit: " + count + " bytes do not become " + padded + " numbers");
        }
        MemorySegment to = dst.asSlice(0, (long) form.bytes * padded), from = src.asSlice(0, count);
        int whole = count / STEP * STEP;
        if (whole > 0) {
            try {
                call.invokeExact(to, from, (long) whole);
            } catch (Throwable e) {
                throw CodeBuffer.failure(e);
            }
        }
        for (int i = whole; i < padded; i++) {
            int value = i < count ? from.get(JAVA_BYTE, i) : 0;
            if (form == Form.SHORTS) {
                to.set(JAVA_SHORT_UNALIGNED, 2L * i, (short) value);
            } else {
                to.set(JAVA_BYTE, i, (byte) (value + 128));
            }
        }
    }

    /** The function (to RDI, from RSI, count RDX), count a multiple of 16 above 0. */
    static byte[] code(Form form) {
        Assembler a = new Assembler();
        Vectors<Ymm> y = a.ymm();
        Vectors<Xmm> x = a.xmm();
        Constants constants = new Constants(a);
        Label step = new Label();
        if (form == Form.OFFSET_BYTES) {
            constants.broadcast(x, x.reg(1), 0x80808080);
        }
        a.bind(step);
        if (form == Form.SHORTS) {
            y.vpmovsxbw(y.reg(0), Mem.at(Gp.RSI));
            y.vmovups(Mem.at(Gp.RDI), y.reg(0));
        } else {
            x.vmovups(x.reg(0), Mem.at(Gp.RSI));
            x.vxorps(x.reg(0), x.reg(0), x.reg(1)); // turning the sign bit adds 128
            x.vmovups(Mem.at(Gp.RDI), x.reg(0));
        }
        a.add(Gp.RDI, STEP * form.bytes);
        a.add(Gp.RSI, STEP);
        a.sub(Gp.RDX, STEP);
        a.jnz(step);
        a.vzeroupper();
        a.ret();
        constants.end();
        return a.bytes();
    }
}
