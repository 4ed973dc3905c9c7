package anneal.quant.post;

import anneal.nn.Linear;
import anneal.nn.Module;
import anneal.quant.calibrate.Layers;
import java.util.Map;
import java.util.Set;
import java.util.function.Predicate;
import java.util.function.Supplier;

/** The layers a method is applied to, and complaints with their names. */
final class ChosenLayers {
    /** Storage that is not quantised. */
    private static final Set<String> FLOATS = Set.of("F64", "F32", "F16", "BF16");

    private ChosenLayers() {}

    /** The layers by path, none of which may be quantised already: rounding twice adds both errors and hides the first. */
    static Map<String, Linear> of(Module root, Predicate<String> which) {
        Map<String, Linear> layers = Layers.of(root, which);
        layers.forEach((path, l) -> {
            if (!FLOATS.contains(l.weight().format())) {
                throw new IllegalArgumentException("quantise: " + path + " is stored as "
                        + l.weight().format() + " already; quantise from the original weights");
            }
        });
        return layers;
    }

    /** Runs a step for one layer; what it complains about gets the layer's name. */
    static <T> T at(String path, Supplier<T> step) {
        try {
            return step.get();
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException(e.getMessage() + " (at " + path + ")", e);
        }
    }
}
