package anneal.peft;

import anneal.nn.Module;
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
