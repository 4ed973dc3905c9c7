package anneal.quant.post;

import anneal.nn.Module;
import java.util.function.Predicate;

/** A method that quantises a trained model with nothing but some text. */
public sealed interface PostTraining permits Rtn, Gptq, Awq, SmoothQuant, ZeroQuant {
    /**
     * Quantises the layers of {@link anneal.quant.calibrate.Layers}: exchanges the storage of each.
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
}
