package anneal.quant.post;

import anneal.nn.LayerWatch;
import anneal.nn.Module;
import anneal.quant.FlatFloats;
import java.util.function.Predicate;

/** A method that quantises a trained model with nothing but some text. */
public sealed interface PostTraining permits Rtn, Gptq, Awq, SmoothQuant, ZeroQuant {
    /**
     * Complains of weights that no method can quantise, before minutes are spent on running the model.
     *
     * @throws IllegalArgumentException if a layer is quantised already or holds numbers that are not finite
     */
    static void requireQuantizable(Module root) {
        ChosenLayers.of(root, path -> true)
                .forEach((path, layer) -> ChosenLayers.at(path, () -> {
                    FlatFloats.requireFinite(layer.weight().matrix());
                    return path;
                }));
    }

    /** All layers, without a display: see {@link #apply(Module, Predicate, Runnable, LayerWatch)}. */
    default PostReport apply(Module root, Runnable forward) {
        return apply(root, path -> true, forward);
    }

    /** The layers among them whose path is wanted. */
    default PostReport apply(Module root, Predicate<String> which, Runnable forward) {
        return apply(root, which, forward, LayerWatch.NONE);
    }

    /**
     * Quantises the layers of {@link anneal.quant.calibrate.Layers}: exchanges the storage of each.
     *
     * @param which paths that are wanted
     * @param forward runs the model over the calibration text, each window in a memory scope of its own; may be called several
     *     times and must do the same each time
     * @param watch told of each step that takes time, a layer's or that of layers which share an input
     * @throws IllegalArgumentException if a layer is quantised already, holds numbers that are not finite, or does not fit the
     *     groups; layers done before it stay done
     */
    PostReport apply(Module root, Predicate<String> which, Runnable forward, LayerWatch watch);
}
