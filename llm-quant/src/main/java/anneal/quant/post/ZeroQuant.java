package anneal.quant.post;

import anneal.kernels.Matrix;
import anneal.nn.DenseWeight;
import anneal.nn.LayerWatch;
import anneal.nn.Linear;
import anneal.nn.Module;
import anneal.nn.SubLayer;
import anneal.nn.Weight;
import anneal.quant.calibrate.Calibration;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.Predicate;

/**
 * Fine-grained integers without smoothing: weights with a scale for each group of columns, inputs with a scale for each token, both
 * symmetric, multiplied as integers; and layer-by-layer distillation for few bits.
 *
 * <p>Yao et al., arXiv:2206.01861. As in the paper's W4/8, some layers may have fewer bits than others.
 * The paper cuts a matrix into a fixed number of groups of rows; here a group is neighbouring columns of one row, as in later work.
 *
 * @param widths bits of weights, 2 to 8
 * @param group columns that share a scale, a multiple of 8, or {@link Grid#PER_ROW}
 * @param distillation how blocks are trained while they are quantised, or null: not at all
 */
public record ZeroQuant(BitWidths widths, int group, LayerDistillation distillation) implements PostTraining {
    public ZeroQuant {
        grid(widths.bits(), group);
        grid(widths.few(), group);
        if (group < 0 || group % 8 != 0) {
            throw new IllegalArgumentException(
                    "zeroquant: group " + group + " must be a multiple of 8 columns, or PER_ROW");
        }
    }

    /** Bits of attention and of feed-forward layers. */
    public ZeroQuant(int bits, int feedForwardBits, int group, LayerDistillation distillation) {
        this(new BitWidths.FeedForwards(bits, feedForwardBits), group, distillation);
    }

    /** W8A8 without distillation. */
    public static ZeroQuant w8a8(int group) {
        return new ZeroQuant(8, 8, group, null);
    }

    /** 8 bits for attention, 4 for feed-forward layers, with distillation: the paper's W4/8A8 with LKD. */
    public static ZeroQuant mixed(int group, LayerDistillation distillation) {
        return new ZeroQuant(8, 4, group, distillation);
    }

    private static Grid grid(int bits, int group) {
        return new Grid(bits, group, true);
    }

    @Override
    public PostReport apply(Module root, Predicate<String> which, Runnable forward, LayerWatch watch) {
        Map<String, Linear> layers = ChosenLayers.of(root, which);
        layers.forEach((path, l) ->
                ChosenLayers.at(path, () -> grid(widths.few(), group).groupSize(l.in())));
        Folds folds = new Folds(layers, Calibration.capture(root, which, Calibration.Options.SAMPLES, forward));
        Map<String, Grid> grids = new LinkedHashMap<>();
        widths.of(root, layers, path -> error(layers.get(path), folds.samples(path)))
                .forEach((path, bits) -> grids.put(path, grid(bits, group)));
        Run run = new Run(layers, grids, forward);
        folds.watched(watch, distillation == null ? 0 : layers.size());
        if (distillation != null) {
            run.distil(root, folds);
        }
        return folds.quantise(
                "zeroquant W" + widths.bits() + (widths.few() == widths.bits() ? "" : "/" + widths.few()) + "A8"
                        + (distillation == null ? "" : " lkd"),
                run.notes,
                (linear, x) -> run.integers(linear));
    }

    /** Of the layer's output with few bits. */
    private double error(Linear layer, Tensor x) {
        Matrix w = layer.weight().matrix();
        return ChosenLayers.at(layer.path(), () -> {
            UniformMatrix codes = Rounding.nearest(w, grid(widths.few(), group));
            return new LayerReport.Measured(w, x, new W8A8Linear(codes, ActivationScale.PER_TOKEN, 0)).error();
        });
    }

    /** One application: floats that distillation has changed, by path. */
    private final class Run {
        private final Map<String, Linear> layers;
        private final Map<String, Grid> grids;
        private final Runnable forward;
        private final Map<String, Tensor> trained = new HashMap<>();
        private final Map<String, String> notes = new HashMap<>();

        Run(Map<String, Linear> layers, Map<String, Grid> grids, Runnable forward) {
            this.layers = layers;
            this.grids = grids;
            this.forward = forward;
        }

        void distil(Module root, Folds folds) {
            List<Module> blocks = LayerDistillation.blocks(root);
            if (blocks.isEmpty()) {
                throw new IllegalArgumentException("zeroquant: the model has no blocks of sub-layers to distil");
            }
            List<Tensor> frozen = List.copyOf(root.trainable().values());
            frozen.forEach(p -> p.trainable(false));
            try (Relay relay = new Relay(root, forward)) {
                blocks.forEach(block -> train(block, relay, folds));
            } finally {
                frozen.forEach(p -> p.trainable(true));
            }
        }

        /** Trains the chosen layers of a block; it has its own weights again afterwards, for the report and for the blocks behind. */
        private void train(Module block, Relay relay, Folds folds) {
            Map<String, Linear> own = new LinkedHashMap<>(layers);
            own.keySet().removeIf(path -> !path.startsWith(block.path() + "."));
            if (own.isEmpty()) {
                return;
            }
            Map<String, Weight> originals = new LinkedHashMap<>();
            own.forEach((path, l) -> originals.put(path, l.weight()));
            List<SubLayer> parts = LayerDistillation.subLayers(block);
            Runnable pass = () -> relay.through(parts.getFirst(), parts.getLast());
            try (Arena arena = Arena.ofShared()) {
                List<Tensor> teacher = LayerDistillation.outputs(block, pass, arena);
                own.forEach((path, l) -> {
                    Tensor floats = DenseWeight.copy(l.weight().matrix(), Arena.ofAuto())
                            .tensor()
                            .trainable(true);
                    trained.put(path, floats);
                    l.weight(new QuantAwareWeight(floats, grids.get(path), true));
                });
                List<Tensor> weights = own.keySet().stream().map(trained::get).toList();
                LayerDistillation.Outcome o = distillation.train(block, weights, teacher, pass);
                weights.forEach(w -> w.trainable(false));
                own.keySet().forEach(folds::step);
                own.keySet()
                        .forEach(path ->
                                notes.put(path, String.format(Locale.ROOT, "lkd %.3e -> %.3e", o.first(), o.last())));
            } finally {
                own.forEach((path, l) -> l.weight(originals.get(path)));
            }
        }

        Weight integers(Linear linear) {
            Tensor floats = trained.get(linear.path());
            Matrix w = floats != null
                    ? new DenseWeight(floats).matrix()
                    : linear.weight().matrix();
            UniformMatrix codes = Rounding.nearest(w, grids.get(linear.path()));
            return new W8A8Linear(codes, ActivationScale.PER_TOKEN, 0);
        }
    }
}
