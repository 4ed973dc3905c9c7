package anneal.tensor;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import anneal.kernels.Kernels;
import java.lang.foreign.MemorySegment;

/** Ops of adapters that work on columns: one factor for each output, and vectors that stand in columns of a table. */
public final class ColumnOps {
    private static final Kernels K = Kernels.get();

    private ColumnOps() {}

    /**
     * y[i, j] = x[i, j] m[j] / norm[j]: each output has the length m gives it, whatever the length of its weights. norm is a constant:
     * nothing flows to it. Weight-decomposed adaptation, Liu et al., arXiv:2402.09353, equation 11.
     *
     * <p>Shapes: x [.., D], m [D], norm [D] -> [.., D]. Gradient: dx = dy m / norm, dm = sum of dy x / norm over the rows.
     */
    public static Tensor rescaleColumns(Tensor x, Tensor m, Tensor norm) {
        Shape.require(
                m.shape().rank() == 1 && m.size() == x.rowSize(),
                "rescaleColumns",
                x,
                m,
                "m must be the last dim of x");
        Shape.require(norm.shape().equals(m.shape()), "rescaleColumns", m, norm, "shapes must be equal");
        int columns = x.rowSize();
        Tensor factor = Tensor.like(m), y = Tensor.like(x);
        for (int j = 0; j < columns; j++) {
            factor.buf().setAtIndex(JAVA_FLOAT, j, m.get(j) / norm.get(j));
        }
        mulRows(y.buf(), x.buf(), factor.buf(), x.rowCount(), columns, false);
        return Tape.record(
                y,
                () -> {
                    if (m.tracked()) {
                        rescaleGrad(m, norm, x, y);
                    }
                    if (x.tracked()) {
                        boolean add = x.hasGrad();
                        mulRows(x.gradSlot(), y.gradBuf(), factor.buf(), x.rowCount(), columns, add);
                    }
                },
                x,
                m);
    }

    private static void rescaleGrad(Tensor m, Tensor norm, Tensor x, Tensor y) {
        Tensor products = Tensor.like(x), sums = Tensor.like(m);
        K.mul(products.buf(), y.gradBuf(), x.buf(), x.size(), false);
        sums.buf().fill((byte) 0);
        K.sumRows(sums.buf(), products.buf(), x.rowCount(), x.rowSize());
        MemorySegment grad = m.gradBuf();
        for (int j = 0; j < m.size(); j++) {
            grad.setAtIndex(JAVA_FLOAT, j, grad.getAtIndex(JAVA_FLOAT, j) + sums.get(j) / norm.get(j));
        }
        products.release();
        sums.release();
    }

    private static void mulRows(
            MemorySegment y, MemorySegment x, MemorySegment row, int rows, int columns, boolean add) {
        long bytes = 4L * columns;
        for (int i = 0; i < rows; i++) {
            K.mul(y.asSlice(i * bytes, bytes), x.asSlice(i * bytes, bytes), row, columns, add);
        }
    }

    /**
     * Columns of a table as rows: y[i] = a[:, ids[i]]. Shapes: a [R, V] -> [ids, R]. Gradient: da[:, ids[i]] += dy[i].
     */
    public static Tensor gatherColumns(Tensor a, int[] ids) {
        Shape.require(a.shape().rank() == 2, "gatherColumns", a, "must be a table [R, V]");
        int rows = a.dim(0), columns = a.dim(1);
        for (int id : ids) {
            if (id < 0 || id >= columns) {
                throw new IllegalArgumentException(
                        "gatherColumns: id " + id + " is outside the " + columns + " columns of " + a.shape());
            }
        }
        Tensor y = Tensor.empty(ids.length, rows);
        for (int i = 0; i < ids.length; i++) {
            for (int r = 0; r < rows; r++) {
                y.buf().setAtIndex(JAVA_FLOAT, (long) i * rows + r, a.get((long) r * columns + ids[i]));
            }
        }
        return Tape.record(
                y,
                () -> {
                    MemorySegment da = a.gradBuf(), dy = y.gradBuf();
                    for (int i = 0; i < ids.length; i++) {
                        for (int r = 0; r < rows; r++) {
                            long at = (long) r * columns + ids[i];
                            float g = dy.getAtIndex(JAVA_FLOAT, (long) i * rows + r);
                            da.setAtIndex(JAVA_FLOAT, at, da.getAtIndex(JAVA_FLOAT, at) + g);
                        }
                    }
                },
                a);
    }
}
