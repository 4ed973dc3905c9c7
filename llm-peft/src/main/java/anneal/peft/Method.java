package anneal.peft;

import anneal.nn.Module;
import java.nio.file.Path;
import java.util.List;

/**
 * A parameter-efficient way to fine-tune: the options, as a record. What it puts into a model is a {@link Tuning}, how it stands in
 * PEFT's files an {@link AdapterFile}.
 */
public sealed interface Method
        permits Lora,
                AdaLora,
                Ia3,
                LoHa,
                LoKr,
                Vera,
                Osf,
                LnTuning,
                BitFit,
                LastLayers,
                Lisa,
                TrainableTokens,
                PrefixTuning,
                PromptTuning,
                PTuning,
                Bottleneck {
    /**
     * The method and the options of an adapter_config.json, to train new adapters by; {@link Adapters#load} is for those that are
     * trained. Keys that stand for numbers of a finished adapter are options too: AdaLoRA's rank_pattern keeps those ranks.
     *
     * @param task what the model is for, in PEFT's words: "CAUSAL_LM", or "SEQ_CLS" if it has a head to classify with
     * @param baseModel name or path of the model at hand, in place of the one in the file
     * @throws IllegalArgumentException if the file is of no method that there is, or has options that are not supported: names them
     */
    static Method read(Path file, String task, String baseModel) {
        return AdapterFile.read(file, task, baseModel);
    }

    /** Name or path of the base model, written into the file for its readers; may be null. */
    String baseModel();

    /** Names of the linear layers and embeddings that are trained and saved whole beside it. */
    default List<String> modulesToSave() {
        return List.of();
    }

    /** Freezes the model and adds what is trained; the seed decides how it starts. */
    default Adapters attach(Module root, long seed) {
        return Adapters.attach(this, root, seed);
    }

    /** Freezes the model and adds what is trained. */
    default Adapters attach(Module root) {
        return attach(root, 0);
    }
}
