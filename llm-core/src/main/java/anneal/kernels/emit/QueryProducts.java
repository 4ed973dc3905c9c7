package anneal.kernels.emit;

import static anneal.kernels.emit.AttentionTiles.sized;
import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import anneal.kernels.emit.Vec.Xmm;
import anneal.kernels.emit.Vec.Ymm;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/**
 * What attention does for a single query, as in decoding: its inner products with the keys of a cache, and the weighted sum of
 * the values. Keys and values are read once each, where they are.
 */
public final class QueryProducts {
    /** Numbers of a head are a multiple of it. */
    public static final int UNIT = 8;

    /** Keys whose sums are made side by side, so that none waits for another. */
    private static final int TOGETHER = 4;

    private static final int FLOAT = 4, VECTOR = UNIT * FLOAT, MOST_SUMS = 12;
    private static final FunctionDescriptor SIGNATURE =
            FunctionDescriptor.ofVoid(ADDRESS, ADDRESS, ADDRESS, JAVA_LONG, JAVA_LONG);

    private final int dim;
    private final MethodHandle dots, weigh;

    /**
     * Emits the products for heads of {@code dim} numbers; the code lives as long as the arena.
     *
     * @throws IllegalArgumentException if dim is no multiple of {@link #UNIT}
     */
    public QueryProducts(int dim, Arena arena) {
        if (dim < UNIT || dim % UNIT != 0) {
            throw new IllegalArgumentException("emit: a head of " + dim + " numbers is no multiple of " + UNIT);
        }
        this.dim = dim;
        dots = CodeBuffer.function(arena, dots(dim), SIGNATURE);
        weigh = CodeBuffer.function(arena, weigh(dim), SIGNATURE);
    }

    /**
     * scores[j] = q k[j] for n keys. A key's score is the same bits wherever it stands.
     *
     * @param q dim floats
     * @param k rows of dim floats that begin {@code stride} bytes after each other
     * @throws IndexOutOfBoundsException if a segment is too short
     */
    public void dots(MemorySegment scores, MemorySegment q, MemorySegment k, long stride, int n) {
        call(dots, sized(scores, (long) FLOAT * n), sized(q, (long) FLOAT * dim), tensor(k, stride, n), stride, n);
    }

    /**
     * out = sum of weights[j] v[j] over n values.
     *
     * @param out dim floats
     * @param v rows of dim floats that begin {@code stride} bytes after each other
     * @throws IndexOutOfBoundsException if a segment is too short
     */
    public void weigh(MemorySegment out, MemorySegment weights, MemorySegment v, long stride, int n) {
        call(weigh, sized(out, (long) FLOAT * dim), sized(weights, (long) FLOAT * n), tensor(v, stride, n), stride, n);
    }

    private MemorySegment tensor(MemorySegment s, long stride, int rows) {
        if (stride < 0 || rows < 1) {
            throw new IllegalArgumentException("emit: " + rows + " rows, " + stride + " bytes apart");
        }
        return sized(s, stride * (rows - 1) + (long) FLOAT * dim);
    }

    private static void call(
            MethodHandle code, MemorySegment to, MemorySegment numbers, MemorySegment rows, long stride, long n) {
        try {
            code.invokeExact(to, numbers, rows, stride, n);
        } catch (Throwable e) {
            throw CodeBuffer.failure(e);
        }
    }

    /**
     * The function (scores, q, k, stride, n) in RDI, RSI, RDX, RCX, R8.
     *
     * <pre>
     * RDX, R9, R10, R11   four keys           ymm0   a part of the query      ymm8 .. ymm11   their sums
     * </pre>
     */
    static byte[] dots(int dim) {
        Assembler a = new Assembler();
        dots(a, dim, TOGETHER);
        dots(a, dim, 1);
        a.vzeroupper();
        a.ret();
        return a.bytes();
    }

    /** Takes {@code keys} of them as long as there are so many. */
    private static void dots(Assembler a, int dim, int keys) {
        Vectors<Ymm> y = a.ymm();
        Gp[] key = {Gp.RDX, Gp.R9, Gp.R10, Gp.R11};
        Label more = new Label(), end = new Label();
        a.bind(more);
        a.cmp(Gp.R8, keys);
        a.jl(end);
        for (int i = 0; i < keys; i++) {
            y.vxorps(y.reg(8 + i), y.reg(8 + i), y.reg(8 + i));
            if (i > 0) {
                a.lea(key[i], Mem.at(key[i - 1], Gp.RCX, 1, 0));
            }
        }
        for (int at = 0; at < FLOAT * dim; at += VECTOR) {
            y.vmovups(y.reg(0), Mem.at(Gp.RSI, at));
            for (int i = 0; i < keys; i++) {
                y.vfmadd231ps(y.reg(8 + i), y.reg(0), Mem.at(key[i], at));
            }
        }
        put(a, keys);
        a.lea(Gp.RDX, Mem.at(key[keys - 1], Gp.RCX, 1, 0));
        a.add(Gp.RDI, FLOAT * keys);
        a.sub(Gp.R8, keys);
        a.jmp(more);
        a.bind(end);
    }

    /** Adds up the lanes of the sums and writes them; in the same order for one as for four. */
    private static void put(Assembler a, int keys) {
        Vectors<Ymm> y = a.ymm();
        Vectors<Xmm> x = a.xmm();
        int last = keys - 1;
        y.vhaddps(y.reg(0), y.reg(8), y.reg(8 + Math.min(1, last)));
        y.vhaddps(y.reg(1), y.reg(8 + Math.min(2, last)), y.reg(8 + last));
        y.vhaddps(y.reg(0), y.reg(0), y.reg(1));
        y.vextractf128(x.reg(1), y.reg(0));
        x.vaddps(x.reg(0), x.reg(0), x.reg(1));
        if (keys == 1) {
            x.vmovss(Mem.at(Gp.RDI), x.reg(0));
        } else {
            x.vmovups(Mem.at(Gp.RDI), x.reg(0));
        }
    }

    /**
     * The function (out, weights, v, stride, n) in RDI, RSI, RDX, RCX, R8.
     *
     * <pre>
     * R9   weights      R10  values      R11  how many are left
     * ymm0 .. ymm11   parts of the sum, as many passes over the values as it takes      ymm15  a weight in all lanes
     * </pre>
     */
    static byte[] weigh(int dim) {
        Assembler a = new Assembler();
        Vectors<Ymm> y = a.ymm();
        int vectors = dim / UNIT, passes = (vectors + MOST_SUMS - 1) / MOST_SUMS;
        for (int p = 0; p < passes; p++) {
            int first = vectors * p / passes, count = vectors * (p + 1) / passes - first;
            Label value = new Label();
            a.mov(Gp.R9, Gp.RSI);
            a.lea(Gp.R10, Mem.at(Gp.RDX, VECTOR * first));
            a.mov(Gp.R11, Gp.R8);
            for (int i = 0; i < count; i++) {
                y.vxorps(y.reg(i), y.reg(i), y.reg(i));
            }
            a.bind(value);
            y.vbroadcastss(y.reg(15), Mem.at(Gp.R9));
            for (int i = 0; i < count; i++) {
                y.vfmadd231ps(y.reg(i), y.reg(15), Mem.at(Gp.R10, VECTOR * i));
            }
            a.add(Gp.R9, FLOAT);
            a.add(Gp.R10, Gp.RCX);
            a.sub(Gp.R11, 1);
            a.jnz(value);
            for (int i = 0; i < count; i++) {
                y.vmovups(Mem.at(Gp.RDI, VECTOR * (first + i)), y.reg(i));
            }
        }
        a.vzeroupper();
        a.ret();
        return a.bytes();
    }
}
