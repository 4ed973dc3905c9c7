package anneal.quant.post;

import anneal.kernels.Matrix;
import anneal.kernels.Parallel;
import anneal.nn.LayerWatch;
import anneal.nn.Linear;
import anneal.nn.Module;
import anneal.quant.calibrate.Calibration;
import anneal.quant.calibrate.LayerInputs;
import anneal.tensor.Memory;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.IdentityHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Predicate;
import java.util.stream.IntStream;

/**
 * Quantises columns one after the other, and lets the columns that are still floats make up for the error so far.
 *
 * <pre>
 * H = xT x + damping mean(diag H) I            H^-1 = UT U
 * for each column i:   q = nearest(w_i)        e = (w_i - q) / U_ii        w_j = w_j - e U_ij   for all j &gt; i
 * </pre>
 *
 * <p>It minimises |x WT - x QT|^2 greedily. Frantar et al., arXiv:2210.17323. Rows of W are independent given U, so tiles of rows are
 * tasks; within a tile, {@code block} columns are finished before the rest is brought up to date, which changes the order of memory
 * accesses but not one bit of the result. Everything is in double precision; the reference works in single.
 *
 * <p>Layers are done group by group in the model's order, each group measured with what stands before it quantised already, as in the
 * paper; a {@link Relay} spares most of those forward passes. Only the Hessians of one group are held.
 *
 * <p>With act-order and groups, the steps of all groups are fixed before the first column, from the original weights (AutoGPTQ's
 * {@code static_groups}): a group's columns stay neighbours in the file, and no permutation has to be stored.
 *
 * @param grid where weights go
 * @param damping added to the diagonal, as a part of its mean; 0.01 in the paper
 * @param actOrder columns with the largest H_ii first: what matters most is done while most can still make up for it
 * @param block columns that are finished together
 */
public record Gptq(Grid grid, double damping, boolean actOrder, int block) implements PostTraining {
    /** Rows of a task: they share each row of U while it is in the cache. */
    private static final int TILE = 16;

    public Gptq {
        if (!(damping >= 0 && damping < 1)) {
            throw new IllegalArgumentException("gptq: damping " + damping + " must be in [0, 1)");
        }
        if (block < 1) {
            throw new IllegalArgumentException("gptq: block " + block + " must be at least 1");
        }
    }

    /** The paper's settings: damping 0.01, blocks of 128 columns, in the order of the file. */
    public Gptq(Grid grid) {
        this(grid, 0.01, false, 128);
    }

    /** The same with the columns that matter most first. */
    public Gptq actOrdered() {
        return new Gptq(grid, damping, true, block);
    }

    @Override
    public PostReport apply(Module root, Predicate<String> which, Runnable forward, LayerWatch watch) {
        Map<String, Linear> layers = ChosenLayers.of(root, which);
        List<LayerReport> reports = new ArrayList<>();
        try (Relay relay = new Relay(root, forward)) {
            for (Set<String> group : groups(layers.keySet())) {
                String first = group.iterator().next();
                Calibration seen =
                        Calibration.capture(root, group::contains, Calibration.Options.MOMENTS, () -> relay.to(first));
                Map<LayerInputs, Hessian> hessians = new IdentityHashMap<>();
                for (String path : group) {
                    LayerInputs inputs = seen.of(path);
                    Hessian hessian = ChosenLayers.at(
                            path, () -> hessians.computeIfAbsent(inputs, i -> hessian(i.moments(), i.channels())));
                    reports.add(quantise(layers.get(path), path, hessian, inputs));
                    watch.layer(path, reports.size(), layers.size());
                }
            }
        }
        return new PostReport("gptq " + grid + (actOrder ? " act-order" : ""), reports);
    }

    private LayerReport quantise(Linear linear, String path, Hessian hessian, LayerInputs inputs) {
        try (var _ = Memory.scope()) {
            Matrix before = linear.weight().matrix();
            UniformWeight after = ChosenLayers.at(path, () -> quantise(before, hessian));
            linear.weight(after);
            LayerReport.Measured measured = new LayerReport.Measured(before, inputs.samples(), after);
            return LayerReport.of(path, before.bytes(), measured, "");
        }
    }

    /** Layers of one sub-layer are measured together: those whose paths differ in the last part only. */
    private static List<Set<String>> groups(Set<String> paths) {
        List<Set<String>> groups = new ArrayList<>();
        String parent = null;
        for (String path : paths) {
            String p = path.substring(0, Math.max(0, path.lastIndexOf('.')));
            if (!p.equals(parent)) {
                groups.add(new LinkedHashSet<>());
                parent = p;
            }
            groups.getLast().add(path);
        }
        return groups;
    }

    // ---------------------------------------------------------------- one matrix

    /**
     * W on the grid.
     *
     * @param w [out, in]
     * @param moments xT x [in, in]
     */
    public UniformWeight quantise(Matrix w, double[] moments) {
        int in = w.cols();
        if (moments.length != (long) in * in) {
            throw new IllegalArgumentException("gptq: moments of " + moments.length + " numbers do not fit weight ["
                    + w.rows() + ", " + in + "]: they must be [" + in + ", " + in + "]");
        }
        return quantise(w, hessian(moments, in));
    }

    /**
     * What the inputs of a layer say of its columns; layers that read the same tensor share it.
     *
     * @param dead channels that never moved
     * @param order columns in the order in which they are quantised
     * @param u rows of U, in that order
     */
    private record Hessian(boolean[] dead, int[] order, double[][] u) {}

    private Hessian hessian(double[] moments, int in) {
        double[] diagonal = new double[in];
        boolean[] dead = new boolean[in];
        double mean = 0;
        for (int i = 0; i < in; i++) {
            double d = moments[i * in + i];
            dead[i] = d == 0;
            diagonal[i] = dead[i] ? 1 : d;
            mean += diagonal[i] / in;
        }
        int[] order = actOrder ? byDiagonal(diagonal) : IntStream.range(0, in).toArray();
        double[][] h = new double[in][in];
        for (int i = 0; i < in; i++) {
            for (int j = 0; j < in; j++) {
                h[i][j] = moments[order[i] * in + order[j]];
            }
            h[i][i] = diagonal[order[i]] + damping * mean;
        }
        return new Hessian(dead, order, InverseFactor.of(h));
    }

    private static int[] byDiagonal(double[] diagonal) {
        return IntStream.range(0, diagonal.length)
                .boxed()
                .sorted(Comparator.comparingDouble((Integer i) -> -diagonal[i]))
                .mapToInt(Integer::intValue)
                .toArray();
    }

    private UniformWeight quantise(Matrix w, Hessian hessian) {
        // What stays fixed while columns move: steps of the whole matrix, or of groups that act-order scatters.
        UniformMatrix fixed = grid.group() == Grid.PER_TENSOR || actOrder ? Rounding.nearest(w, grid) : null;
        UniformMatrix to = new UniformMatrix(grid, w.rows(), w.cols(), Arena.ofAuto());
        Parallel.run((w.rows() + TILE - 1) / TILE, t -> {
            int from = t * TILE;
            new Tile(w, from, Math.min(w.rows(), from + TILE), hessian).run(fixed, to);
        });
        return new UniformWeight(to);
    }

    /** Some rows of W, their columns in the order in which they are quantised. */
    private final class Tile {
        private final int from;
        private final int[] order;
        private final int in;
        private final double[][] u;
        private final double[][] w;
        private final double[][] errors;
        private final int[][] codes;
        private final Grid.Step[] steps;

        Tile(Matrix matrix, int from, int to, Hessian hessian) {
            this.from = from;
            this.order = hessian.order;
            this.in = order.length;
            this.u = hessian.u;
            w = new double[to - from][in];
            errors = new double[to - from][Math.min(block, in)];
            codes = new int[to - from][in];
            steps = new Grid.Step[to - from];
            for (int r = 0; r < w.length; r++) {
                float[] row = Rounding.row(matrix, from + r);
                for (int i = 0; i < in; i++) {
                    w[r][i] = hessian.dead[order[i]] ? 0 : row[order[i]];
                }
            }
        }

        void run(UniformMatrix fixed, UniformMatrix to) {
            int size = grid.groupSize(in), end;
            for (int start = 0; start < in; start = end) {
                end = endOfBlock(start, size);
                for (int i = start; i < end; i++) {
                    for (int r = 0; r < w.length; r++) {
                        if (fixed != null || i % size == 0) {
                            int group = order[i] / size;
                            steps[r] = fixed != null ? fixed.step(from + r, group) : stepOf(w[r], i, size);
                            to.put(from + r, group, steps[r]);
                        }
                        column(r, i, start, end);
                    }
                }
                bringUpToDate(start, end);
            }
            for (int r = 0; r < w.length; r++) {
                int[] inOrder = new int[in];
                for (int i = 0; i < in; i++) {
                    inOrder[order[i]] = codes[r][i];
                }
                to.put(from + r, inOrder);
            }
        }

        /** A block ends where a group does if it can: the step of a group is taken from weights that are up to date. */
        private int endOfBlock(int start, int size) {
            int end = Math.min(in, start + block), boundary = end / size * size;
            return boundary > start ? boundary : end;
        }

        private Grid.Step stepOf(double[] row, int start, int size) {
            double low = Double.POSITIVE_INFINITY, high = Double.NEGATIVE_INFINITY;
            for (int j = start; j < start + size; j++) {
                low = Math.min(low, row[j]);
                high = Math.max(high, row[j]);
            }
            return grid.step((float) low, (float) high);
        }

        /** Rounds column i of row r and passes its error on within the block. */
        private void column(int r, int i, int start, int end) {
            codes[r][i] = grid.code(w[r][i], steps[r]);
            double error = (w[r][i] - Grid.value(codes[r][i], steps[r])) / u[i][i];
            errors[r][i - start] = error;
            RowSums.one(w[r], u[i], error, i + 1, end);
        }

        /** Passes the errors of columns [start, end) on to all columns behind them. */
        private void bringUpToDate(int start, int end) {
            for (int j = end; j < in; j += RowSums.COLUMNS) {
                int last = Math.min(in, j + RowSums.COLUMNS);
                for (int r = 0; r < w.length; r++) {
                    RowSums.subtract(w[r], errors[r], u, start, end - start, j, last);
                }
            }
        }
    }
}
