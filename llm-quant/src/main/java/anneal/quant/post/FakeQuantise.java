package anneal.quant.post;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import anneal.kernels.F32Matrix;
import anneal.kernels.Kernels;
import anneal.kernels.Parallel;
import anneal.tensor.Shape;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.lang.foreign.MemorySegment;

/**
 * Rounds as an integer layer will round, and lets the gradient pass as if it had not: the straight-through estimator, Bengio et al.,
 * arXiv:1308.3432. The true derivative of rounding is zero wherever there is one, so that nothing would be learnt from it.
 */
public final class FakeQuantise {
    private static final Kernels K = Kernels.get();
    private static final int LARGEST = 127;

    private FakeQuantise() {}

    /**
     * y = W on a grid whose steps are those of W itself, so that nothing is clipped.
     *
     * <p>Shapes: w [out, in] -> the same. Gradient: dw = dy.
     */
    public static Tensor weights(Tensor w, Grid grid) {
        Shape.require(w.shape().rank() == 2, "fakeQuantise", w, "the weight must have two dimensions");
        int cols = w.dim(1);
        UniformMatrix rounded = Rounding.nearest(new F32Matrix(w.buf(), w.dim(0), cols), grid);
        Tensor y = Tensor.like(w);
        Parallel.run(
                w.dim(0),
                i -> MemorySegment.copy(Rounding.row(rounded, i), 0, y.buf(), JAVA_FLOAT, 4L * i * cols, cols));
        return Tape.record(y, () -> K.axpy(w.gradBuf(), y.gradBuf(), 1f, w.size()), w);
    }

    /**
     * y = a round(x / a), a = max|x| / 127 of each row: an input of token-wise 8-bit integers.
     *
     * <p>Shapes: x [.., D] -> the same. Gradient: dx = dy.
     */
    public static Tensor tokens(Tensor x) {
        Tensor y = rounded(x, 0);
        return Tape.record(y, () -> K.axpy(x.gradBuf(), y.gradBuf(), 1f, x.size()), x);
    }

    /**
     * y = a clamp(round(x / a), -127, 127) with a fixed scale a: an input of statically scaled 8-bit integers.
     *
     * <p>Shapes: x [..] -> the same. Gradient: dx = dy where |x| &lt;= 127 a; 0 beyond, where y really is constant.
     */
    public static Tensor clipped(Tensor x, float scale) {
        Shape.require(scale > 0, "fakeQuantise", x, () -> "the scale " + scale + " must be positive");
        Tensor y = rounded(x, scale);
        return Tape.record(y, () -> clippedGrad(x, y, LARGEST * scale), x);
    }

    /** Multiples of a scale; 0: each row has its own. */
    private static Tensor rounded(Tensor x, float scale) {
        Tensor y = Tensor.like(x);
        W8A8Linear.byRows(x, (r, row) -> {
            float a = scale > 0 ? scale : W8A8Linear.scale(row);
            for (int j = 0; j < row.length; j++) {
                row[j] = a * W8A8Linear.code(row[j] / a);
            }
            MemorySegment.copy(row, 0, y.buf(), JAVA_FLOAT, 4L * r * row.length, row.length);
        });
        return y;
    }

    private static void clippedGrad(Tensor x, Tensor y, float bound) {
        MemorySegment dx = x.gradBuf(), dy = y.gradBuf();
        W8A8Linear.byRows(x, (r, row) -> {
            long at = (long) r * row.length;
            for (int j = 0; j < row.length; j++) {
                if (Math.abs(row[j]) <= bound) {
                    float sum = dx.getAtIndex(JAVA_FLOAT, at + j) + dy.getAtIndex(JAVA_FLOAT, at + j);
                    dx.setAtIndex(JAVA_FLOAT, at + j, sum);
                }
            }
        });
    }
}
