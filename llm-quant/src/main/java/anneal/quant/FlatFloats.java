package anneal.quant;

import anneal.kernels.Matrix;
import anneal.kernels.Parallel;

/** The numbers of a matrix as floats, a piece at a time, whatever form they are stored in. */
public final class FlatFloats {
    /** Numbers that are worth a task. */
    private static final int PIECE = 1 << 16;

    private FlatFloats() {}

    /** What is done with numbers [first, first + count) of the row-major order; they stand in x[at ..]. */
    interface Task {
        void run(float[] x, int at, long first, int count);
    }

    /**
     * Deals out a matrix in pieces that begin at multiples of {@code unit}.
     *
     * @throws IllegalArgumentException naming the first number that is not finite: no format here could hold it
     */
    static void forEach(Matrix w, int unit, Task task) {
        long numbers = (long) w.rows() * w.cols(), piece = (long) Math.max(1, PIECE / unit) * unit;
        Parallel.run(Math.toIntExact(Math.ceilDiv(numbers, piece)), t -> {
            long first = t * piece;
            int count = (int) Math.min(piece, numbers - first);
            int row = (int) (first / w.cols()), end = (int) ((first + count - 1) / w.cols()) + 1;
            float[] rows = new float[Math.multiplyExact(end - row, w.cols())];
            for (int r = row; r < end; r++) {
                w.widen(r, 0, w.cols(), rows, (r - row) * w.cols());
            }
            int at = (int) (first - (long) row * w.cols());
            requireFinite(rows, at, first, count, w.cols());
            task.run(rows, at, first, count);
        });
    }

    /**
     * Throws if a matrix cannot be quantised by any format.
     *
     * @throws IllegalArgumentException naming the first number that is not finite
     */
    public static void requireFinite(Matrix w) {
        forEach(w, 1, (x, at, first, count) -> {});
    }

    private static void requireFinite(float[] x, int at, long first, int count, int cols) {
        for (int i = 0; i < count; i++) {
            if (!Float.isFinite(x[at + i])) {
                throw new IllegalArgumentException("the weight is " + x[at + i] + " at [" + (first + i) / cols + ", "
                        + (first + i) % cols + "]; it must be finite");
            }
        }
    }
}
