package anneal.quant.post;

import anneal.nn.DenseWeight;
import anneal.nn.Linear;
import anneal.nn.Module;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.Predicate;

/**
 * Quantisation-aware training: layers compute with rounded weights, and inputs if wanted, while their floats are trained, so that the
 * model learns to live with the rounding. {@link #prepare}, train what it gives back with the ordinary trainer, {@link #finish}.
 *
 * <p>Gradients pass the rounding unchanged (straight-through). Weights stored as [in, out] become [out, in].
 *
 * @param grid of the weights; symmetric if inputs are rounded too
 * @param tokens whether inputs are rounded to 8 bits a token, and layers become {@link W8A8Linear} in the end
 */
public record QuantAware(Grid grid, boolean tokens) {
    public QuantAware {
        if (tokens && !grid.symmetric()) {
            throw new IllegalArgumentException(
                    "QuantAware: the grid " + grid + " must be symmetric for products of integers");
        }
    }

    /** Freezes the model, gives the chosen layers of {@link anneal.quant.calibrate.Layers} trained floats, and names those. */
    public Map<String, Tensor> prepare(Module root, Predicate<String> which) {
        Map<String, Linear> layers = ChosenLayers.of(root, which);
        layers.values().forEach(l -> grid.groupSize(l.in()));
        root.freeze();
        Map<String, Tensor> trained = new LinkedHashMap<>();
        layers.forEach((path, l) -> {
            DenseWeight floats = DenseWeight.copy(l.weight().matrix(), Arena.ofAuto());
            l.weight(new QuantAwareWeight(floats.tensor().trainable(true), grid, tokens));
            trained.put(path + ".weight", floats.tensor());
        });
        return trained;
    }

    /** Makes integers of all layers that were prepared. */
    public void finish(Module root) {
        root.find(Linear.class).values().forEach(l -> {
            if (l.weight() instanceof QuantAwareWeight w) {
                l.weight(w.finished());
            }
        });
    }
}
