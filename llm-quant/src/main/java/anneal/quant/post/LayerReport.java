package anneal.quant.post;

import anneal.kernels.Matrix;
import anneal.nn.Weight;
import anneal.tensor.Memory;
import anneal.tensor.Ops;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import anneal.tensor.UpdateOps;

/**
 * What quantisation did to one layer.
 *
 * @param path of the layer
 * @param format how it is stored now
 * @param error |y' - y| / |y| of its output on the calibration samples, y from the original weight; null if there were none
 * @param bytesBefore of its matrix
 * @param bytesAfter of its matrix
 * @param note what the method chose for it: "alpha 0.55", "ratio 0.40", or ""
 */
public record LayerReport(String path, String format, Double error, long bytesBefore, long bytesAfter, String note) {
    /** Compares {@code after} with {@code before} on x [S, in], which may have no rows. */
    static LayerReport of(String path, long bytesBefore, Measured m, String note) {
        return new LayerReport(
                path,
                m.after.format(),
                m.x.rowCount() == 0 ? null : m.error(),
                bytesBefore,
                m.after.matrix().bytes(),
                note);
    }

    /**
     * A weight before and after.
     *
     * @param before the matrix in floats, after scales were folded
     * @param x what both read
     * @param after what stands for it now
     */
    record Measured(Matrix before, Tensor x, Weight after) {
        /** |y' - y| / |y|. */
        double error() {
            try (var _ = Memory.scope();
                    var _ = Tape.pause()) {
                Tensor y = Ops.matmulT(x, before), off = Ops.sub(after.matmulT(x), y);
                return Math.sqrt(UpdateOps.squaredNorm(off) / Math.max(Double.MIN_NORMAL, UpdateOps.squaredNorm(y)));
            }
        }
    }
}
