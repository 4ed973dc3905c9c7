package anneal.quant.post;

import anneal.kernels.Matrix;
import anneal.kernels.Parallel;
import java.lang.foreign.Arena;

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
        Grid.Step whole = grid.group() == Grid.PER_TENSOR ? wholeStep(w, grid, clip.ratio(0, 0)) : null;
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

    private static Grid.Step wholeStep(Matrix w, Grid grid, float ratio) {
        Range all = new Range();
        for (int i = 0; i < w.rows(); i++) {
            all.add(row(w, i), 0, w.cols());
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
