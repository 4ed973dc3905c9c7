package anneal.quant.post;

import anneal.kernels.Matrix;
import anneal.nn.Attention;
import anneal.nn.DenseWeight;
import anneal.nn.LayerWatch;
import anneal.nn.Linear;
import anneal.nn.Module;
import anneal.quant.calibrate.Calibration;
import anneal.quant.calibrate.Junction;
import anneal.quant.calibrate.LayerInputs;
import anneal.quant.calibrate.Scaling;
import anneal.tensor.Memory;
import anneal.tensor.Ops;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import anneal.tensor.UpdateOps;
import java.lang.foreign.Arena;
import java.util.Collections;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.function.BiFunction;
import java.util.function.Predicate;
import java.util.function.UnaryOperator;

/**
 * Scales up the channels of W that meet large inputs before rounding, so that their relative error shrinks; the inverse scale goes
 * into what comes before. No gradient, no Hessian.
 *
 * <pre>
 * s_j = mean|x_j|^ratio, divided by sqrt(max s min s)        ratio from a grid of {@code steps} points in [0, 1)
 * loss(ratio) = mean (x WT - x (Q(W diag(s)) diag(1/s))T)^2
 * </pre>
 *
 * <p>Lin et al., arXiv:2306.00978. Layers that read the same tensor get one s, by the sum of their losses (the reference takes the loss of
 * the whole sub-layer's output). Then the clip search shrinks the range of each group as long as that lowers the error of its part of
 * the output. Where no {@link Junction} can take the inverse scale, a layer is only clipped.
 *
 * @param grid where weights go
 * @param steps points of the ratio grid; 20 in the reference. 1 means no scaling
 * @param clip whether ranges are searched too. As in the reference not those of query and key projections that stand alone: what counts
 *     there is the score, a product of both outputs
 * @param inner whether scales are also folded from the output projection into values and from down into up
 */
public record Awq(Grid grid, int steps, boolean clip, boolean inner) implements PostTraining {
    /** The least mean that is raised to a power. */
    private static final float LEAST = 1e-4f;

    public Awq {
        if (steps < 1) {
            throw new IllegalArgumentException("awq: steps " + steps + " must be at least 1");
        }
        if (clip && grid.group() == Grid.PER_TENSOR) {
            throw new IllegalArgumentException(
                    "awq: the clip search needs a scale per row or per group, not per tensor");
        }
    }

    /** The reference's settings: 20 ratios, clipping, all junctions. */
    public Awq(Grid grid) {
        this(grid, 20, true, true);
    }

    /**
     * The outcome of one scale search.
     *
     * @param scales s, one for each channel of the source
     * @param best index of the ratio it came from
     * @param losses of each ratio: mean square errors, summed over the readers
     */
    public record Search(float[] scales, int best, double[] losses) {
        /** The ratio that was chosen. */
        public double ratio() {
            return (double) best / losses.length;
        }
    }

    @Override
    public PostReport apply(Module root, Predicate<String> which, Runnable forward, LayerWatch watch) {
        Map<String, Linear> layers = ChosenLayers.of(root, which);
        Folds folds = new Folds(layers, Calibration.capture(root, which, Calibration.Options.SAMPLES, forward));
        List<Junction> junctions = folds.of(Junction.find(root, inner));
        folds.watched(watch, junctions.size());
        Map<String, String> notes = fold(folds, junctions, steps, (w, s) -> Rounding.lost(w, s, grid));
        Set<Linear> scores = queriesAndKeys(root);
        return folds.quantise("awq " + grid, notes, (linear, x) -> {
            Matrix w = linear.weight().matrix();
            return new UniformWeight(
                    clip && !scores.contains(linear)
                            ? Rounding.nearest(w, grid, ClipSearch.of(w, x, grid))
                            : Rounding.nearest(w, grid));
        });
    }

    /**
     * Only scales: the model stays in floats and computes what it computed, within rounding, and loses less when it is rounded afterwards.
     * Ratios are those with the least loss of that rounding itself; ranges are not searched, since a format has its own. 20 ratios, all
     * junctions.
     *
     * @param rounding what will be done to each weight: {@code w -> format.quantize(w, arena).matrix()}
     * @return each scaled layer's ratio, for reports
     */
    public static Map<String, String> fold(
            Module root, UnaryOperator<Matrix> rounding, Runnable forward, LayerWatch watch) {
        Map<String, Linear> layers = ChosenLayers.of(root, path -> true);
        Folds folds = new Folds(layers, Calibration.capture(root, path -> true, Calibration.Options.SAMPLES, forward));
        List<Junction> junctions = folds.of(Junction.find(root, true));
        folds.watched(watch, junctions.size() - layers.size());
        return fold(folds, junctions, 20, (w, s) -> lost(w, s, rounding));
    }

    /** As {@link Rounding#lost} of a grid. */
    private static Tensor lost(Matrix w, float[] s, UnaryOperator<Matrix> rounding) {
        try (Arena arena = Arena.ofShared()) {
            Matrix scaled = Scaling.columns(w, s, arena).matrix();
            Matrix rounded =
                    Scaling.columns(rounding.apply(scaled), inverse(s), arena).matrix();
            return Ops.sub(
                    DenseWeight.copy(w, arena).tensor(),
                    DenseWeight.copy(rounded, arena).tensor());
        }
    }

    private static float[] inverse(float[] s) {
        float[] inverse = new float[s.length];
        for (int j = 0; j < s.length; j++) {
            inverse[j] = 1 / s[j];
        }
        return inverse;
    }

    private static Map<String, String> fold(
            Folds folds, List<Junction> junctions, int steps, BiFunction<Matrix, float[], Tensor> lost) {
        Map<String, String> notes = new HashMap<>();
        for (Junction j : junctions) {
            try (var _ = Memory.scope()) {
                Search found = search(j, folds.inputs(j.name()), steps, lost);
                folds.fold(j, found.scales);
                String note = String.format(Locale.ROOT, "ratio %.2f", found.ratio());
                j.readers().keySet().forEach(path -> notes.put(path, note));
            }
        }
        return notes;
    }

    private static Set<Linear> queriesAndKeys(Module root) {
        Set<Linear> found = Collections.newSetFromMap(new IdentityHashMap<>());
        root.find(Attention.class).values().forEach(a -> {
            List<Linear> linears = List.copyOf(a.find(Linear.class).values());
            if (linears.size() == 4) {
                found.addAll(linears.subList(0, 2));
            }
        });
        return found;
    }

    /** The scale of a junction with the least loss; {@code inputs} are of what its readers read. */
    public Search search(Junction j, LayerInputs inputs) {
        return search(j, inputs, steps, (w, s) -> Rounding.lost(w, s, grid));
    }

    private static Search search(Junction j, LayerInputs inputs, int steps, BiFunction<Matrix, float[], Tensor> lost) {
        float[] means = j.largest(inputs.meanAbs());
        List<Matrix> readers =
                j.readers().values().stream().map(l -> l.weight().matrix()).toList();
        double[] losses = new double[steps];
        int best = 0;
        for (int i = 0; i < steps; i++) {
            float[] columns = j.columns(scales(means, i, steps));
            for (Matrix w : readers) {
                losses[i] += ChosenLayers.at(j.name(), () -> loss(w, inputs.samples(), columns, lost));
            }
            best = losses[i] < losses[best] ? i : best;
        }
        return new Search(scales(means, best, steps), best, losses);
    }

    /** s of ratio number i: all ones for the first. */
    private static float[] scales(float[] means, int i, int steps) {
        float[] s = new float[means.length];
        float low = Float.POSITIVE_INFINITY, high = 0;
        for (int j = 0; j < s.length; j++) {
            s[j] = (float) Math.pow(Math.max(means[j], LEAST), (double) i / steps);
            low = Math.min(low, s[j]);
            high = Math.max(high, s[j]);
        }
        float middle = (float) Math.sqrt(high * low);
        for (int j = 0; j < s.length; j++) {
            s[j] /= middle;
        }
        return s;
    }

    /** mean (x (W - Q(W diag(s)) diag(1/s))T)^2. */
    private static double loss(Matrix w, Tensor x, float[] s, BiFunction<Matrix, float[], Tensor> lost) {
        try (var _ = Memory.scope();
                var _ = Tape.pause()) {
            Tensor off = Ops.matmulT(x, lost.apply(w, s));
            return UpdateOps.squaredNorm(off) / off.size();
        }
    }
}
