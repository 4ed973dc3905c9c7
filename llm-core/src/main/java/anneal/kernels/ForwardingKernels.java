package anneal.kernels;

import java.lang.foreign.MemorySegment;

/** A tier that has some kernels of its own and takes the others from another tier; joined products are made of its own products. */
abstract sealed class ForwardingKernels implements Kernels permits BlasKernels, EmittedKernels, RoundedKernels {
    private final Kernels rest;

    ForwardingKernels(Kernels rest) {
        this.rest = rest;
    }

    /** Where the others come from. */
    final Kernels rest() {
        return rest;
    }

    @Override
    public void matmulT(MemorySegment y, MemorySegment x, Matrix w, int m, float alpha, boolean add) {
        rest.matmulT(y, x, w, m, alpha, add);
    }

    @Override
    public void matmul(MemorySegment y, MemorySegment x, Matrix w, int m, float alpha, boolean add) {
        rest.matmul(y, x, w, m, alpha, add);
    }

    @Override
    public void matmulTN(
            MemorySegment y, MemorySegment a, MemorySegment b, int n, int k, int m, float alpha, boolean add) {
        rest.matmulTN(y, a, b, n, k, m, alpha, add);
    }

    @Override
    public void matmulTInt8(MemorySegment y, MemorySegment x, MemorySegment w, int m, int n, int k) {
        rest.matmulTInt8(y, x, w, m, n, k);
    }

    @Override
    public void round(MemorySegment y, MemorySegment x, long n, Compute compute) {
        rest.round(y, x, n, compute);
    }

    @Override
    public void attention(
            MemorySegment o, MemorySegment lse, MemorySegment q, MemorySegment k, MemorySegment v, Attention s) {
        rest.attention(o, lse, q, k, v, s);
    }

    @Override
    public void attentionGrad(AttentionGrad g, Attention s) {
        rest.attentionGrad(g, s);
    }

    @Override
    public void rmsNorm(
            MemorySegment y, MemorySegment rstd, MemorySegment x, MemorySegment w, int rows, int dim, float eps) {
        rest.rmsNorm(y, rstd, x, w, rows, dim, eps);
    }

    @Override
    public void rmsNormGrad(
            MemorySegment dx,
            MemorySegment dw,
            MemorySegment dy,
            MemorySegment x,
            MemorySegment w,
            MemorySegment rstd,
            int rows,
            int dim) {
        rest.rmsNormGrad(dx, dw, dy, x, w, rstd, rows, dim);
    }

    @Override
    public void layerNorm(
            MemorySegment y,
            MemorySegment mean,
            MemorySegment rstd,
            MemorySegment x,
            MemorySegment w,
            MemorySegment b,
            int rows,
            int dim,
            float eps) {
        rest.layerNorm(y, mean, rstd, x, w, b, rows, dim, eps);
    }

    @Override
    public void layerNormGrad(
            MemorySegment dx,
            MemorySegment dw,
            MemorySegment db,
            MemorySegment dy,
            MemorySegment x,
            MemorySegment w,
            MemorySegment mean,
            MemorySegment rstd,
            int rows,
            int dim) {
        rest.layerNormGrad(dx, dw, db, dy, x, w, mean, rstd, rows, dim);
    }

    @Override
    public void rope(
            MemorySegment y,
            MemorySegment x,
            MemorySegment cos,
            MemorySegment sin,
            Rope s,
            boolean inverse,
            boolean add) {
        rest.rope(y, x, cos, sin, s, inverse, add);
    }

    @Override
    public void activation(MemorySegment y, MemorySegment x, long n, Activation f) {
        rest.activation(y, x, n, f);
    }

    @Override
    public void activationGrad(MemorySegment dx, MemorySegment dy, MemorySegment x, long n, Activation f) {
        rest.activationGrad(dx, dy, x, n, f);
    }

    @Override
    public void gated(MemorySegment y, MemorySegment gate, MemorySegment up, long n, Activation f) {
        rest.gated(y, gate, up, n, f);
    }

    @Override
    public void gatedGrad(
            MemorySegment dgate,
            MemorySegment dup,
            MemorySegment dy,
            MemorySegment gate,
            MemorySegment up,
            long n,
            Activation f) {
        rest.gatedGrad(dgate, dup, dy, gate, up, n, f);
    }

    @Override
    public void dropout(MemorySegment y, MemorySegment x, long n, float p, long seed, boolean add) {
        rest.dropout(y, x, n, p, seed, add);
    }

    @Override
    public void widen(MemorySegment y, Matrix w) {
        rest.widen(y, w);
    }

    @Override
    public void embedding(MemorySegment y, Matrix table, int[] ids) {
        rest.embedding(y, table, ids);
    }

    @Override
    public void embeddingGrad(MemorySegment dtable, MemorySegment dy, int[] ids, int dim) {
        rest.embeddingGrad(dtable, dy, ids, dim);
    }

    @Override
    public void softmax(MemorySegment y, MemorySegment x, int rows, int dim) {
        rest.softmax(y, x, rows, dim);
    }

    @Override
    public void softmaxGrad(MemorySegment dx, MemorySegment dy, MemorySegment y, int rows, int dim) {
        rest.softmaxGrad(dx, dy, y, rows, dim);
    }

    @Override
    public void logSoftmax(MemorySegment y, MemorySegment x, int rows, int dim) {
        rest.logSoftmax(y, x, rows, dim);
    }

    @Override
    public void logSoftmaxGrad(MemorySegment dx, MemorySegment dy, MemorySegment y, int rows, int dim) {
        rest.logSoftmaxGrad(dx, dy, y, rows, dim);
    }

    @Override
    public void crossEntropy(MemorySegment nll, MemorySegment logits, int[] targets, int at, CrossEntropy s) {
        rest.crossEntropy(nll, logits, targets, at, s);
    }

    @Override
    public void add(MemorySegment y, MemorySegment a, MemorySegment b, long n) {
        rest.add(y, a, b, n);
    }

    @Override
    public void axpy(MemorySegment y, MemorySegment x, float alpha, long n) {
        rest.axpy(y, x, alpha, n);
    }

    @Override
    public void mul(MemorySegment y, MemorySegment a, MemorySegment b, long n, boolean add) {
        rest.mul(y, a, b, n, add);
    }

    @Override
    public void scale(MemorySegment y, MemorySegment x, float alpha, long n) {
        rest.scale(y, x, alpha, n);
    }

    @Override
    public void scaleRows(MemorySegment y, MemorySegment s, int rows, int dim) {
        rest.scaleRows(y, s, rows, dim);
    }

    @Override
    public void addRow(MemorySegment y, MemorySegment x, MemorySegment b, int rows, int dim) {
        rest.addRow(y, x, b, rows, dim);
    }

    @Override
    public void sumRows(MemorySegment db, MemorySegment dy, int rows, int dim) {
        rest.sumRows(db, dy, rows, dim);
    }

    @Override
    public double sum(MemorySegment x, long n) {
        return rest.sum(x, n);
    }

    @Override
    public double dot(MemorySegment a, MemorySegment b, long n) {
        return rest.dot(a, b, n);
    }

    @Override
    public void adam(MemorySegment p, MemorySegment g, MemorySegment m, MemorySegment v, long n, Adam s) {
        rest.adam(p, g, m, v, n, s);
    }

    @Override
    public void sgd(MemorySegment p, MemorySegment g, MemorySegment m, long n, Sgd s) {
        rest.sgd(p, g, m, n, s);
    }

    @Override
    public void lion(MemorySegment p, MemorySegment g, MemorySegment m, long n, Lion s) {
        rest.lion(p, g, m, n, s);
    }
}
