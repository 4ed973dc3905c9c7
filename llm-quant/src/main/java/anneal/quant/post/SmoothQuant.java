package anneal.quant.post;

import anneal.kernels.Matrix;
import anneal.nn.LayerWatch;
import anneal.nn.Linear;
import anneal.nn.Module;
import anneal.quant.calibrate.Calibration;
import anneal.quant.calibrate.Junction;
import anneal.quant.calibrate.LayerInputs;
import anneal.quant.calibrate.Scaling;
import anneal.tensor.Memory;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.Predicate;
import java.util.regex.Pattern;

/**
 * Moves the difficulty of outlier channels from activations, which cannot be rounded channel by channel, to weights, which can take
 * it; then both become 8-bit integers and layers multiply in them.
 *
 * <pre>
 * s_j = max|x_j|^alpha / max_i|W_ij|^(1 - alpha)          (x diag(1/s)) (W diag(s))T = x WT
 * </pre>
 *
 * <p>1/s goes into what makes x: the norm before query, key and value, the norm before gate and up; with {@code inner} also the rows
 * of the values before the output projection and those of up before down. Xiao et al., arXiv:2211.10438, equation 4. Differences: the
 * paper's weights have one scale a matrix, ours one a row; the search of alpha is ours (the paper takes the same alpha for all layers,
 * by a search on the validation set of a task).
 *
 * @param alpha how much of the difficulty moves, in [0, 1]: 0.5 balances, more for models with worse outliers
 * @param alphas other values for junctions whose first reader's path fits the regular expression; the first that fits counts
 * @param search take for each junction that alpha of 0, 0.05 ... 1 with the least error of the integer products, instead
 * @param inner also fold where no norm stands before
 * @param activations O1 = {@link ActivationScale#PER_TOKEN}, O2 = {@link ActivationScale#PER_TENSOR}, O3 = {@link ActivationScale#STATIC}
 */
public record SmoothQuant(
        double alpha, Map<String, Double> alphas, boolean search, boolean inner, ActivationScale activations)
        implements PostTraining {
    private static final float LEAST = 1e-5f;
    private static final int SEARCH_STEPS = 20;

    public SmoothQuant {
        alphas = java.util.Collections.unmodifiableMap(new LinkedHashMap<>(alphas));
        requireAlpha(alpha);
        alphas.values().forEach(SmoothQuant::requireAlpha);
        alphas.keySet().forEach(Pattern::compile);
        if (search && !alphas.isEmpty()) {
            throw new IllegalArgumentException(
                    "smoothquant: alphas of single layers " + alphas.keySet() + " and a search for them: choose one");
        }
    }

    private static void requireAlpha(double alpha) {
        if (!(alpha >= 0 && alpha <= 1)) {
            throw new IllegalArgumentException("smoothquant: alpha " + alpha + " must be in [0, 1]");
        }
    }

    /** O1, the most accurate: each token its own scale. {@code SmoothQuant.o1().alpha(0.6).build()}. */
    public static Builder o1() {
        return new Builder(ActivationScale.PER_TOKEN);
    }

    /** O2: one scale for all tokens, taken while computing. */
    public static Builder o2() {
        return new Builder(ActivationScale.PER_TENSOR);
    }

    /** O3, the cheapest: one scale from calibration. */
    public static Builder o3() {
        return new Builder(ActivationScale.STATIC);
    }

    /** Collects the options; {@link #build} checks them. */
    public static final class Builder {
        private final ActivationScale activations;
        private double alpha = 0.5;
        private final Map<String, Double> alphas = new LinkedHashMap<>();
        private boolean search;
        private boolean inner;

        private Builder(ActivationScale activations) {
            this.activations = activations;
        }

        /** The alpha of all junctions; 0.5 if not given. */
        public Builder alpha(double a) {
            alpha = a;
            return this;
        }

        /** Another alpha for junctions whose first reader's path fits. */
        public Builder alphaOf(String pathRegex, double a) {
            alphas.put(pathRegex, a);
            return this;
        }

        /** Searches alpha for each junction. */
        public Builder search() {
            search = true;
            return this;
        }

        /** Folds into values and up too. */
        public Builder inner() {
            inner = true;
            return this;
        }

        /** The checked configuration. */
        public SmoothQuant build() {
            return new SmoothQuant(alpha, alphas, search, inner, activations);
        }
    }

    // ---------------------------------------------------------------- the method

    @Override
    public PostReport apply(Module root, Predicate<String> which, Runnable forward, LayerWatch watch) {
        Map<String, Linear> layers = ChosenLayers.of(root, which);
        Folds folds = new Folds(layers, Calibration.capture(root, which, Calibration.Options.SAMPLES, forward));
        folds.watched(watch, folds.of(Junction.find(root, inner)).size());
        Map<String, String> notes = smooth(root, folds);
        return folds.quantise("smoothquant " + level() + " W8A8", notes, (linear, x) -> {
            UniformMatrix w =
                    Rounding.nearest(linear.weight().matrix(), Grid.bits(8).symmetrical());
            float largest = activations == ActivationScale.STATIC ? Math.max(LEAST, folds.maxAbs(linear.path())) : 0;
            return new W8A8Linear(w, activations, largest);
        });
    }

    /** Only smooths: the model stays in floats and computes what it computed, within rounding. Gives back each layer's alpha. */
    public Map<String, String> smooth(Module root, Calibration seen) {
        Map<String, Linear> layers = ChosenLayers.of(root, seen.layers()::containsKey);
        return smooth(root, new Folds(layers, seen));
    }

    private Map<String, String> smooth(Module root, Folds folds) {
        Map<String, String> notes = new HashMap<>();
        List<Junction> junctions = folds.of(Junction.find(root, inner));
        if (junctions.isEmpty()) {
            throw new IllegalArgumentException("smoothquant: no norm of the model feeds the chosen layers: there is"
                    + " nothing a scale could be folded into");
        }
        alphas.keySet().forEach(regex -> {
            if (junctions.stream().noneMatch(j -> fits(regex, j))) {
                throw new IllegalArgumentException("smoothquant: no junction fits " + regex + "; the first is "
                        + junctions.getFirst().name());
            }
        });
        for (Junction j : junctions) {
            LayerInputs inputs = folds.inputs(j.name());
            double a = search ? best(j, inputs) : alphaOf(j);
            folds.fold(j, scales(j, inputs, a));
            j.readers().keySet().forEach(path -> notes.put(path, String.format(Locale.ROOT, "alpha %.2f", a)));
        }
        return notes;
    }

    private double alphaOf(Junction j) {
        return alphas.entrySet().stream()
                .filter(e -> fits(e.getKey(), j))
                .map(Map.Entry::getValue)
                .findFirst()
                .orElse(alpha);
    }

    private static boolean fits(String regex, Junction j) {
        return Pattern.compile(regex).matcher(j.name()).find();
    }

    private String level() {
        return "O" + (activations.ordinal() + 1);
    }

    /** s of a junction for this alpha: one for each channel of its source, from the largest weight of all readers. */
    public static float[] scales(Junction j, LayerInputs inputs, double alpha) {
        float[] x = j.largest(inputs.maxAbs()), w = new float[j.in()];
        for (Linear reader : j.readers().values()) {
            Matrix m = reader.weight().matrix();
            for (int i = 0; i < m.rows(); i++) {
                float[] row = Rounding.row(m, i);
                for (int c = 0; c < w.length; c++) {
                    w[c] = Math.max(w[c], Math.abs(row[c]));
                }
            }
        }
        w = j.largest(w);
        float[] s = new float[x.length];
        for (int c = 0; c < s.length; c++) {
            s[c] = Math.max(LEAST, (float) (Math.pow(x[c], alpha) / Math.pow(Math.max(w[c], LEAST), 1 - alpha)));
        }
        return s;
    }

    /** The alpha with the least squared error of the integer products, summed over the readers. */
    private double best(Junction j, LayerInputs inputs) {
        double least = Double.POSITIVE_INFINITY, best = alpha;
        for (int i = 0; i <= SEARCH_STEPS; i++) {
            double a = (double) i / SEARCH_STEPS, error = 0;
            float[] columns = j.columns(scales(j, inputs, a));
            for (Linear reader : j.readers().values()) {
                error += error(reader.weight().matrix(), inputs.samples(), columns);
            }
            if (error < least) {
                least = error;
                best = a;
            }
        }
        return best;
    }

    private double error(Matrix w, Tensor x, float[] s) {
        try (Arena arena = Arena.ofShared();
                var _ = Memory.scope();
                var _ = Tape.pause()) {
            Tensor smooth = Tensor.like(x);
            float largest = 0;
            for (long i = 0; i < x.size(); i++) {
                float v = x.get(i) / s[(int) (i % s.length)];
                smooth.buf().setAtIndex(ValueLayout.JAVA_FLOAT, i, v);
                largest = Math.max(largest, Math.abs(v));
            }
            Matrix scaled = Scaling.columns(w, s, arena).matrix();
            W8A8Linear after = new W8A8Linear(
                    Rounding.nearest(scaled, Grid.bits(8).symmetrical()),
                    activations,
                    activations == ActivationScale.STATIC ? Math.max(LEAST, largest) : 0);
            double e = new LayerReport.Measured(scaled, smooth, after).error();
            return e * e;
        }
    }
}
