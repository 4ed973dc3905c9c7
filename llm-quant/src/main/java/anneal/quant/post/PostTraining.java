package anneal.quant.post;

import anneal.nn.Linear;
import anneal.nn.Module;
import anneal.quant.calibrate.Layers;
import java.util.Map;
import java.util.Set;
import java.util.function.Predicate;

/** A method that quantises a trained model with nothing but some text. */
public sealed interface PostTraining permits Rtn, Gptq, Awq, SmoothQuant, ZeroQuant {
    /**
     * Quantises the layers of {@link Layers}: exchanges the storage of each.
     *
     * @param forward runs the model over the calibration text, each window in a memory scope of its own; may be called several
     *     times and must do the same each time
     * @throws IllegalArgumentException if a layer is quantised already, holds numbers that are not finite, or does not fit the
     *     groups; layers done before it stay done
     */
    default PostReport apply(Module root, Runnable forward) {
        return apply(root, path -> true, forward);
    }

    /** Quantises the layers among them whose path is wanted. */
    PostReport apply(Module root, Predicate<String> which, Runnable forward);

    /** The layers, none of which may be quantised already: rounding twice adds both errors and hides the first. */
    static Map<String, Linear> layers(Module root, Predicate<String> which) {
        Map<String, Linear> layers = Layers.of(root, which);
        layers.forEach((path, l) -> {
            if (!FLOATS.contains(l.weight().format())) {
                throw new IllegalArgumentException("quantise: " + path + " is stored as "
                        + l.weight().format() + " already; quantise from the original weights");
            }
        });
        return layers;
    }

    /** Storage that is not quantised. */
    Set<String> FLOATS = Set.of("F64", "F32", "F16", "BF16");

    /** Runs a step for one layer; what it complains about gets the layer's name. */
    static <T> T at(String path, java.util.function.Supplier<T> step) {
        try {
            return step.get();
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException(e.getMessage() + " (at " + path + ")", e);
        }
    }
}
