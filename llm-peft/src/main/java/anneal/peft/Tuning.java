package anneal.peft;

import anneal.nn.LayerWatch;
import anneal.nn.Module;
import anneal.nn.Trainable;
import anneal.tensor.Rng;
import anneal.tensor.Tensor;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** What a {@link Method} has put into one model: the places that it changes, and the tensors that are trained for them. */
interface Tuning extends Trainable {
    /**
     * A method's part of a model, not plugged in yet.
     *
     * @param everyName true: made new, and each target name must fit a module; false: a file will fill it, and it is enough if one
     *     name fits
     */
    static Tuning of(Method method, Module root, boolean everyName) {
        return switch (method) {
            case AdaLora adaLora -> AdaLoraTuning.of(adaLora, root, everyName);
            case Lora lora -> LoraTuning.of(lora, root, everyName);
            case Ia3 ia3 -> LinearTuning.of(ia3.targets().find(root, everyName), (p, l) -> new Ia3Layer(l, ia3, p));
            case LoHa loHa ->
                LinearTuning.of(loHa.targets().find(root, everyName), (p, l) -> new LoHaLayer(l, loHa, p));
            case LoKr loKr ->
                LinearTuning.of(loKr.targets().find(root, everyName), (p, l) -> new LoKrLayer(l, loKr, p));
            case Vera vera -> VeraTuning.of(vera, root, everyName);
            case Osf osf -> osf.tuning(root, everyName);
            case LnTuning ln -> ln.tuning(root, everyName);
            case BitFit bitFit -> bitFit.tuning(root, everyName);
            case Lisa lisa -> LisaTuning.of(lisa, root);
            case LastLayers last -> last.tuning(root);
            case TrainableTokens tokens -> TokensTuning.of(tokens, root, everyName);
            case PrefixTuning prefix -> PrefixInModel.of(prefix, root, everyName);
            case PromptTuning prompt -> PromptInModel.of(prompt, root);
            case PTuning prompt -> PromptInModel.of(prompt, root, everyName);
            case Bottleneck bottleneck -> new BottleneckTuning(bottleneck, root);
        };
    }

    /** A module has an adapter where another one was to be put. */
    static IllegalArgumentException occupied(String path) {
        return new IllegalArgumentException(
                "attach: " + path + " already has an adapter; several adapters in one model are an AdapterSet");
    }

    /** What is trained, by its name in the file without the prefix. */
    @Override
    Map<String, Tensor> parameters();

    /** What the file holds, by the same names; more than {@link #parameters} where a method needs frozen numbers too. */
    default Map<String, Tensor> stored() {
        return parameters();
    }

    /** What the file holds for the model as a whole, under names that do not begin with a path in the model. */
    default Map<String, Tensor> shared() {
        return Map.of();
    }

    /** Gives everything that is trained its first numbers. */
    void init(Rng rng);

    /** Before numbers are read from a file: what a file does not hold is derived from the model. */
    default void derive() {}

    /** Itself if all that it changes is what linear layers compute, each by an adapter; such tunings can stand together. */
    default Optional<LinearTuning> atLayers() {
        return Optional.empty();
    }

    /** Paths of the modules that are changed. */
    List<String> paths();

    /** Puts it into the model, or takes it out. */
    void plug(boolean in);

    /**
     * Makes the changes part of the weights and takes itself out.
     *
     * @param watch told of each layer that is merged
     * @return formats of the weights that became floats in memory for it
     */
    default List<String> merge(LayerWatch watch) {
        throw new UnsupportedOperationException(
                "merge: this method changes no weights, so it cannot become part of them");
    }

    /**
     * Makes the changes part of the weights, each in its own storage format where that can be written, and takes itself out.
     *
     * @param watch told of each layer that is merged
     * @return what became of each matrix
     */
    default List<MergeReport.Layer> mergeStored(LayerWatch watch) {
        throw new UnsupportedOperationException(
                "merge: this method changes no weights, so it cannot become part of them");
    }

    /** Puts the weights back, bit for bit, and itself in. */
    default void unmerge() {
        throw new UnsupportedOperationException("unmerge: this method changes no weights");
    }
}
