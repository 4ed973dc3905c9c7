package anneal.peft;

import java.util.List;

/**
 * IA3, infused adapter by inhibiting and amplifying inner activations: one trained factor for each output of a layer, or, in
 * feed-forward modules, for each input.
 *
 * <pre>
 * y = (x Wt + bias) * l           l [out, 1]
 * y = (x * l) Wt + bias           l [1, in], in feed-forward modules
 * </pre>
 *
 * <p>Factors start at one, so a fresh adapter changes nothing. Liu et al., arXiv:2205.05638, who put them at keys, values and the input
 * of the last feed-forward layer. Options, matching rules and files are those of PEFT's IA3Config.
 *
 * @param targets layers that get factors
 * @param feedForward those among the targets whose input is scaled: a path fits that ends with one of these, as PEFT has it
 * @param feedForwardRegex the same as a regular expression for the whole path, or null
 * @param random factors start as standard normal numbers: not an identity, for tests
 * @param modulesToSave linear layers and embeddings that are trained and saved whole
 * @param baseModel name or path of the base model, written into the file for its readers; may be null
 */
public record Ia3(
        Targets targets,
        List<String> feedForward,
        String feedForwardRegex,
        boolean random,
        List<String> modulesToSave,
        String baseModel)
        implements Method {
    /** A rate to begin with under AdamW: that of the authors' configuration of T-Few (with Adafactor), about ten times LoRA's. */
    public static final double LEARNING_RATE = 3e-3;

    public Ia3 {
        feedForward = List.copyOf(feedForward);
        modulesToSave = List.copyOf(modulesToSave);
        if (feedForwardRegex != null) {
            Targets.pattern(feedForwardRegex);
            if (!feedForward.isEmpty()) {
                throw new IllegalArgumentException("Ia3: give the feed-forward modules " + feedForward
                        + " or the regular expression " + feedForwardRegex + ", not both");
            }
        }
        if (targets.regex() == null && !targets.allLinear() && !targets.names().containsAll(feedForward)) {
            throw new IllegalArgumentException(
                    "Ia3: feed-forward modules " + feedForward + " must be among the targets " + targets.names());
        }
    }

    /** Begins a configuration: {@code Ia3.at("k_proj", "v_proj", "down_proj").feedForward("down_proj").attach(model)}. */
    public static Builder at(String... layerNames) {
        return new Builder().on(layerNames);
    }

    /** True if the layer with this path is scaled at its input. */
    boolean scalesInput(String path) {
        return feedForwardRegex != null
                ? Targets.pattern(feedForwardRegex).matcher(path).matches()
                : feedForward.stream().anyMatch(path::endsWith);
    }

    /** Collects the options; {@link #build} checks them. */
    public static final class Builder extends SavingBuilder<Builder> {
        private List<String> feedForward = List.of();
        private String feedForwardRegex;
        private boolean random;

        private Builder() {}

        /** Targets whose input is scaled. */
        public Builder feedForward(String... layerNames) {
            feedForward = List.of(layerNames);
            return this;
        }

        /** Targets whose input is scaled, by a regular expression for the whole path. */
        public Builder feedForwardMatching(String pathRegex) {
            feedForwardRegex = pathRegex;
            return this;
        }

        /** Factors that start at random. */
        public Builder random() {
            random = true;
            return this;
        }

        @Override
        Builder self() {
            return this;
        }

        @Override
        public Ia3 build() {
            return new Ia3(targets(), feedForward, feedForwardRegex, random, modulesToSave(), baseModel());
        }
    }
}
