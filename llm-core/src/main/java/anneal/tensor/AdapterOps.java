package anneal.tensor;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import anneal.kernels.Kernels;
import anneal.kernels.Parallel;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;

/** What small trained additions to a model compute, beside {@link Ops} and written in the same way. */
public final class AdapterOps {
    private static final Kernels K = Kernels.get();

    /** Columns that one task sums up. */
    private static final int STRIP = 256;

    private AdapterOps() {}

    // ---------------------------------------------------------------- columns times numbers

    /**
     * y = x * v for each row: x diag(v).
     *
     * <p>Shapes: x [.., D], v [D] or any of D elements -> [.., D]. Gradient: dx = dy * v, dv = sum of dy * x over rows.
     */
    public static Tensor scaleColumns(Tensor x, Tensor v) {
        requireColumns("scaleColumns", x, v);
        Tensor y = Tensor.like(x);
        mulColumns(y.buf(), x.buf(), v, x.rowCount(), false);
        return Tape.record(y, () -> scaleColumnsGrad(y, x, v), x, v);
    }

    /**
     * y += x * v for each row, in place.
     *
     * <p>Shapes: y and x [.., D], v [D] or any of D elements. Gradient: dx = dy * v, dv = sum of dy * x over rows.
     */
    public static Tensor addScaledColumnsInPlace(Tensor y, Tensor x, Tensor v) {
        Shape.require(y.shape().equals(x.shape()), "addScaledColumns", y, x, "shapes must be equal");
        requireColumns("addScaledColumns", x, v);
        Tape.requireInPlace("addScaledColumns", y);
        mulColumns(y.buf(), x.buf(), v, x.rowCount(), true);
        return Tape.recordInPlace(y, () -> scaleColumnsGrad(y, x, v), x, v);
    }

    private static void requireColumns(String op, Tensor x, Tensor v) {
        Shape.require(v.size() == x.rowSize(), op, x, v, "there must be one factor for each element of the last dim");
    }

    private static void scaleColumnsGrad(Tensor y, Tensor x, Tensor v) {
        if (x.tracked()) {
            boolean add = x.hasGrad();
            mulColumns(x.gradSlot(), y.gradBuf(), v, x.rowCount(), add);
        }
        if (v.tracked()) {
            sumProducts(v.gradBuf(), y.gradBuf(), x.buf(), x.rowCount(), x.rowSize());
        }
    }

    private static void mulColumns(MemorySegment y, MemorySegment x, Tensor v, int rows, boolean add) {
        int dim = Math.toIntExact(v.size());
        Parallel.run(rows, i -> K.mul(row(y, i, dim), row(x, i, dim), v.buf(), dim, add));
    }

    /** s += the sum of a * b over rows, strip by strip, each in the order of the rows: the same for any number of threads. */
    private static void sumProducts(MemorySegment s, MemorySegment a, MemorySegment b, int rows, int dim) {
        Parallel.run((dim + STRIP - 1) / STRIP, strip -> {
            int from = strip * STRIP, count = Math.min(STRIP, dim - from);
            MemorySegment sum = slice(s, from, count);
            for (int i = 0; i < rows; i++) {
                long at = (long) i * dim + from;
                K.mul(sum, slice(a, at, count), slice(b, at, count), count, true);
            }
        });
    }

    // ---------------------------------------------------------------- small matrices

    /**
     * Takes each row for a matrix and turns it round: y[n, j, i] = x[n, i, j].
     *
     * <p>Shapes: x [.., rows columns] -> [.., columns rows]. Gradient: dy turned back.
     */
    public static Tensor transposeEach(Tensor x, int rows, int columns) {
        Shape.require(
                (long) rows * columns == x.rowSize(),
                "transposeEach",
                x,
                () -> "the last dim must be " + rows + " x " + columns);
        Tensor y = Tensor.like(x);
        transpose(y.buf(), x.buf(), x.rowCount(), rows, columns, false);
        return Tape.record(
                y,
                () -> {
                    boolean add = x.hasGrad();
                    transpose(x.gradSlot(), y.gradBuf(), x.rowCount(), columns, rows, add);
                },
                x);
    }

    private static void transpose(MemorySegment y, MemorySegment x, int count, int rows, int columns, boolean add) {
        int size = rows * columns;
        Parallel.run(count, n -> {
            float[] from = floats(x, n, size), to = add ? floats(y, n, size) : new float[size];
            for (int i = 0; i < rows; i++) {
                for (int j = 0; j < columns; j++) {
                    to[j * rows + i] += from[i * columns + j];
                }
            }
            MemorySegment.copy(to, 0, y, JAVA_FLOAT, 4L * n * size, size);
        });
    }

    /**
     * Every row of a times every row of b, element by element: y[i Q + j] = a[i] * b[j]. The row-wise Khatri-Rao product.
     *
     * <p>Shapes: a [R, D], b [Q, D] -> [R Q, D]. Gradient: da[i] = sum over j of dy[i Q + j] * b[j], and likewise db[j].
     */
    public static Tensor outerRows(Tensor a, Tensor b) {
        Shape.require(
                a.shape().rank() == 2 && b.shape().rank() == 2 && a.rowSize() == b.rowSize(),
                "outerRows",
                a,
                b,
                "both must be matrices with equally long rows");
        int r = a.dim(0), q = b.dim(0), dim = a.rowSize();
        Tensor y = Tensor.empty(r * q, dim);
        Parallel.run(
                r * q,
                k -> K.mul(row(y.buf(), k, dim), row(a.buf(), k / q, dim), row(b.buf(), k % q, dim), dim, false));
        return Tape.record(
                y,
                () -> {
                    if (a.tracked()) {
                        MemorySegment da = a.gradBuf(), dy = y.gradBuf();
                        Parallel.run(r, i -> {
                            for (int j = 0; j < q; j++) {
                                K.mul(row(da, i, dim), row(dy, i * q + j, dim), row(b.buf(), j, dim), dim, true);
                            }
                        });
                    }
                    if (b.tracked()) {
                        MemorySegment db = b.gradBuf(), dy = y.gradBuf();
                        Parallel.run(q, j -> {
                            for (int i = 0; i < r; i++) {
                                K.mul(row(db, j, dim), row(dy, i * q + j, dim), row(a.buf(), i, dim), dim, true);
                            }
                        });
                    }
                },
                a,
                b);
    }

    // ---------------------------------------------------------------- exchanged rows and columns

    /**
     * y[i] = w[from[i]] where from[i] is not -1, in place.
     *
     * <p>Shapes: y [.., D], from one number a row, w [R, D]. Gradient: dw[from[i]] += dy[i]; what y was gets none at those rows.
     */
    public static Tensor replaceRowsInPlace(Tensor y, int[] from, Tensor w) {
        Shape.require(
                w.shape().rank() == 2 && w.rowSize() == y.rowSize(),
                "replaceRows",
                y,
                w,
                "rows of the matrix must be as long as those of y");
        Shape.require(
                from.length == y.rowCount() && Arrays.stream(from).allMatch(k -> k >= -1 && k < w.dim(0)),
                "replaceRows",
                y,
                () -> "needs one number a row, -1 or a row of " + w.shape());
        Tape.requireInPlace("replaceRows", y);
        int dim = y.rowSize();
        for (int i = 0; i < from.length; i++) {
            if (from[i] >= 0) {
                row(y.buf(), i, dim).copyFrom(row(w.buf(), from[i], dim));
            }
        }
        return Tape.recordInPlace(
                y,
                () -> {
                    for (int i = 0; i < from.length; i++) {
                        if (from[i] >= 0) {
                            MemorySegment dy = row(y.gradBuf(), i, dim);
                            if (w.tracked()) {
                                K.axpy(row(w.gradBuf(), from[i], dim), dy, 1f, dim);
                            }
                            dy.fill((byte) 0);
                        }
                    }
                },
                w);
    }

    /**
     * y[i, columns[c]] = z[i, c], in place.
     *
     * <p>Shapes: y [.., D], z [.., C] with as many rows, columns C different numbers. Gradient: dz[i, c] = dy[i, columns[c]]; what
     * y was gets none at those columns.
     */
    public static Tensor replaceColumnsInPlace(Tensor y, int[] columns, Tensor z) {
        Shape.require(
                z.rowCount() == y.rowCount() && z.rowSize() == columns.length,
                "replaceColumns",
                y,
                z,
                "it must have as many rows, and one number for each of the " + columns.length + " columns");
        Shape.require(
                Arrays.stream(columns).allMatch(c -> c >= 0 && c < y.rowSize())
                        && Arrays.stream(columns).distinct().count() == columns.length,
                "replaceColumns",
                y,
                () -> "columns " + Arrays.toString(columns) + " must be different ones of it");
        Tape.requireInPlace("replaceColumns", y);
        MemorySegment to = y.buf(), from = z.buf();
        each(y, columns, (at, c) -> to.setAtIndex(JAVA_FLOAT, at, from.getAtIndex(JAVA_FLOAT, c)));
        return Tape.recordInPlace(
                y,
                () -> {
                    MemorySegment dy = y.gradBuf(), dz = z.tracked() ? z.gradBuf() : null;
                    each(y, columns, (at, c) -> {
                        if (dz != null) {
                            dz.setAtIndex(JAVA_FLOAT, c, dz.getAtIndex(JAVA_FLOAT, c) + dy.getAtIndex(JAVA_FLOAT, at));
                        }
                        dy.setAtIndex(JAVA_FLOAT, at, 0f);
                    });
                },
                z);
    }

    @FunctionalInterface
    private interface Pair {
        void at(long inY, long inZ);
    }

    private static void each(Tensor y, int[] columns, Pair pair) {
        for (int i = 0; i < y.rowCount(); i++) {
            for (int c = 0; c < columns.length; c++) {
                pair.at((long) i * y.rowSize() + columns[c], (long) i * columns.length + c);
            }
        }
    }

    // ---------------------------------------------------------------- memory

    private static MemorySegment row(MemorySegment x, int i, int dim) {
        return slice(x, (long) i * dim, dim);
    }

    private static MemorySegment slice(MemorySegment x, long from, int count) {
        return x.asSlice(4 * from, 4L * count);
    }

    private static float[] floats(MemorySegment x, int row, int size) {
        float[] a = new float[size];
        MemorySegment.copy(x, JAVA_FLOAT, 4L * row * size, a, 0, size);
        return a;
    }
}
