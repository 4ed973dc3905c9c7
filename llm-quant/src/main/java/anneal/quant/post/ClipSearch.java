package anneal.quant.post;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import anneal.kernels.Kernels;
import anneal.kernels.Matrix;
import anneal.kernels.Parallel;
import anneal.tensor.Memory;
import anneal.tensor.Ops;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;

/**
 * For each group of a row the part of its range that gives the least error of its share of the output:
 *
 * <pre>
 * loss(ratio) = |x_g (w_g - Q(w_g))T|^2 = d M dT        d = w_g - Q(w_g),  M = x_gT x_g
 * </pre>
 *
 * <p>Ratios 1, 0.95 ... 0.55, as in AWQ's reference (20 steps, at most half taken away).
 */
final class ClipSearch {
    private static final int RATIOS = 10;
    private static final float SHRINK = 0.05f;

    private ClipSearch() {}

    /** The best ratios for W [out, in] that reads x [S, in]. */
    static Rounding.Clip of(Matrix w, Tensor x, Grid grid) {
        int size = grid.groupSize(w.cols()), groups = w.cols() / size;
        float[][] best = new float[groups][];
        for (int g = 0; g < groups; g++) {
            try (var _ = Memory.scope();
                    var _ = Tape.pause()) {
                best[g] = best(columns(w, g * size, size), moments(x, g * size, size), grid);
            }
        }
        return (row, group) -> best[group][row];
    }

    /** Columns [from, from + size) of W. */
    private static float[][] columns(Matrix w, int from, int size) {
        float[][] some = new float[w.rows()][];
        Parallel.run(some.length, i -> some[i] = Arrays.copyOfRange(Rounding.row(w, i), from, from + size));
        return some;
    }

    /** M of these columns of x. */
    private static Tensor moments(Tensor x, int from, int size) {
        Tensor some = Ops.columns(x, from, size), m = Tensor.empty(size, size);
        Kernels.get().matmulTN(m.buf(), some.buf(), some.buf(), size, size, x.rowCount(), 1, false);
        return m;
    }

    /** The best ratio for each row of a group's columns. */
    private static float[] best(float[][] w, Tensor moments, Grid grid) {
        float[] best = new float[w.length];
        double[] least = new double[w.length];
        Arrays.fill(least, Double.POSITIVE_INFINITY);
        Tensor off = Tensor.empty(w.length, moments.rowSize());
        for (int k = 0; k < RATIOS; k++) {
            float ratio = 1 - k * SHRINK;
            Parallel.run(w.length, i -> round(w[i], ratio, grid, off, i));
            try (var _ = Memory.scope()) {
                Tensor product = Ops.matmulT(off, moments); // M is symmetric
                Parallel.run(w.length, i -> {
                    double loss = dot(product, off, i);
                    if (loss < least[i]) {
                        least[i] = loss;
                        best[i] = ratio;
                    }
                });
            }
        }
        return best;
    }

    /** Row i of d, for one ratio. */
    private static void round(float[] w, float ratio, Grid grid, Tensor off, int i) {
        Rounding.Range range = new Rounding.Range().add(w, 0, w.length).times(ratio);
        Grid.Step step = grid.step(range.low, range.high);
        float[] d = new float[w.length];
        for (int j = 0; j < d.length; j++) {
            d[j] = w[j] - Grid.value(grid.code(w[j], step), step);
        }
        MemorySegment.copy(d, 0, off.buf(), JAVA_FLOAT, 4L * i * d.length, d.length);
    }

    private static double dot(Tensor a, Tensor b, int row) {
        int n = a.rowSize();
        double sum = 0;
        for (long j = (long) row * n; j < (long) (row + 1) * n; j++) {
            sum += (double) a.get(j) * b.get(j);
        }
        return sum;
    }
}
