package anneal.peft;

import anneal.nn.Linear;
import anneal.nn.Module;
import anneal.nn.Norm;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;

/**
 * BitFit: only biases are trained, those of linear layers and of norms.
 *
 * <pre>
 * y = x Wt + bias'          bias' [out], at first the layer's own
 * </pre>
 *
 * <p>Ben Zaken et al., arXiv:2106.10199. PEFT has no such method: the file is of a type of ours, "BITFIT", with the biases under their own
 * names, so that a reader of plain weights needs to drop no more than the prefix.
 *
 * @param targets modules whose bias is trained; null for every module that has one
 * @param baseModel name or path of the base model, written into the file for its readers; may be null
 */
public record BitFit(Targets targets, String baseModel) implements Method {
    /** A rate to begin with under AdamW: ours, fifty times that of {@link LastLayers}, since biases are few and move alone. */
    public static final double LEARNING_RATE = 1e-3;

    /** Every bias of the model. */
    public static BitFit everywhere() {
        return new BitFit(null, null);
    }

    /** Begins a configuration: {@code BitFit.at("c_attn", "c_fc").attach(model)}. */
    public static Builder at(String... moduleNames) {
        return new Builder().on(moduleNames);
    }

    CopyTuning tuning(Module root, boolean everyName) {
        Map<String, Linear> linears = root.find(Linear.class);
        Map<String, Norm> norms = root.find(Norm.class);
        linears.values().removeIf(l -> l.bias() == null);
        norms.values().removeIf(n -> n.own().bias() == null);
        if (linears.isEmpty() && norms.isEmpty()) {
            throw new IllegalArgumentException(
                    "BitFit: the model has no biases to train, as those of the LLaMA family have none;"
                            + " LnTuning trains about as few parameters");
        }
        if (targets != null) {
            Set<String> biased = new TreeSet<>(linears.keySet());
            biased.addAll(norms.keySet());
            targets.names().stream()
                    .filter(name -> everyName && biased.stream().noneMatch(path -> Targets.named(path, name)))
                    .findFirst()
                    .ifPresent(name -> {
                        throw noBias(name, biased);
                    });
            linears.keySet().removeIf(path -> !targets.fits(path));
            norms.keySet().removeIf(path -> !targets.fits(path));
            if (linears.isEmpty() && norms.isEmpty()) {
                throw noBias(targets.regex() == null ? String.join(", ", targets.names()) : targets.regex(), biased);
            }
        }
        return new CopyTuning(linears, norms, CopyTuning.Part.BIAS, "");
    }

    private static IllegalArgumentException noBias(String name, Set<String> biased) {
        return new IllegalArgumentException(
                "BitFit: no module with a bias fits " + name + "; there are " + Targets.describe(biased));
    }

    /** Collects the options; {@link #build} checks them. */
    public static final class Builder extends MethodBuilder<Builder> {
        private Builder() {}

        @Override
        Builder self() {
            return this;
        }

        @Override
        public BitFit build() {
            return new BitFit(targets(), baseModel());
        }
    }
}
