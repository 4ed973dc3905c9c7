package anneal.tensor;

import anneal.kernels.Activation;
import anneal.kernels.Attention;
import anneal.kernels.F32Matrix;
import anneal.kernels.Kernels;
import anneal.kernels.Matrix;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;

/**
 * What can be computed with tensors, each forward with its backward beside it.
 *
 * <p>Every method reads the same way: check shapes, compute the result with a kernel, record how its gradient flows. Shapes in
 * the comments use B batch, T time, D model, H heads, G kv-heads, K head size, F hidden, V vocabulary. No broadcasting but of a
 * trailing vector, where the method says so. A method whose name ends in {@code InPlace} changes its first argument.
 */
public final class Ops {
    private static final Kernels K = Kernels.get();

    private Ops() {}

    // ---------------------------------------------------------------- products

    /**
     * y = x wT: a linear layer without bias.
     *
     * <p>Shapes: x [.., I], w [O, I] -> [.., O]. Gradient: dx = dy w, dw = dyT x.
     */
    public static Tensor matmulT(Tensor x, Tensor w) {
        return matmulT(products(), x, matrix(w, "matmulT"), w);
    }

    /** y = x wT for a matrix that is not trained, in whatever form it is stored; see {@link #matmulT(Tensor, Tensor)}. */
    public static Tensor matmulT(Tensor x, Matrix w) {
        return matmulT(products(), x, w, null);
    }

    /** What products and attention are computed with, in the precision of the tape; the backward pass must have the same. */
    private static Kernels products() {
        return Kernels.get(Tape.compute());
    }

    private static Tensor matmulT(Kernels k, Tensor x, Matrix w, Tensor param) {
        requireFit("matmulT", x, w, w.cols());
        Tensor y = Tensor.empty(x.shape().withLast(w.rows()));
        k.matmulT(y.buf(), x.buf(), w, x.rowCount(), 1f, false);
        return Tape.record(y, () -> matmulTGrad(k, y, x, w, param, 1f), x, param);
    }

    /**
     * y += alpha x wT, in place: the second half of a low-rank update, without a tensor of its own.
     *
     * <p>Shapes: y [.., O], x [.., I], w [O, I].
     */
    public static Tensor addMatmulTInPlace(Tensor y, Tensor x, Tensor w, float alpha) {
        Matrix m = matrix(w, "addMatmulT");
        requireFit("addMatmulT", x, m, m.cols());
        Shape.require(
                y.rowSize() == m.rows() && y.rowCount() == x.rowCount(), "addMatmulT", y, w, "y must be x wT's shape");
        Tape.requireInPlace("addMatmulT", y);
        Kernels k = products();
        k.matmulT(y.buf(), x.buf(), m, x.rowCount(), alpha, true);
        return Tape.recordInPlace(y, () -> matmulTGrad(k, y, x, m, w, alpha), x, w);
    }

    /**
     * y = x wT + scaling z aT bT for a frozen w: a linear layer with an addition of low rank, as one op, so that y and dx pass
     * through memory once.
     *
     * <pre>
     * u = scaling z aT         y = x wT + u bT
     * du = scaling dy b        dx = dy w      dz = du a      da = duT z      db = dyT u
     * </pre>
     *
     * <p>Shapes: x and z [.., I], w [O, I], a [R, I], b [O, R] -> [.., O].
     *
     * @param z x, or x after dropout; if it is x itself, dx + dz is one product
     */
    public static Tensor matmulTLowRank(Tensor x, Matrix w, Tensor z, Tensor a, Tensor b, float scaling) {
        requireFit("matmulTLowRank", x, w, w.cols());
        requireEqual("matmulTLowRank", x, z);
        Matrix aMatrix = matrix(a, "matmulTLowRank"), bMatrix = matrix(b, "matmulTLowRank");
        Shape.require(
                aMatrix.cols() == w.cols() && bMatrix.cols() == aMatrix.rows() && bMatrix.rows() == w.rows(),
                "matmulTLowRank",
                a,
                b,
                "they must be [rank, " + w.cols() + "] and [" + w.rows() + ", rank]");
        Kernels k = products();
        int m = x.rowCount(), rank = aMatrix.rows();
        Tensor u = Tensor.empty(x.shape().withLast(rank)),
                y = Tensor.empty(x.shape().withLast(w.rows()));
        k.matmulT(u.buf(), z.buf(), aMatrix, m, scaling, false);
        k.matmulTPlus(y.buf(), x.buf(), w, u.buf(), bMatrix, m, false);
        return Tape.record(
                y,
                () -> {
                    k.matmul(u.gradSlot(), y.gradBuf(), bMatrix, m, scaling, false);
                    if (b.tracked()) {
                        boolean add = b.hasGrad();
                        k.matmulTN(b.gradSlot(), y.gradBuf(), u.buf(), w.rows(), rank, m, 1f, add);
                    }
                    if (z == x) {
                        lowRankGrad(k, y, x, w, u, a);
                    } else {
                        matmulTGrad(k, y, x, w, null, 1f);
                        matmulTGrad(k, u, z, aMatrix, a, 1f);
                    }
                    u.releaseGrad();
                },
                x,
                z,
                a,
                b);
    }

    /** dx = dy w + du a as one product, da = duT x. */
    private static void lowRankGrad(Kernels k, Tensor y, Tensor x, Matrix w, Tensor u, Tensor a) {
        int m = x.rowCount();
        Matrix aMatrix = matrix(a, "matmulTLowRank");
        if (a.tracked()) {
            boolean add = a.hasGrad();
            k.matmulTN(a.gradSlot(), u.gradBuf(), x.buf(), aMatrix.rows(), w.cols(), m, 1f, add);
        }
        if (x.tracked()) {
            boolean add = x.hasGrad();
            k.matmulPlus(x.gradSlot(), y.gradBuf(), w, u.gradBuf(), aMatrix, m, add);
        }
    }

    private static void matmulTGrad(Kernels k, Tensor y, Tensor x, Matrix w, Tensor param, float alpha) {
        int m = x.rowCount();
        if (x.tracked()) {
            boolean add = x.hasGrad();
            k.matmul(x.gradSlot(), y.gradBuf(), w, m, alpha, add);
        }
        if (param != null && param.tracked()) {
            boolean add = param.hasGrad();
            k.matmulTN(param.gradSlot(), y.gradBuf(), x.buf(), w.rows(), w.cols(), m, alpha, add);
        }
    }

    /**
     * y = x w: a linear layer whose weight is stored [in, out], as GPT-2's.
     *
     * <p>Shapes: x [.., I], w [I, O] -> [.., O]. Gradient: dx = dy wT, dw = xT dy.
     */
    public static Tensor matmul(Tensor x, Tensor w) {
        return matmul(x, matrix(w, "matmul"), w);
    }

    /** y = x w for a matrix [in, out] that is not trained. */
    public static Tensor matmul(Tensor x, Matrix w) {
        return matmul(x, w, null);
    }

    private static Tensor matmul(Tensor x, Matrix w, Tensor param) {
        requireFit("matmul", x, w, w.rows());
        Kernels k = products();
        int m = x.rowCount();
        Tensor y = Tensor.empty(x.shape().withLast(w.cols()));
        k.matmul(y.buf(), x.buf(), w, m, 1f, false);
        return Tape.record(
                y,
                () -> {
                    if (x.tracked()) {
                        boolean add = x.hasGrad();
                        k.matmulT(x.gradSlot(), y.gradBuf(), w, m, 1f, add);
                    }
                    if (param != null && param.tracked()) {
                        boolean add = param.hasGrad();
                        k.matmulTN(param.gradSlot(), x.buf(), y.gradBuf(), w.rows(), w.cols(), m, 1f, add);
                    }
                },
                x,
                param);
    }

    private static Matrix matrix(Tensor w, String op) {
        Shape.require(w.shape().rank() == 2, op, w, "the weight must have two dimensions");
        return new F32Matrix(w.buf(), w.dim(0), w.dim(1));
    }

    private static void requireFit(String op, Tensor x, Matrix w, int inner) {
        if (x.rowSize() != inner) {
            throw new ShapeException(op + ": x " + x.shape() + " does not fit weight [" + w.rows() + ", " + w.cols()
                    + "]: x's last dim " + x.rowSize() + " must equal " + inner);
        }
    }

    /** y += b for each row, in place. Shapes: y [.., D], b [D]. Gradient: db = sum of dy over rows. */
    public static Tensor addBiasInPlace(Tensor y, Tensor b) {
        Shape.require(b.size() == y.rowSize(), "addBias", y, b, "the bias must have the last dim of y");
        Tape.requireInPlace("addBias", y);
        K.addRow(y.buf(), y.buf(), b.buf(), y.rowCount(), y.rowSize());
        return Tape.recordInPlace(
                y,
                () -> {
                    if (b.tracked()) {
                        K.sumRows(b.gradBuf(), y.gradBuf(), y.rowCount(), y.rowSize());
                    }
                },
                b);
    }

    // ---------------------------------------------------------------- attention and position

    /**
     * o = softmax(scale q kT + bias, where the mask allows) v, tiled: never holds the scores. Dao, arXiv:2307.08691.
     *
     * <p>Shapes: q [B, Tq, H K], k and v [B, capacity, G K] -> [B, Tq, H K]. Saves o and one number per row and head.
     */
    public static Tensor attention(Tensor q, Tensor k, Tensor v, Attention s) {
        long head = s.headDim();
        requireSize("attention", q, s.batch() * head * s.queryLen() * s.heads(), "q [B, Tq, H K]", s);
        requireSize("attention", k, s.batch() * head * s.capacity() * s.kvHeads(), "k [B, capacity, G K]", s);
        Shape.require(v.size() == k.size(), "attention", k, v, "keys and values must be equally many");
        Tensor o = Tensor.like(q);
        Tensor lse = Tensor.empty(s.batch(), s.heads(), s.queryLen());
        Kernels kernels = products();
        if (q.size() > 0) {
            kernels.attention(o.buf(), lse.buf(), q.buf(), k.buf(), v.buf(), s);
        }
        return Tape.record(o, () -> attentionGrad(kernels, o, lse, q, k, v, s), q, k, v, o);
    }

    private static void attentionGrad(
            Kernels kernels, Tensor o, Tensor lse, Tensor q, Tensor k, Tensor v, Attention s) {
        if (q.size() == 0) {
            return;
        }
        // The kernel makes all three at once; a part that nobody wants goes to memory that is given back.
        Tensor dq = gradOrScratch(q), dk = gradOrScratch(k), dv = gradOrScratch(v);
        kernels.attentionGrad(
                new Kernels.AttentionGrad(
                        dq.buf(), dk.buf(), dv.buf(), o.gradBuf(), o.buf(), lse.buf(), q.buf(), k.buf(), v.buf()),
                s);
        dq.release();
        dk.release();
        dv.release();
    }

    /** The gradient of x as a tensor that {@link Tensor#release} leaves alone, or scratch memory if nobody wants it. */
    private static Tensor gradOrScratch(Tensor x) {
        return x.tracked() ? x.grad() : Tensor.zeros(x.shape().dims());
    }

    private static void requireSize(String op, Tensor x, long size, String what, Object s) {
        Shape.require(x.size() == size, op, x, () -> "must be " + what + " of " + s);
    }

    /**
     * Rotary position embedding, in place: turns pairs of channels by angles that grow with the position. Su et al.,
     * arXiv:2104.09864.
     *
     * <p>Shapes: x [.., T, H K], cos and sin [tokens, rotary / 2]. Gradient: dy turned back.
     */
    public static Tensor ropeInPlace(Tensor x, Tensor cos, Tensor sin, Kernels.Rope s) {
        requireSize("rope", x, (long) s.tokens() * s.heads() * s.headDim(), "x [tokens, H K]", s);
        requireSize("rope", cos, (long) s.tokens() * (s.rotary() / 2), "cos [tokens, rotary / 2]", s);
        Shape.require(sin.size() == cos.size(), "rope", cos, sin, "cos and sin must be equally many");
        Shape.require(
                s.rotary() % 2 == 0 && s.rotary() <= s.headDim(), "rope", x, () -> "rotary must be even and fit " + s);
        Tape.requireInPlace("rope", x);
        K.rope(x.buf(), x.buf(), cos.buf(), sin.buf(), s, false, false);
        return Tape.recordInPlace(x, () -> K.rope(x.gradBuf(), x.gradBuf(), cos.buf(), sin.buf(), s, true, false));
    }

    // ---------------------------------------------------------------- normalisation

    /**
     * y = x / sqrt(mean(x^2) + eps) * w over the last dim. Zhang and Sennrich, arXiv:1910.07467.
     *
     * <p>Shapes: x [.., D], w [D] -> [.., D]. Saves 1/rms per row.
     */
    public static Tensor rmsNorm(Tensor x, Tensor w, float eps) {
        Shape.require(x.rowSize() == w.size(), "rmsNorm", x, w, "last dim of x must equal w");
        Tensor y = Tensor.like(x), rstd = Tensor.rows(x);
        K.rmsNorm(y.buf(), rstd.buf(), x.buf(), w.buf(), x.rowCount(), x.rowSize(), eps);
        return Tape.record(
                y,
                () -> K.rmsNormGrad(
                        slotOrNull(x),
                        slotOrNull(w),
                        y.gradBuf(),
                        x.buf(),
                        w.buf(),
                        rstd.buf(),
                        x.rowCount(),
                        x.rowSize()),
                x,
                w);
    }

    /**
     * y = (x - mean) / sqrt(var + eps) * w + b over the last dim. Ba et al., arXiv:1607.06450.
     *
     * <p>Shapes: x [.., D], w and b [D] -> [.., D]. Saves mean and 1/std per row.
     */
    public static Tensor layerNorm(Tensor x, Tensor w, Tensor b, float eps) {
        Shape.require(x.rowSize() == w.size(), "layerNorm", x, w, "last dim of x must equal w");
        Shape.require(x.rowSize() == b.size(), "layerNorm", x, b, "last dim of x must equal b");
        Tensor y = Tensor.like(x), mean = Tensor.rows(x), rstd = Tensor.rows(x);
        K.layerNorm(y.buf(), mean.buf(), rstd.buf(), x.buf(), w.buf(), b.buf(), x.rowCount(), x.rowSize(), eps);
        return Tape.record(
                y,
                () -> K.layerNormGrad(
                        slotOrNull(x),
                        slotOrNull(w),
                        slotOrNull(b),
                        y.gradBuf(),
                        x.buf(),
                        w.buf(),
                        mean.buf(),
                        rstd.buf(),
                        x.rowCount(),
                        x.rowSize()),
                x,
                w,
                b);
    }

    private static MemorySegment slotOrNull(Tensor x) {
        return x.tracked() ? x.gradBuf() : null;
    }

    // ---------------------------------------------------------------- activations

    /** y = f(x), element-wise. Gradient: dx = dy f'(x). */
    public static Tensor activation(Tensor x, Activation f) {
        Tensor y = Tensor.like(x);
        K.activation(y.buf(), x.buf(), x.size(), f);
        return Tape.record(y, () -> K.activationGrad(x.gradBuf(), y.gradBuf(), x.buf(), x.size(), f), x);
    }

    /**
     * y = f(gate) * up, element-wise: SwiGLU with SILU, GeGLU with GELU. Shazeer, arXiv:2002.05202.
     *
     * <p>Shapes: gate and up equal -> the same.
     */
    public static Tensor gated(Tensor gate, Tensor up, Activation f) {
        requireEqual("gated", gate, up);
        Tensor y = Tensor.like(gate);
        K.gated(y.buf(), gate.buf(), up.buf(), gate.size(), f);
        return Tape.record(
                y,
                () -> K.gatedGrad(slotOrNull(gate), slotOrNull(up), y.gradBuf(), gate.buf(), up.buf(), gate.size(), f),
                gate,
                up);
    }

    /**
     * While training, y = x / (1 - p) with probability 1 - p, else 0; otherwise x itself. Srivastava et al., JMLR 2014.
     *
     * <p>The mask is a function of a seed drawn from {@link Tape#nextSeed} and is made again in the backward pass.
     */
    public static Tensor dropout(Tensor x, float p) {
        if (!(p >= 0 && p < 1)) {
            throw new IllegalArgumentException("dropout: probability " + p + " must be in [0, 1)");
        }
        if (p == 0 || !Tape.training()) {
            return x;
        }
        long seed = Tape.nextSeed();
        Tensor y = Tensor.like(x);
        K.dropout(y.buf(), x.buf(), x.size(), p, seed, false);
        return Tape.record(y, () -> K.dropout(x.gradBuf(), y.gradBuf(), x.size(), p, seed, true), x);
    }

    // ---------------------------------------------------------------- element-wise

    /** y = a + b. Shapes: equal. */
    public static Tensor add(Tensor a, Tensor b) {
        requireEqual("add", a, b);
        Tensor y = Tensor.like(a);
        K.add(y.buf(), a.buf(), b.buf(), y.size());
        return Tape.record(
                y,
                () -> {
                    addGrad(a, y.gradBuf(), 1f);
                    addGrad(b, y.gradBuf(), 1f);
                },
                a,
                b);
    }

    /** y += x, in place: closes a residual branch in the branch's own memory. Shapes: equal. */
    public static Tensor addInPlace(Tensor y, Tensor x) {
        requireEqual("add", y, x);
        Tape.requireInPlace("add", y);
        K.add(y.buf(), y.buf(), x.buf(), y.size());
        return Tape.recordInPlace(y, () -> addGrad(x, y.gradBuf(), 1f), x);
    }

    /** y = a - b. Shapes: equal. */
    public static Tensor sub(Tensor a, Tensor b) {
        requireEqual("sub", a, b);
        Tensor y = Tensor.like(a);
        y.set(a);
        K.axpy(y.buf(), b.buf(), -1f, y.size());
        return Tape.record(
                y,
                () -> {
                    addGrad(a, y.gradBuf(), 1f);
                    addGrad(b, y.gradBuf(), -1f);
                },
                a,
                b);
    }

    /** y = a * b, element-wise. Shapes: equal. */
    public static Tensor mul(Tensor a, Tensor b) {
        requireEqual("mul", a, b);
        Tensor y = Tensor.like(a);
        K.mul(y.buf(), a.buf(), b.buf(), y.size(), false);
        return Tape.record(
                y,
                () -> {
                    mulGrad(a, y, b);
                    mulGrad(b, y, a);
                },
                a,
                b);
    }

    private static void mulGrad(Tensor x, Tensor y, Tensor other) {
        if (x.tracked()) {
            boolean add = x.hasGrad();
            K.mul(x.gradSlot(), y.gradBuf(), other.buf(), y.size(), add);
        }
    }

    /** y = alpha x. */
    public static Tensor scale(Tensor x, float alpha) {
        Tensor y = Tensor.like(x);
        K.scale(y.buf(), x.buf(), alpha, x.size());
        return Tape.record(y, () -> addGrad(x, y.gradBuf(), alpha), x);
    }

    /** x.grad += alpha d, if x wants a gradient. */
    static void addGrad(Tensor x, MemorySegment d, float alpha) {
        if (!x.tracked()) {
            return;
        }
        if (x.hasGrad()) {
            K.axpy(x.gradBuf(), d, alpha, x.size());
        } else {
            K.scale(x.gradSlot(), d, alpha, x.size());
        }
    }

    private static void requireEqual(String op, Tensor a, Tensor b) {
        Shape.require(a.shape().equals(b.shape()), op, a, b, "shapes must be equal");
    }

    // ---------------------------------------------------------------- reductions

    /** Sum of all elements -> [1], added up in double precision. */
    public static Tensor sum(Tensor x) {
        Tensor y = Tensor.of(new float[] {(float) K.sum(x.buf(), x.size())}, 1);
        return Tape.record(y, () -> addConstant(x, y.grad().item()), x);
    }

    private static void addConstant(Tensor x, float value) {
        Tensor row = constants(x.rowSize(), value);
        K.addRow(x.gradBuf(), x.gradBuf(), row.buf(), x.rowCount(), x.rowSize());
        row.release();
    }

    private static Tensor constants(int n, float value) {
        float[] values = new float[n];
        Arrays.fill(values, value);
        return Tensor.of(values, 1, n);
    }

    /** Sum over the last dim: [.., D] -> [..]; of a vector [1]. In f32: it is no product but by how it is computed. */
    public static Tensor sumLast(Tensor x) {
        int rank = x.shape().rank();
        int[] dims = rank == 1 ? new int[] {1} : Arrays.copyOf(x.shape().dims(), rank - 1);
        return matmulT(K, x, matrix(constants(x.rowSize(), 1f), "sumLast"), null)
                .view(dims);
    }

    // ---------------------------------------------------------------- rows and columns

    /** Rows of a table: y[i] = w[ids[i]]. Shapes: w [V, D] -> [ids, D]. Gradient: dw[ids[i]] += dy[i]. */
    public static Tensor embedding(Tensor w, int[] ids) {
        return embedding("embedding", matrix(w, "embedding"), w, ids);
    }

    /** Rows of a table that is not trained, widened from whatever form it is stored in. */
    public static Tensor embedding(Matrix w, int[] ids) {
        return embedding("embedding", w, null, ids);
    }

    private static Tensor embedding(String op, Matrix w, Tensor param, int[] ids) {
        for (int id : ids) {
            if (id < 0 || id >= w.rows()) {
                throw new IllegalArgumentException(
                        op + ": id " + id + " is outside the table [" + w.rows() + ", " + w.cols() + "]");
            }
        }
        Tensor y = Tensor.empty(ids.length, w.cols());
        K.embedding(y.buf(), w, ids);
        return Tape.record(y, () -> K.embeddingGrad(param.gradBuf(), y.gradBuf(), ids, w.cols()), param);
    }

    /** Columns from .. from+count of each row, copied: takes packed projections apart. Shapes: [.., D] -> [.., count]. */
    public static Tensor columns(Tensor x, int from, int count) {
        Shape.require(
                from >= 0 && count >= 0 && (long) from + count <= x.rowSize(),
                "columns",
                x,
                () -> count + " columns from " + from + " must lie inside the last dim");
        Tensor y = Tensor.empty(x.shape().withLast(count));
        copyRows(y.buf(), count, 0, x.buf(), x.rowSize(), from, x.rowCount(), count);
        return Tape.record(
                y, () -> addRows(x.gradBuf(), x.rowSize(), from, y.gradBuf(), count, 0, x.rowCount(), count), x);
    }

    /** Rows[i] of x [N, D] -> [rows, D]; a row may be taken more than once. */
    public static Tensor rows(Tensor x, int[] rows) {
        return embedding("rows", new F32Matrix(x.buf(), x.rowCount(), x.rowSize()), x, rows);
    }

    /** The rows of a in front of each sequence of x. Shapes: a [P, D], x [B, T, D] -> [B, P + T, D]. Gradient: da sums over B. */
    public static Tensor prepend(Tensor a, Tensor x) {
        Shape.require(a.shape().rank() == 2 && x.shape().rank() == 3, "prepend", a, x, "ranks must be 2 and 3");
        Shape.require(a.rowSize() == x.rowSize(), "prepend", a, x, "last dims must be equal");
        int batch = x.dim(0), front = a.dim(0) * a.rowSize(), back = x.dim(1) * x.rowSize();
        Tensor y = Tensor.empty(batch, a.dim(0) + x.dim(1), x.rowSize());
        copyRows(y.buf(), front + back, 0, a.buf(), 0, 0, batch, front);
        copyRows(y.buf(), front + back, front, x.buf(), back, 0, batch, back);
        return Tape.record(
                y,
                () -> {
                    if (a.tracked()) {
                        addRows(a.gradBuf(), 0, 0, y.gradBuf(), front + back, 0, batch, front);
                    }
                    if (x.tracked()) {
                        addRows(x.gradBuf(), back, 0, y.gradBuf(), front + back, front, batch, back);
                    }
                },
                a,
                x);
    }

    static void copyRows(MemorySegment y, int yRow, int yAt, MemorySegment x, int xRow, int xAt, int rows, int count) {
        for (int i = 0; i < rows; i++) {
            MemorySegment.copy(x, 4L * ((long) i * xRow + xAt), y, 4L * ((long) i * yRow + yAt), 4L * count);
        }
    }

    static void addRows(MemorySegment y, int yRow, int yAt, MemorySegment x, int xRow, int xAt, int rows, int count) {
        for (int i = 0; i < rows; i++) {
            MemorySegment to = y.asSlice(4L * ((long) i * yRow + yAt), 4L * count);
            K.axpy(to, x.asSlice(4L * ((long) i * xRow + xAt), 4L * count), 1f, count);
        }
    }

    // ---------------------------------------------------------------- distributions

    /** Softmax over the last dim. */
    public static Tensor softmax(Tensor x) {
        Tensor y = Tensor.like(x);
        K.softmax(y.buf(), x.buf(), x.rowCount(), x.rowSize());
        return Tape.record(y, () -> K.softmaxGrad(x.gradBuf(), y.gradBuf(), y.buf(), x.rowCount(), x.rowSize()), x, y);
    }

    /** x - logsumexp(x) over the last dim. */
    public static Tensor logSoftmax(Tensor x) {
        Tensor y = Tensor.like(x);
        K.logSoftmax(y.buf(), x.buf(), x.rowCount(), x.rowSize());
        return Tape.record(
                y, () -> K.logSoftmaxGrad(x.gradBuf(), y.gradBuf(), y.buf(), x.rowCount(), x.rowSize()), x, y);
    }

    /**
     * Negative log-likelihood of each target under softmax(hidden wT), without holding the logits of all rows: see
     * {@link ProjectedNll}.
     *
     * <p>Shapes: hidden [.., D], w [V, D], targets one per row, -1 = not trained -> nll, one per row, 0 where not trained.
     */
    public static Tensor nll(Tensor hidden, Tensor w, int[] targets, NllOptions options) {
        return ProjectedNll.of(hidden, matrix(w, "nll"), w, targets, options);
    }

    /** The same for a projection that is not trained. */
    public static Tensor nll(Tensor hidden, Matrix w, int[] targets, NllOptions options) {
        return ProjectedNll.of(hidden, w, null, targets, options);
    }

    /** Negative log-likelihood from logits that are already there. Shapes: logits [.., V] -> one per row. */
    public static Tensor nll(Tensor logits, int[] targets, NllOptions options) {
        return ProjectedNll.ofLogits(logits, targets, options);
    }
}
