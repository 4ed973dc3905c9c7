package anneal.peft;

import anneal.nn.Module;
import java.util.List;
import java.util.Objects;

/**
 * Prompt tuning: P trained vectors in front of the token vectors, and nothing else. Lester et al., arXiv:2104.08691.
 *
 * <pre>
 * x = [E; embedding[ids]]                               E [P, D]
 * </pre>
 *
 * <p>The vectors take positions 0 .. P-1. A fresh prompt is no identity: it reads like P words in front of the text. In PEFT, the
 * last vector is trained to predict the first token if that has a label; here, as without a prompt, nothing predicts it.
 *
 * @param virtualTokens P
 * @param init how the vectors start
 * @param baseModel name or path of the base model, written into the file for its readers; may be null
 */
public record PromptTuning(int virtualTokens, Init init, String baseModel) implements Method {
    /**
     * A rate to start from with AdamW: ten times the 2e-4 of LoRA on GPT-2 (Hu et al., arXiv:2106.09685, table 11), since a prompt has
     * few numbers and moves on its own. Lester et al. (2021) use 0.3, with Adafactor; PEFT's examples 1e-3 to 3e-2.
     */
    public static final double LEARNING_RATE = 2e-3;

    /** How the vectors start. */
    public sealed interface Init {
        /** N(0, 1), PEFT's default. Mostly far from all vectors that the model knows: the slowest start of the three. */
        record Random() implements Init {}

        /** Those of tokens drawn from the vocabulary, with repetition. */
        record SampledVocabulary() implements Init {}

        /**
         * Those of a text's tokens, repeated or cut to P.
         *
         * @param text written into the file
         * @param tokenizer its name or path, written into the file, where PEFT insists on it
         * @param ids the tokens; empty only for what is read from a file, which does not hold them
         */
        record Text(String text, String tokenizer, List<Integer> ids) implements Init {
            public Text {
                Objects.requireNonNull(text, "text");
                Objects.requireNonNull(tokenizer, "tokenizer");
                ids = List.copyOf(ids);
            }
        }
    }

    public PromptTuning {
        PrefixTuning.requireTokens("PromptTuning", virtualTokens);
        Objects.requireNonNull(init, "init");
    }

    /** Begins a configuration: {@code PromptTuning.tokens(20).attach(model)}. */
    public static Builder tokens(int virtualTokens) {
        return new Builder(virtualTokens);
    }

    /** Collects the options; {@link #build} checks them. */
    public static final class Builder {
        private final int virtualTokens;
        private Init init = new Init.SampledVocabulary();
        private String baseModel;

        private Builder(int virtualTokens) {
            this.virtualTokens = virtualTokens;
        }

        /** How the vectors start; sampled from the vocabulary if not given. */
        public Builder init(Init i) {
            init = i;
            return this;
        }

        /** Starts from the tokens of a text: see {@link Init.Text}. */
        public Builder text(String text, String tokenizer, Integer... ids) {
            return init(new Init.Text(text, tokenizer, List.of(ids)));
        }

        /** Name or path of the base model, for the readers of the file. */
        public Builder baseModel(String name) {
            baseModel = name;
            return this;
        }

        /** The configuration. */
        public PromptTuning build() {
            return new PromptTuning(virtualTokens, init, baseModel);
        }

        /** {@link #build}, then {@link Method#attach(Module)}. */
        public Adapters attach(Module root) {
            return build().attach(root);
        }

        /** {@link #build}, then {@link Method#attach(Module, long)}. */
        public Adapters attach(Module root, long seed) {
            return build().attach(root, seed);
        }
    }
}
