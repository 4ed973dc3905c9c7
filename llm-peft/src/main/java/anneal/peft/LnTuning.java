package anneal.peft;

import anneal.nn.Module;
import anneal.nn.Norm;
import java.util.List;
import java.util.Map;

/**
 * LN tuning: a trained copy of each norm's scale (and shift, where it has one) replaces it; nothing else is trained.
 *
 * <pre>
 * y = normalise(x) * w' + b'          w', b' [D], at first the norm's own
 * </pre>
 *
 * <p>Zhao et al., arXiv:2312.11420. Options, matching rules and files are those of PEFT's LNTuningConfig.
 *
 * @param targets norms that are trained; null for all of them
 * @param modulesToSave linear layers and embeddings that are trained and saved whole
 * @param baseModel name or path of the base model, written into the file for its readers; may be null
 */
public record LnTuning(Targets targets, List<String> modulesToSave, String baseModel) implements Method {
    /** A rate to begin with under AdamW: ours, ten times LoRA's usual 2e-4, as for {@link Ia3}, which trains factors near one too. */
    public static final double LEARNING_RATE = 2e-3;

    public LnTuning {
        modulesToSave = List.copyOf(modulesToSave);
    }

    /** Every norm of the model. */
    public static LnTuning everywhere() {
        return new LnTuning(null, List.of(), null);
    }

    /** Begins a configuration: {@code LnTuning.at("input_layernorm", "norm").attach(model)}. */
    public static Builder at(String... normNames) {
        return new Builder().on(normNames);
    }

    CopyTuning tuning(Module root, boolean everyName) {
        Map<String, Norm> norms =
                targets == null ? root.find(Norm.class) : targets.find(root, Norm.class, "norm", everyName);
        if (norms.isEmpty()) {
            throw new IllegalArgumentException("LnTuning: the model has no norms");
        }
        return new CopyTuning(Map.of(), norms, CopyTuning.Part.ALL, ".ln_tuning_layers");
    }

    /** Collects the options; {@link #build} checks them. */
    public static final class Builder extends SavingBuilder<Builder> {
        private Builder() {}

        @Override
        Builder self() {
            return this;
        }

        @Override
        public LnTuning build() {
            return new LnTuning(targets(), modulesToSave(), baseModel());
        }
    }
}
