package anneal.quant.post;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import anneal.kernels.Matrix;
import anneal.kernels.Parallel;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.function.IntFunction;

/** Rounds matrices to the nearest points of a {@link Grid}. */
final class Rounding {
    private Rounding() {}

    /** How far from zero a group may reach, as parts of its least and largest weight; beyond is clipped. */
    interface Clip {
        Clip NONE = (row, group) -> 1;

        float ratio(int row, int group);
    }

    /** W on the grid, each group between its least and largest weight. */
    static UniformMatrix nearest(Matrix w, Grid grid) {
        return nearest(w, grid, Clip.NONE);
    }

    static UniformMatrix nearest(Matrix w, Grid grid, Clip clip) {
        UniformMatrix to = new UniformMatrix(grid, w.rows(), w.cols(), Arena.ofAuto());
        Grid.Step whole =
                grid.group() == Grid.PER_TENSOR ? wholeStep(w.rows(), i -> row(w, i), grid, clip.ratio(0, 0)) : null;
        int size = grid.groupSize(w.cols());
        Parallel.run(w.rows(), i -> {
            float[] row = row(w, i);
            int[] codes = new int[row.length];
            for (int g = 0; g < row.length / size; g++) {
                Range r = new Range().add(row, g * size, size).times(clip.ratio(i, g));
                Grid.Step step = whole != null ? whole : grid.step(r.low, r.high);
                if (whole == null || i == 0) {
                    to.put(i, g, step);
                }
                for (int j = g * size; j < (g + 1) * size; j++) {
                    codes[j] = grid.code(row[j], step);
                }
            }
            to.put(i, codes);
        });
        return to;
    }

    /** What rounding takes from W if its columns are scaled meanwhile: W - Q(W diag(s)) diag(1/s) [out, in], in the current scope. */
    static Tensor lost(Matrix w, float[] s, Grid grid) {
        Tensor lost = Tensor.empty(w.rows(), w.cols());
        Grid.Step whole = grid.group() == Grid.PER_TENSOR ? wholeStep(w.rows(), i -> scaled(w, i, s), grid, 1) : null;
        int size = grid.groupSize(w.cols());
        Parallel.run(w.rows(), i -> {
            float[] row = row(w, i), scaled = scaled(w, i, s);
            for (int from = 0; from < row.length; from += size) {
                Range r = new Range().add(scaled, from, size);
                Grid.Step step = whole != null ? whole : grid.step(r.low, r.high);
                for (int j = from; j < from + size; j++) {
                    row[j] -= Grid.value(grid.code(scaled[j], step), step) * (1 / s[j]);
                }
            }
            MemorySegment.copy(row, 0, lost.buf(), JAVA_FLOAT, 4L * i * row.length, row.length);
        });
        return lost;
    }

    private static float[] scaled(Matrix w, int i, float[] s) {
        float[] row = row(w, i);
        for (int j = 0; j < row.length; j++) {
            row[j] *= s[j];
        }
        return row;
    }

    private static Grid.Step wholeStep(int rows, IntFunction<float[]> row, Grid grid, float ratio) {
        Range all = new Range();
        for (int i = 0; i < rows; i++) {
            float[] w = row.apply(i);
            all.add(w, 0, w.length);
        }
        all.times(ratio);
        return grid.step(all.low, all.high);
    }

    /** Row i as floats. */
    static float[] row(Matrix w, int i) {
        float[] row = new float[w.cols()];
        w.widen(i, 0, row.length, row, 0);
        return row;
    }

    /** Least and largest of some numbers; NaN if one of them is. */
    static final class Range {
        float low = Float.POSITIVE_INFINITY;
        float high = Float.NEGATIVE_INFINITY;

        Range add(float[] w, int from, int count) {
            for (int j = from; j < from + count; j++) {
                low = Math.min(low, w[j]);
                high = Math.max(high, w[j]);
            }
            return this;
        }

        Range times(float ratio) {
            low *= ratio;
            high *= ratio;
            return this;
        }
    }
}
