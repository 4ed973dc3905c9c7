package anneal.peft;

import anneal.nn.Module;
import java.util.Objects;

/**
 * Prefix tuning: in every layer, P trained keys and values stand in front of those of the text. Li and Liang, arXiv:2101.00190.
 *
 * <pre>
 * [K0 V0 K1 V1 ...] = E                                 E [P, 2 L G K]: P virtual tokens, L layers, G kv-heads of size K
 *                   = W2 tanh(W1 E' + b1) + b2          with a projection: E' [P, G K], W1 [projection, G K]
 * attention(q, k, v) of layer l -> attention(q, [K_l; k], [V_l; v])
 * </pre>
 *
 * <p>The keys are not rotated, and the text's positions start at P. Under grouped-query attention the kv-heads set the width. As in
 * PEFT, a file holds E, not the projection: what is loaded trains on as a plain prefix.
 *
 * <p>A fresh prefix is no identity: softmax gives it a part of the weight. {@link Init#ZERO_VALUES} keeps the direction of every
 * head's output and only shortens it.
 *
 * @param virtualTokens P
 * @param projection hidden size of the projection; 0 = none
 * @param init how the prefix starts
 * @param baseModel name or path of the base model, written into the file for its readers; may be null
 */
public record PrefixTuning(int virtualTokens, int projection, Init init, String baseModel) implements Method {
    /**
     * A rate to start from with AdamW: that of PEFT's example of prefix tuning (sequence classification). With a projection less may
     * do: Li and Liang (2021) use 5e-5 to 8e-5 on GPT-2.
     */
    public static final double LEARNING_RATE = 1e-2;

    /**
     * Deviation of the keys of {@link Init#ZERO_VALUES}: large enough to tell them apart, too small to draw attention. On SmolLM2-135M
     * ten keys of 0 to 0.3 cost the same, of 1 six times as much.
     */
    static final double KEY_DEVIATION = 0.1;

    /** How a prefix starts. */
    public enum Init {
        /**
         * Keys N(0, 0.1^2), or by the layers of the projection, values zero: the output of a head is what it was, times the weight that
         * softmax leaves to the text. PEFT's init_weights = "zero", and so written, but PEFT has zero keys too: then all P rows get the
         * same gradient at every step, and the prefix stays one vector P times.
         */
        ZERO_VALUES,
        /** Everything random, as PEFT does it by default: N(0, 1), or by the layers of the projection. */
        RANDOM
    }

    public PrefixTuning {
        requireTokens("PrefixTuning", virtualTokens);
        if (projection < 0) {
            throw new IllegalArgumentException(
                    "PrefixTuning: projection " + projection + " must be a hidden size, or 0 for none");
        }
        Objects.requireNonNull(init, "init");
    }

    static void requireTokens(String method, int virtualTokens) {
        if (virtualTokens < 1) {
            throw new IllegalArgumentException(method + ": " + virtualTokens + " virtual tokens, must be at least 1");
        }
    }

    /** Begins a configuration: {@code PrefixTuning.tokens(20).attach(model)}. */
    public static Builder tokens(int virtualTokens) {
        return new Builder(virtualTokens);
    }

    /** Collects the options; {@link #build} checks them. */
    public static final class Builder {
        private final int virtualTokens;
        private int projection;
        private Init init = Init.ZERO_VALUES;
        private String baseModel;

        private Builder(int virtualTokens) {
            this.virtualTokens = virtualTokens;
        }

        /** Trains a small table behind a network with this hidden size in place of the prefix itself. */
        public Builder projection(int hiddenSize) {
            projection = hiddenSize;
            return this;
        }

        /** How the prefix starts. */
        public Builder init(Init i) {
            init = i;
            return this;
        }

        /** Name or path of the base model, for the readers of the file. */
        public Builder baseModel(String name) {
            baseModel = name;
            return this;
        }

        /** The configuration. */
        public PrefixTuning build() {
            return new PrefixTuning(virtualTokens, projection, init, baseModel);
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
