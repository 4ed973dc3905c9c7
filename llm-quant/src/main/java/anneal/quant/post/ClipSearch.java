package anneal.quant.post;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import anneal.kernels.Matrix;
import anneal.kernels.Parallel;
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
        float[][] ratios = new float[w.rows()][groups];
        for (int g = 0; g < groups; g++) {
            float[][] moments = moments(x, g * size, size);
            int group = g;
            Parallel.run(w.rows(), i -> {
                float[] row = Arrays.copyOfRange(Rounding.row(w, i), group * size, (group + 1) * size);
                ratios[i][group] = best(row, moments, grid);
            });
        }
        return (row, group) -> ratios[row][group];
    }

    private static float[][] moments(Tensor x, int from, int size) {
        float[][] m = new float[size][size];
        float[][] rows = new float[x.rowCount()][size];
        for (int r = 0; r < rows.length; r++) {
            MemorySegment.copy(x.buf(), JAVA_FLOAT, 4L * ((long) r * x.rowSize() + from), rows[r], 0, size);
        }
        Parallel.run(size, i -> {
            for (float[] row : rows) {
                for (int j = 0; j < size; j++) {
                    m[i][j] += row[i] * row[j];
                }
            }
        });
        return m;
    }

    private static float best(float[] w, float[][] moments, Grid grid) {
        float best = 1;
        double least = Double.POSITIVE_INFINITY;
        Rounding.Range range = new Rounding.Range().add(w, 0, w.length);
        for (int k = 0; k < RATIOS; k++) {
            float ratio = 1 - k * SHRINK;
            double loss = loss(w, moments, grid, grid.step(range.low * ratio, range.high * ratio));
            if (loss < least) {
                least = loss;
                best = ratio;
            }
        }
        return best;
    }

    private static double loss(float[] w, float[][] moments, Grid grid, Grid.Step step) {
        float[] d = new float[w.length], product = new float[w.length];
        for (int j = 0; j < w.length; j++) {
            d[j] = w[j] - Grid.value(grid.code(w[j], step), step);
        }
        for (int i = 0; i < w.length; i++) {
            float[] m = moments[i];
            for (int j = 0; j < w.length; j++) {
                product[j] += d[i] * m[j];
            }
        }
        double loss = 0;
        for (int j = 0; j < w.length; j++) {
            loss += (double) product[j] * d[j];
        }
        return loss;
    }
}
