package anneal.kernels;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * The arithmetic that everything stands on: forward and backward pairs on buffers of floats.
 *
 * <p>Contract. A buffer is a native segment of 32-bit floats in native byte order, row-major, at least as long as the
 * sizes say, of an arena that any thread may use (not a confined one); the caller ({@code anneal.tensor.Ops}) has checked
 * shapes. Results come first, then what is saved for the backward pass, then inputs, then sizes. A kernel writes nothing
 * outside its results and never throws on a shape. Results
 * are bit-identical for any number of threads: work is cut by problem size. Gradient results ({@code d...}) are added
 * to what is there unless a parameter says otherwise; a gradient that nobody wants is passed as {@code null}.
 *
 * <p>Tiers: {@link ScalarKernels} plain loops, the reference; {@code VectorKernels} the Vector API; {@code EmittedKernels}
 * machine code that Java writes, the rest from the vector tier; {@code BlasKernels} products through ND4J's BLAS, the rest from
 * another tier. {@code RoundedKernels} is any of them in another {@link Compute} precision. {@link KernelLookup} chooses once and says why.
 */
public sealed interface Kernels permits ScalarKernels, VectorKernels, ForwardingKernels {

    /** The tier in use, chosen once from {@code -Danneal.kernels=emitted|vector|blas|scalar} or by what the machine can do. */
    static Kernels get() {
        return get(Compute.F32);
    }

    /** The tier in use, with products and attention of this precision. */
    static Kernels get(Compute compute) {
        return KernelLookup.chosen(compute);
    }

    /** These kernels with products and attention of this precision. A tier that has kernels of its own for it gives those. */
    default Kernels in(Compute compute) {
        return compute == Compute.F32 ? this : new RoundedKernels(this, compute);
    }

    /** "scalar", "vector", "blas", "emitted". */
    String name();

    // ---------------------------------------------------------------- products

    /** y[m, N] = alpha x[m, K] wT (+ y if {@code add}), w [N, K]: the forward of a linear layer. */
    void matmulT(MemorySegment y, MemorySegment x, Matrix w, int m, float alpha, boolean add);

    /** y[m, K] = alpha x[m, N] w (+ y if {@code add}), w [N, K]: the gradient of a linear layer's input. */
    void matmul(MemorySegment y, MemorySegment x, Matrix w, int m, float alpha, boolean add);

    /**
     * y[m, N] = x[m, K] wT + u[m, R] vT (+ y if {@code add}), w [N, K], v [N, R]: a linear layer with an addition of low rank.
     *
     * <p>As one product it reads and writes y once; the thin product alone would be all waiting for memory.
     */
    default void matmulTPlus(
            MemorySegment y, MemorySegment x, Matrix w, MemorySegment u, Matrix v, int m, boolean add) {
        matmulT(y, x, w, m, 1, add);
        matmulT(y, u, v, m, 1, true);
    }

    /** y[m, K] = x[m, N] w + u[m, R] v (+ y if {@code add}), w [N, K], v [R, K]: its input's gradient. */
    default void matmulPlus(MemorySegment y, MemorySegment x, Matrix w, MemorySegment u, Matrix v, int m, boolean add) {
        matmul(y, x, w, m, 1, add);
        matmul(y, u, v, m, 1, true);
    }

    /** y[n, k] = alpha aT b (+ y if {@code add}), a [m, n], b [m, k]: the gradient of a linear layer's weight. */
    void matmulTN(MemorySegment y, MemorySegment a, MemorySegment b, int n, int k, int m, float alpha, boolean add);

    /**
     * y[m, n] = x[m, k] wT for signed bytes x and w [n, k] and 32-bit integers y: exact, since k &lt; 2^17 keeps sums below 2^31.
     */
    void matmulTInt8(MemorySegment y, MemorySegment x, MemorySegment w, int m, int n, int k);

    /**
     * y = x as an operand of this precision, still in floats; y may be x.
     *
     * <p>BF16: the nearest bfloat16, ties to even. INT8: each 32 floats become d q with d = a / 127 and q = x (127 / a) to the
     * nearest whole number, ties to even, where a is the largest magnitude of the 32; they become 0 where a is too small
     * for 127 / a to be finite, and NaN where one of them is not finite.
     *
     * @param n for INT8 a multiple of 32
     */
    void round(MemorySegment y, MemorySegment x, long n, Compute compute);

    // ---------------------------------------------------------------- attention

    /**
     * o[B,Tq,H,K] = softmax(scale q kT + bias, over the keys that the mask of {@code s} allows) v.
     *
     * @param lse saved log-sum-exp of each row of scores [B, H, Tq]; -infinity for a query that sees no key (its o is 0)
     */
    void attention(MemorySegment o, MemorySegment lse, MemorySegment q, MemorySegment k, MemorySegment v, Attention s);

    /** Gradients dq, dk, dv (added; same layouts as q, k, v) from dO, recomputing the scores from q, k and lse. */
    void attentionGrad(AttentionGrad g, Attention s);

    /** The buffers of {@link #attentionGrad}. */
    record AttentionGrad(
            MemorySegment dq,
            MemorySegment dk,
            MemorySegment dv,
            MemorySegment dO,
            MemorySegment o,
            MemorySegment lse,
            MemorySegment q,
            MemorySegment k,
            MemorySegment v) {}

    // ---------------------------------------------------------------- normalisation, position, activation

    /** y = x / sqrt(mean(x^2) + eps) * w by row; saves rstd [rows]. */
    void rmsNorm(MemorySegment y, MemorySegment rstd, MemorySegment x, MemorySegment w, int rows, int dim, float eps);

    /** Gradients of {@link #rmsNorm}; dw may be null. */
    void rmsNormGrad(
            MemorySegment dx,
            MemorySegment dw,
            MemorySegment dy,
            MemorySegment x,
            MemorySegment w,
            MemorySegment rstd,
            int rows,
            int dim);

    /** y = (x - mean) / sqrt(var + eps) * w + b by row; saves mean and rstd [rows]. */
    void layerNorm(
            MemorySegment y,
            MemorySegment mean,
            MemorySegment rstd,
            MemorySegment x,
            MemorySegment w,
            MemorySegment b,
            int rows,
            int dim,
            float eps);

    /** Gradients of {@link #layerNorm}; dw and db may be null. */
    void layerNormGrad(
            MemorySegment dx,
            MemorySegment dw,
            MemorySegment db,
            MemorySegment dy,
            MemorySegment x,
            MemorySegment w,
            MemorySegment mean,
            MemorySegment rstd,
            int rows,
            int dim);

    /**
     * Rotates pairs of the first {@code rotary} channels of each head by the token's angle; the rest is copied.
     *
     * <p>x and y [tokens, heads, headDim]; cos and sin [tokens, rotary / 2]. Pairs are (i, i + rotary/2), or (2i, 2i+1) if
     * {@code interleaved}. {@code inverse} turns the other way: the backward pass. y may be x when {@code add} is false.
     */
    void rope(
            MemorySegment y,
            MemorySegment x,
            MemorySegment cos,
            MemorySegment sin,
            Rope s,
            boolean inverse,
            boolean add);

    /** Sizes of {@link #rope}. */
    record Rope(int tokens, int heads, int headDim, int rotary, boolean interleaved) {}

    /** y = f(x). */
    void activation(MemorySegment y, MemorySegment x, long n, Activation f);

    /** dx += dy f'(x). */
    void activationGrad(MemorySegment dx, MemorySegment dy, MemorySegment x, long n, Activation f);

    /** y = f(gate) * up: SwiGLU when f is SILU, GeGLU when it is GELU. */
    void gated(MemorySegment y, MemorySegment gate, MemorySegment up, long n, Activation f);

    /** Gradients of {@link #gated}; either may be null. */
    void gatedGrad(
            MemorySegment dgate,
            MemorySegment dup,
            MemorySegment dy,
            MemorySegment gate,
            MemorySegment up,
            long n,
            Activation f);

    /**
     * y = x / (1 - p) where the element's hash of (seed, index) keeps it, else 0 (+ y if {@code add}). The same seed gives
     * the same mask, so the backward pass is this kernel again. y may be x when {@code add} is false.
     */
    void dropout(MemorySegment y, MemorySegment x, long n, float p, long seed, boolean add);

    // ---------------------------------------------------------------- tables and losses

    /** y[rows, cols] = the numbers of w as floats. Products do without: they widen a piece at a time. */
    default void widen(MemorySegment y, Matrix w) {
        int dim = w.cols();
        Chunks.rows(w.rows(), dim, (from, to) -> {
            float[] row = new float[dim];
            for (int i = from; i < to; i++) {
                w.widen(i, 0, dim, row, 0);
                MemorySegment.copy(row, 0, y, ValueLayout.JAVA_FLOAT_UNALIGNED, 4L * i * dim, dim);
            }
        });
    }

    /** y[i] = row ids[i] of the table, by row. */
    void embedding(MemorySegment y, Matrix table, int[] ids);

    /** dtable[ids[i]] += dy[i], in the order of i whatever the number of threads. */
    void embeddingGrad(MemorySegment dtable, MemorySegment dy, int[] ids, int dim);

    /** y = softmax of each row of x [rows, dim]; y may be x. */
    void softmax(MemorySegment y, MemorySegment x, int rows, int dim);

    /** dx += y (dy - sum(dy y)) by row: the gradient of softmax from its own result. */
    void softmaxGrad(MemorySegment dx, MemorySegment dy, MemorySegment y, int rows, int dim);

    /** y = x - logsumexp(x) by row; y may be x. */
    void logSoftmax(MemorySegment y, MemorySegment x, int rows, int dim);

    /** dx += dy - exp(y) sum(dy) by row. */
    void logSoftmaxGrad(MemorySegment dx, MemorySegment dy, MemorySegment y, int rows, int dim);

    /**
     * Negative log-likelihood of each row's target, and its gradient in place of the logits.
     *
     * <p>nll_i = (1 - e) (lse - x_t) + e (lse - mean(x)) + z lse^2, with e the label smoothing and z the z-loss weight. With
     * {@code grad}, logits become d nll_i / d logits: (1 + 2 z lse) softmax(x) - (1 - e) onehot(t) - e / dim. A
     * target of -1 gives 0 and a zero row.
     *
     * @param targets target of each row, read from {@code targets[at + i]}
     */
    void crossEntropy(MemorySegment nll, MemorySegment logits, int[] targets, int at, CrossEntropy s);

    /** Sizes and options of {@link #crossEntropy}. */
    record CrossEntropy(int rows, int dim, float smoothing, float zLoss, boolean grad) {}

    // ---------------------------------------------------------------- element-wise and reductions

    /** y = a + b; y may be a or b. */
    void add(MemorySegment y, MemorySegment a, MemorySegment b, long n);

    /** y += alpha x. */
    void axpy(MemorySegment y, MemorySegment x, float alpha, long n);

    /** y = a * b (+ y if {@code add}). */
    void mul(MemorySegment y, MemorySegment a, MemorySegment b, long n, boolean add);

    /** y = alpha x; y may be x. */
    void scale(MemorySegment y, MemorySegment x, float alpha, long n);

    /** y[i] *= s[i] for each row i of [rows, dim]. */
    void scaleRows(MemorySegment y, MemorySegment s, int rows, int dim);

    /** y = x + b for each row of [rows, dim]; y may be x. */
    void addRow(MemorySegment y, MemorySegment x, MemorySegment b, int rows, int dim);

    /** db += sum over rows of dy [rows, dim]. */
    void sumRows(MemorySegment db, MemorySegment dy, int rows, int dim);

    /** Sum of x. */
    double sum(MemorySegment x, long n);

    /** Sum of a * b: with a = b, a squared norm. */
    double dot(MemorySegment a, MemorySegment b, long n);

    // ---------------------------------------------------------------- optimiser

    /** One AdamW update of n parameters, in place; see {@link Adam}. */
    void adam(MemorySegment p, MemorySegment g, MemorySegment m, MemorySegment v, long n, Adam s);

    /**
     * The numbers of an Adam step: g' = gradScale g (+ l2 p), m = b1 m + (1 - b1) g', v = b2 v + (1 - b2) g'^2,
     * p = p (1 - decay) - rate m / (sqrt(v) / rootCorrection2 + eps).
     *
     * @param decay decoupled weight decay already multiplied by the learning rate
     * @param rate learning rate divided by 1 - b1^t
     * @param rootCorrection2 sqrt(1 - b2^t)
     */
    record Adam(
            float gradScale, float l2, float b1, float b2, float eps, float decay, float rate, float rootCorrection2) {}

    /** One step of gradient descent with momentum for n parameters, in place; m is null without momentum; see {@link Sgd}. */
    void sgd(MemorySegment p, MemorySegment g, MemorySegment m, long n, Sgd s);

    /**
     * The numbers of a descent step: g' = gradScale g + l2 p, m = momentum m + fresh g', p = p - rate (g' + momentum m) if
     * {@code nesterov}, else p - rate m; without momentum p - rate g'.
     *
     * @param fresh weight of the new gradient in m: 1 - dampening
     */
    record Sgd(float gradScale, float l2, float momentum, float fresh, boolean nesterov, float rate) {}

    /** One Lion update of n parameters, in place; see {@link Lion}. */
    void lion(MemorySegment p, MemorySegment g, MemorySegment m, long n, Lion s);

    /**
     * The numbers of a Lion step: g' = gradScale g, p = p (1 - decay) - rate sign(b1 m + (1 - b1) g'), then
     * m = b2 m + (1 - b2) g'. The sign of 0 is 0.
     *
     * @param decay weight decay already multiplied by the learning rate
     */
    record Lion(float gradScale, float b1, float b2, float decay, float rate) {}
}
