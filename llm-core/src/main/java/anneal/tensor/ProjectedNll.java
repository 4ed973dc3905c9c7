package anneal.tensor;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import anneal.kernels.Kernels;
import anneal.kernels.Matrix;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.stream.IntStream;

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
 *
 * <p>When all rows fit one chunk its logits are kept for w.grad instead of being computed again. With more rows and
 * {@link NllOptions#summed} the sum of (softmax(logits) - onehot(t))T h is made in the forward pass and scaled by the one g.
 */
final class ProjectedNll {
    private static final Kernels K = Kernels.get();

    /** Floats of one chunk of logits: enough rows that widening the projection for each chunk costs little. */
    private static final int CHUNK = 16 << 20;

    private static final int FEWEST_ROWS = 16;

    /** What the products are computed with, in the backward pass as well. */
    private final Kernels products = Kernels.get(Tape.compute());

    private final Tensor hidden;
    private final Matrix w;
    private final Tensor param;
    private final NllOptions options;
    /** Row of each trained target in hidden, and the target. */
    private final int[] rows;

    private final int[] targets;
    /** The rows of hidden that have a target; hidden itself if all have. */
    private final Tensor h;

    private final Tensor nll;
    private final int chunkRows;
    private final boolean wantDh;
    private final boolean wantDw;
    private Tensor dh;
    private Tensor dlogits;
    private Tensor dw;

    private ProjectedNll(Tensor hidden, Matrix w, Tensor param, int[] targets, NllOptions options, int chunk) {
        this.hidden = hidden;
        this.w = w;
        this.param = param;
        this.options = options;
        rows = IntStream.range(0, targets.length).filter(i -> targets[i] >= 0).toArray();
        this.targets = Arrays.stream(rows).map(i -> targets[i]).toArray();
        h = rows.length == targets.length ? hidden : gather(hidden);
        nll = Tensor.zeros(targets.length);
        chunkRows = Math.min(rows.length, Math.max(FEWEST_ROWS, chunk / Math.max(1, w.rows())));
        wantDh = Tape.recording() && hidden.tracked();
        wantDw = Tape.recording() && param != null && param.tracked();
    }

    static Tensor of(Tensor hidden, Matrix w, Tensor param, int[] targets, NllOptions options) {
        return of(hidden, w, param, targets, options, CHUNK);
    }

    /** The same with chunks of about this many logits. */
    static Tensor of(Tensor hidden, Matrix w, Tensor param, int[] targets, NllOptions options, int chunk) {
        if (hidden.rowSize() != w.cols()) {
            throw new ShapeException("nll: hidden " + hidden.shape() + " does not fit projection [" + w.rows() + ", "
                    + w.cols() + "]: last dim " + hidden.rowSize() + " must equal " + w.cols());
        }
        requireTargets(hidden, targets, w.rows());
        ProjectedNll op = new ProjectedNll(hidden, w, param, targets.clone(), options, chunk);
        op.forward();
        return Tape.record(op.nll, op::backward, hidden, param);
    }

    private void forward() {
        boolean keep = wantDw && rows.length > 0 && chunkRows == rows.length;
        if (wantDh) {
            dh = Tensor.empty(rows.length, hidden.rowSize());
        }
        if (wantDw && !keep && options.summed() && rows.length > 0) {
            dw = Tensor.like(param);
        }
        Tensor logits = Tensor.empty(chunkRows, w.rows()), losses = Tensor.empty(chunkRows);
        for (int from = 0; from < rows.length; from += chunkRows) {
            int count = Math.min(chunkRows, rows.length - from);
            logits(logits, losses, from, count, wantDh || keep || dw != null);
            for (int i = 0; i < count; i++) {
                nll.buf().setAtIndex(JAVA_FLOAT, rows[from + i], losses.get(i));
            }
            if (wantDh) {
                products.matmul(slice(dh, from, count), logits.buf(), w, count, 1f, false);
            }
            if (dw != null) {
                matmulTN(dw.buf(), logits, from, count, from > 0);
            }
        }
        losses.release();
        if (keep) {
            dlogits = logits;
        } else {
            logits.release();
        }
        if (!wantDw && h != hidden) {
            h.release();
        }
    }

    /** Logits of some rows and their losses; with {@code grad} the logits are replaced by d nll / d logits. */
    private void logits(Tensor logits, Tensor losses, int from, int count, boolean grad) {
        products.matmulT(logits.buf(), slice(h, from, count), w, count, 1f, false);
        K.crossEntropy(
                losses.buf(),
                logits.buf(),
                targets,
                from,
                new Kernels.CrossEntropy(count, w.rows(), options.smoothing(), options.zLoss(), grad));
    }

    private void backward() {
        Tensor g = gather(nll.grad().view(nll.rowSize(), 1));
        if (wantDh) {
            K.scaleRows(dh.buf(), g.buf(), rows.length, dh.rowSize());
            if (h == hidden) {
                Ops.addGrad(hidden, dh.buf(), 1f);
            } else {
                K.embeddingGrad(hidden.gradBuf(), dh.buf(), rows, dh.rowSize());
            }
            dh.release();
        }
        if (wantDw) {
            backwardToW(g);
            if (h != hidden) {
                h.release();
            }
        }
        g.release();
    }

    private void backwardToW(Tensor g) {
        if (dlogits != null) {
            addDw(dlogits, g, 0, rows.length);
            dlogits.release();
        } else if (dw != null && allEqual(g)) {
            Ops.addGrad(param, dw.buf(), g.get(0));
        } else {
            recomputedDw(g);
        }
        if (dw != null) {
            dw.release();
        }
    }

    private static boolean allEqual(Tensor g) {
        for (long i = 1; i < g.size(); i++) {
            if (g.get(i) != g.get(0)) {
                return false;
            }
        }
        return true;
    }

    private void recomputedDw(Tensor g) {
        Tensor logits = Tensor.empty(chunkRows, w.rows()), losses = Tensor.empty(chunkRows);
        for (int from = 0; from < rows.length; from += chunkRows) {
            int count = Math.min(chunkRows, rows.length - from);
            logits(logits, losses, from, count, true);
            addDw(logits, g, from, count);
        }
        losses.release();
        logits.release();
    }

    /** w.grad += (g dlogits)T h. */
    private void addDw(Tensor dlogits, Tensor g, int from, int count) {
        K.scaleRows(dlogits.buf(), slice(g, from, count), count, w.rows());
        boolean add = param.hasGrad();
        matmulTN(param.gradSlot(), dlogits, from, count, add);
    }

    private void matmulTN(MemorySegment y, Tensor dlogits, int from, int count, boolean add) {
        products.matmulTN(y, dlogits.buf(), slice(h, from, count), w.rows(), w.cols(), count, 1f, add);
    }

    /** The rows of x that have a target, copied. */
    private Tensor gather(Tensor x) {
        Tensor y = Tensor.empty(rows.length, x.rowSize());
        long bytes = 4L * x.rowSize();
        for (int i = 0; i < rows.length; i++) {
            MemorySegment.copy(x.buf(), rows[i] * bytes, y.buf(), i * bytes, bytes);
        }
        return y;
    }

    private static MemorySegment slice(Tensor x, int from, int count) {
        int row = x.rowSize();
        return x.buf().asSlice(4L * from * row, 4L * count * row);
    }

    /** From logits that are there: nothing is saved, the backward pass turns a copy of the logits into their gradient. */
    static Tensor ofLogits(Tensor logits, int[] targets, NllOptions options) {
        requireTargets(logits, targets, logits.rowSize());
        int[] own = targets.clone();
        int rows = logits.rowCount(), dim = logits.rowSize();
        Tensor nll = Tensor.empty(rows);
        K.crossEntropy(nll.buf(), logits.buf(), own, 0, sizes(rows, dim, options, false));
        return Tape.record(
                nll,
                () -> {
                    boolean add = logits.hasGrad();
                    Tensor d = add ? Tensor.like(logits) : logits.grad(), unused = Tensor.empty(rows);
                    d.set(logits);
                    K.crossEntropy(unused.buf(), d.buf(), own, 0, sizes(rows, dim, options, true));
                    K.scaleRows(d.buf(), nll.gradBuf(), rows, dim);
                    if (add) {
                        Ops.addGrad(logits, d.buf(), 1f);
                    }
                    d.release();
                    unused.release();
                },
                logits);
    }

    private static Kernels.CrossEntropy sizes(int rows, int dim, NllOptions options, boolean grad) {
        return new Kernels.CrossEntropy(rows, dim, options.smoothing(), options.zLoss(), grad);
    }

    private static void requireTargets(Tensor x, int[] targets, int classes) {
        Shape.require(
                x.rowCount() == targets.length, "nll", x, () -> "needs one target per row, got " + targets.length);
        for (int t : targets) {
            if (t < -1 || t >= classes) {
                throw new IllegalArgumentException("nll: target " + t + " is outside the " + classes + " classes");
            }
        }
    }
}
