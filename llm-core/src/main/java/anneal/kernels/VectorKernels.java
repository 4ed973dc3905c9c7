package anneal.kernels;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;

/**
 * The Vector API tier: an index of the classes that hold the loops, one line a kernel.
 *
 * <p>No type of the incubator module stands in a signature here, so the class loads without it.
 */
public final class VectorKernels implements Kernels {
    /** Bits of the widest vector of this machine. */
    static int bits() {
        return FloatVector.SPECIES_PREFERRED.vectorBitSize();
    }

    @Override
    public String name() {
        return "vector";
    }

    @Override
    public void matmulT(MemorySegment y, MemorySegment x, Matrix w, int m, float alpha, boolean add) {
        VectorGemm.matmulT(y, x, w, m, alpha, add);
    }

    @Override
    public void matmul(MemorySegment y, MemorySegment x, Matrix w, int m, float alpha, boolean add) {
        VectorGemm.matmul(y, x, w, m, alpha, add);
    }

    @Override
    public void matmulTPlus(MemorySegment y, MemorySegment x, Matrix w, MemorySegment u, Matrix v, int m, boolean add) {
        VectorGemm.matmulTPlus(y, x, w, u, v, m, add);
    }

    @Override
    public void matmulPlus(MemorySegment y, MemorySegment x, Matrix w, MemorySegment u, Matrix v, int m, boolean add) {
        VectorGemm.matmulPlus(y, x, w, u, v, m, add);
    }

    @Override
    public void matmulTN(
            MemorySegment y, MemorySegment a, MemorySegment b, int n, int k, int m, float alpha, boolean add) {
        VectorGemm.matmulTN(y, a, b, n, k, m, alpha, add);
    }

    @Override
    public void matmulTInt8(MemorySegment y, MemorySegment x, MemorySegment w, int m, int n, int k) {
        VectorInt8.matmulT(y, x, w, m, n, k);
    }

    @Override
    public void round(MemorySegment y, MemorySegment x, long n, Compute compute) {
        VectorRounding.round(y, x, n, compute);
    }

    @Override
    public void attention(
            MemorySegment o, MemorySegment lse, MemorySegment q, MemorySegment k, MemorySegment v, Attention s) {
        VectorAttention.forward(o, lse, q, k, v, s);
    }

    @Override
    public void attentionGrad(AttentionGrad g, Attention s) {
        VectorAttentionGrad.run(g, s);
    }

    @Override
    public void rmsNorm(
            MemorySegment y, MemorySegment rstd, MemorySegment x, MemorySegment w, int rows, int dim, float eps) {
        VectorNorms.rmsNorm(y, rstd, x, w, rows, dim, eps);
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
        VectorNorms.rmsNormGrad(dx, dw, dy, x, w, rstd, rows, dim);
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
        VectorNorms.layerNorm(y, mean, rstd, x, w, b, rows, dim, eps);
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
        VectorNorms.layerNormGrad(dx, dw, db, dy, x, w, mean, rstd, rows, dim);
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
        VectorNorms.rope(y, x, cos, sin, s, inverse, add);
    }

    @Override
    public void activation(MemorySegment y, MemorySegment x, long n, Activation f) {
        VectorActivations.activation(y, x, n, f);
    }

    @Override
    public void activationGrad(MemorySegment dx, MemorySegment dy, MemorySegment x, long n, Activation f) {
        VectorActivations.activationGrad(dx, dy, x, n, f);
    }

    @Override
    public void gated(MemorySegment y, MemorySegment gate, MemorySegment up, long n, Activation f) {
        VectorActivations.gated(y, gate, up, n, f);
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
        VectorActivations.gatedGrad(dgate, dup, dy, gate, up, n, f);
    }

    @Override
    public void dropout(MemorySegment y, MemorySegment x, long n, float p, long seed, boolean add) {
        VectorElementwise.dropout(y, x, n, p, seed, add);
    }

    @Override
    public void widen(MemorySegment y, Matrix w) {
        VectorWiden.all(y, w);
    }

    @Override
    public void embedding(MemorySegment y, Matrix table, int[] ids) {
        VectorLosses.embedding(y, table, ids);
    }

    @Override
    public void embeddingGrad(MemorySegment dtable, MemorySegment dy, int[] ids, int dim) {
        VectorLosses.embeddingGrad(dtable, dy, ids, dim);
    }

    @Override
    public void softmax(MemorySegment y, MemorySegment x, int rows, int dim) {
        VectorLosses.softmax(y, x, rows, dim);
    }

    @Override
    public void softmaxGrad(MemorySegment dx, MemorySegment dy, MemorySegment y, int rows, int dim) {
        VectorLosses.softmaxGrad(dx, dy, y, rows, dim);
    }

    @Override
    public void logSoftmax(MemorySegment y, MemorySegment x, int rows, int dim) {
        VectorLosses.logSoftmax(y, x, rows, dim);
    }

    @Override
    public void logSoftmaxGrad(MemorySegment dx, MemorySegment dy, MemorySegment y, int rows, int dim) {
        VectorLosses.logSoftmaxGrad(dx, dy, y, rows, dim);
    }

    @Override
    public void crossEntropy(MemorySegment nll, MemorySegment logits, int[] targets, int at, CrossEntropy s) {
        VectorLosses.crossEntropy(nll, logits, targets, at, s);
    }

    @Override
    public void add(MemorySegment y, MemorySegment a, MemorySegment b, long n) {
        VectorElementwise.add(y, a, b, n);
    }

    @Override
    public void axpy(MemorySegment y, MemorySegment x, float alpha, long n) {
        VectorElementwise.axpy(y, x, alpha, n);
    }

    @Override
    public void mul(MemorySegment y, MemorySegment a, MemorySegment b, long n, boolean add) {
        VectorElementwise.mul(y, a, b, n, add);
    }

    @Override
    public void scale(MemorySegment y, MemorySegment x, float alpha, long n) {
        VectorElementwise.scale(y, x, alpha, n);
    }

    @Override
    public void scaleRows(MemorySegment y, MemorySegment s, int rows, int dim) {
        VectorElementwise.scaleRows(y, s, rows, dim);
    }

    @Override
    public void addRow(MemorySegment y, MemorySegment x, MemorySegment b, int rows, int dim) {
        VectorElementwise.addRow(y, x, b, rows, dim);
    }

    @Override
    public void sumRows(MemorySegment db, MemorySegment dy, int rows, int dim) {
        VectorElementwise.sumRows(db, dy, rows, dim);
    }

    @Override
    public double sum(MemorySegment x, long n) {
        return VectorElementwise.sum(x, n);
    }

    @Override
    public double dot(MemorySegment a, MemorySegment b, long n) {
        return VectorElementwise.dot(a, b, n);
    }

    @Override
    public void adam(MemorySegment p, MemorySegment g, MemorySegment m, MemorySegment v, long n, Adam s) {
        VectorUpdates.adam(p, g, m, v, n, s);
    }

    @Override
    public void sgd(MemorySegment p, MemorySegment g, MemorySegment m, long n, Sgd s) {
        VectorUpdates.sgd(p, g, m, n, s);
    }

    @Override
    public void lion(MemorySegment p, MemorySegment g, MemorySegment m, long n, Lion s) {
        VectorUpdates.lion(p, g, m, n, s);
    }
}
