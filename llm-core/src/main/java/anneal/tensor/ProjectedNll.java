package anneal.tensor;

import anneal.kernels.Kernels;
import anneal.kernels.Matrix;
import java.lang.foreign.MemorySegment;

/**
 * Output projection, softmax and negative log-likelihood in one, over a few rows at a time.
 *
 * <p>A vocabulary of 50,000 makes the logits of a batch the largest tensor of a training step by far. Here only one chunk of
 * rows has logits at any time, and only rows with a target have any. The loss of a row is multiplied by one number g in the
 * backward pass, so d nll / d hidden can be computed while the logits are there and scaled by g later:
 * <pre>
 * forward:  logits = h wT;  nll = lse(logits) - logits[t];  dh = (softmax(logits) - onehot(t)) w
 * backward: hidden.grad += g dh;   w.grad += (g (softmax(logits) - onehot(t)))T h, from logits computed again
 * </pre>
 */
final class ProjectedNll {
    private static final Kernels K = Kernels.get();
    /** Floats of one chunk of logits. */
    private static final int CHUNK = 8 << 20;

    private ProjectedNll() {}

    static Tensor of(Tensor hidden, Matrix w, Tensor param, int[] targets, NllOptions options) {
        requireTargets(hidden, targets, w.rows());
        if (hidden.rowSize() != w.cols()) {
            throw new ShapeException("nll: hidden " + hidden.shape() + " does not fit projection [" + w.rows() + ", "
                    + w.cols() + "]: last dim " + hidden.rowSize() + " must equal " + w.cols());
        }
        boolean wantDh = Tape.recording() && hidden.tracked();
        Rows rows = Rows.withTarget(targets);
        int dim = hidden.rowSize(), n = rows.index.length;
        Tensor h = gather(hidden, rows.index), nll = Tensor.zeros(targets.length);
        Tensor dh = wantDh ? Tensor.empty(Math.max(1, n), dim) : null;
        Chunks chunks = new Chunks(h, w, rows.target, options);
        chunks.forEach(wantDh, (from, count, logits, losses) -> {
            for (int i = 0; i < count; i++) {
                nll.buf().setAtIndex(FLOAT, rows.index[from + i], losses.getAtIndex(FLOAT, i));
            }
            if (wantDh) {
                K.matmul(slice(dh, from, count), logits, w, count, 1f, false);
            }
        });
        return Tape.record(
                nll,
                () -> {
                    Tensor g = gather(nll.grad().view(targets.length, 1), rows.index);
                    if (hidden.tracked()) {
                        K.scaleRows(dh.buf(), g.buf(), n, dim);
                        K.embeddingGrad(hidden.gradBuf(), dh.buf(), rows.index, dim);
                    }
                    if (param != null && param.tracked()) {
                        chunks.forEach(true, (from, count, logits, losses) -> {
                            K.scaleRows(logits, slice(g, from, count), count, w.rows());
                            boolean add = param.hasGrad();
                            K.matmulTN(param.gradSlot(), logits, slice(h, from, count), w.rows(), dim, count, 1f, add);
                        });
                    }
                },
                hidden,
                param);
    }

    static Tensor ofLogits(Tensor logits, int[] targets, NllOptions options) {
        requireTargets(logits, targets, logits.rowSize());
        int rows = logits.rowCount(), dim = logits.rowSize();
        Tensor nll = Tensor.empty(Math.max(1, rows)), d = Tensor.like(logits);
        d.set(logits);
        K.crossEntropy(
                nll.buf(),
                d.buf(),
                targets,
                0,
                new Kernels.CrossEntropy(rows, dim, options.smoothing(), options.zLoss(), true));
        return Tape.record(
                nll,
                () -> {
                    K.scaleRows(d.buf(), nll.gradBuf(), rows, dim);
                    K.axpy(logits.gradBuf(), d.buf(), 1f, d.size());
                },
                logits);
    }

    private static final java.lang.foreign.ValueLayout.OfFloat FLOAT = java.lang.foreign.ValueLayout.JAVA_FLOAT;

    private static void requireTargets(Tensor x, int[] targets, int classes) {
        Shape.require(x.rowCount() == targets.length, "nll", x, "needs one target per row, got " + targets.length);
        for (int t : targets) {
            if (t < -1 || t >= classes) {
                throw new IllegalArgumentException("nll: target " + t + " is outside the " + classes + " classes");
            }
        }
    }

    private static MemorySegment slice(Tensor x, int from, int count) {
        int row = x.rowSize();
        return x.buf().asSlice(4L * from * row, 4L * count * row);
    }

    private static Tensor gather(Tensor x, int[] index) {
        Tensor y = Tensor.empty(Math.max(1, index.length), x.rowSize());
        long bytes = 4L * x.rowSize();
        for (int i = 0; i < index.length; i++) {
            MemorySegment.copy(x.buf(), index[i] * bytes, y.buf(), i * bytes, bytes);
        }
        return y;
    }

    /** The rows that have a target. */
    private record Rows(int[] index, int[] target) {
        static Rows withTarget(int[] targets) {
            int[] index = java.util.stream.IntStream.range(0, targets.length)
                    .filter(i -> targets[i] >= 0)
                    .toArray();
            return new Rows(
                    index, java.util.Arrays.stream(index).map(i -> targets[i]).toArray());
        }
    }

    private interface Chunk {
        void accept(int from, int count, MemorySegment logits, MemorySegment losses);
    }

    /** Computes logits and losses chunk by chunk; with {@code grad} the logits are replaced by their gradient. */
    private record Chunks(Tensor h, Matrix w, int[] targets, NllOptions options) {
        void forEach(boolean grad, Chunk chunk) {
            int n = targets.length, size = Math.max(16, CHUNK / Math.max(1, w.rows()));
            size = Math.min(Math.max(1, n), size);
            Tensor logits = Tensor.empty(size, w.rows()), losses = Tensor.empty(size);
            for (int from = 0; from < n; from += size) {
                int count = Math.min(size, n - from);
                K.matmulT(logits.buf(), slice(h, from, count), w, count, 1f, false);
                K.crossEntropy(
                        losses.buf(),
                        logits.buf(),
                        targets,
                        from,
                        new Kernels.CrossEntropy(count, w.rows(), options.smoothing(), options.zLoss(), grad));
                chunk.accept(from, count, logits.buf(), losses.buf());
            }
            Memory.release(losses.buf());
            Memory.release(logits.buf());
        }
    }
}
