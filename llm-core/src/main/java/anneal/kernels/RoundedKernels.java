package anneal.kernels;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;

/**
 * A tier whose products and attention have operands of lower precision: rounds x to a copy, lets w round while it is widened,
 * and calls the tier below, which multiplies and adds in f32.
 *
 * <p>That is the number that hardware for such operands computes, without its speed. Where there are few rows, reading the
 * weights or keys is all that counts; there bfloat16 operands would cost time and are left as they are.
 */
final class RoundedKernels extends ForwardingKernels {
    /** Products and attention of at most so many rows keep f32 in {@link Compute#BF16}. */
    static final int FEW_ROWS = VectorGemv.ROWS;

    /** The copies of a thread's call: attention's backward pass needs four. They grow to the largest size asked for. */
    private static final ThreadLocal<MemorySegment[]> COPIES = ThreadLocal.withInitial(() -> {
        MemorySegment[] none = new MemorySegment[4];
        Arrays.fill(none, MemorySegment.NULL);
        return none;
    });

    private final Compute compute;

    RoundedKernels(Kernels rest, Compute compute) {
        super(rest);
        this.compute = compute;
    }

    @Override
    public String name() {
        return rest().name();
    }

    @Override
    public Kernels in(Compute other) {
        return rest().in(other);
    }

    @Override
    public void matmulT(MemorySegment y, MemorySegment x, Matrix w, int m, float alpha, boolean add) {
        rest().matmulT(y, left(0, x, w, m), right(w, m), m, alpha, add);
    }

    @Override
    public void matmul(MemorySegment y, MemorySegment x, Matrix w, int m, float alpha, boolean add) {
        rest().matmul(y, left(0, x, new TransposedMatrix(w), m), right(w, m), m, alpha, add);
    }

    @Override
    public void matmulTPlus(MemorySegment y, MemorySegment x, Matrix w, MemorySegment u, Matrix v, int m, boolean add) {
        rest().matmulTPlus(y, left(0, x, w, m), right(w, m), left(1, u, v, m), right(v, m), m, add);
    }

    @Override
    public void matmulPlus(MemorySegment y, MemorySegment x, Matrix w, MemorySegment u, Matrix v, int m, boolean add) {
        MemorySegment left = left(0, x, new TransposedMatrix(w), m), second = left(1, u, new TransposedMatrix(v), m);
        rest().matmulPlus(y, left, right(w, m), second, right(v, m), m, add);
    }

    @Override
    public void matmulTN(
            MemorySegment y, MemorySegment a, MemorySegment b, int n, int k, int m, float alpha, boolean add) {
        if (compute == Compute.BF16) {
            rest().matmulTN(y, copy(0, a, (long) m * n), copy(1, b, (long) m * k), n, k, m, alpha, add);
        } else {
            rest().matmulTN(y, a, b, n, k, m, alpha, add);
        }
    }

    @Override
    public void attention(
            MemorySegment o, MemorySegment lse, MemorySegment q, MemorySegment k, MemorySegment v, Attention s) {
        if (rounds(s)) {
            rest().attention(o, lse, copy(0, q, queries(s)), keys(1, k, s), keys(2, v, s), s);
        } else {
            rest().attention(o, lse, q, k, v, s);
        }
    }

    /** o is a result in f32, of which only sums are taken: it stays as it is. */
    @Override
    public void attentionGrad(AttentionGrad g, Attention s) {
        if (rounds(s)) {
            MemorySegment q = copy(0, g.q(), queries(s)), k = keys(1, g.k(), s), v = keys(2, g.v(), s);
            MemorySegment dO = copy(3, g.dO(), queries(s));
            rest().attentionGrad(new AttentionGrad(g.dq(), g.dk(), g.dv(), dO, g.o(), g.lse(), q, k, v), s);
        } else {
            rest().attentionGrad(g, s);
        }
    }

    private boolean rounds(Attention s) {
        return compute == Compute.BF16 && s.queryLen() > FEW_ROWS;
    }

    /** x [m, cols of w] as the left operand of x wT. */
    private MemorySegment left(int slot, MemorySegment x, Matrix w, int m) {
        boolean rounds = compute == Compute.BF16 ? m > FEW_ROWS : w instanceof BlockMatrix;
        return rounds ? copy(slot, x, (long) m * w.cols()) : x;
    }

    /** w as the right operand of a product of m rows. */
    private Matrix right(Matrix w, int m) {
        return compute == Compute.BF16 && m > FEW_ROWS ? RoundedMatrix.of(w) : w;
    }

    /** The first n floats of x, rounded. */
    private MemorySegment copy(int slot, MemorySegment x, long n) {
        MemorySegment y = room(slot, n);
        round(y, x, n, compute);
        return y;
    }

    private static long queries(Attention s) {
        return (long) s.batch() * s.queryLen() * s.heads() * s.headDim();
    }

    /** Keys or values, rounded, in the same layout; what is behind the last key of a batch item is not read, nor written. */
    private MemorySegment keys(int slot, MemorySegment k, Attention s) {
        long row = (long) s.kvHeads() * s.headDim(), item = s.capacity() * row;
        MemorySegment y = room(slot, s.batch() * item);
        for (int b = 0; b < s.batch(); b++) {
            round(y.asSlice(4 * b * item), k.asSlice(4 * b * item), s.keyLen() * row, compute);
        }
        return y;
    }

    private static MemorySegment room(int slot, long n) {
        MemorySegment[] mine = COPIES.get();
        if (mine[slot].byteSize() < 4 * n) {
            mine[slot] = Arena.ofAuto().allocate(4 * n, 64);
        }
        return mine[slot];
    }
}
