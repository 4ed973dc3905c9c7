package anneal.peft;

import anneal.nn.Module;
import java.util.Objects;

/**
 * P-tuning: as {@link PromptTuning}, but the vectors come from a small network, which ties them to one another. Liu et al.,
 * arXiv:2103.10385.
 *
 * <pre>
 * MLP:  E = W3 relu(W2 relu(W1 E'))                     E' [P, D], W1 [H, D], W2 [H, H], W3 [D, H], biases not shown
 * LSTM: E = W2 relu(W1 [lstm(E') | lstm backwards(E')])  W1 [2 H, 2 H], W2 [D, 2 H]
 * </pre>
 *
 * <p>As in PEFT, a file holds E, not the network: what is loaded trains on as plain vectors. A fresh prompt is no identity.
 *
 * @param virtualTokens P
 * @param encoder the network
 * @param hiddenSize H; 0 = the model's
 * @param layers of the LSTM; an MLP has always three matrices, and PEFT's 2 here
 * @param dropout between the layers of the LSTM while training; 0 for an MLP, where PEFT has none either
 * @param baseModel name or path of the base model, written into the file for its readers; may be null
 */
public record PTuning(int virtualTokens, Encoder encoder, int hiddenSize, int layers, double dropout, String baseModel)
        implements Method {
    /** What PEFT's "encoder_num_layers" is when nobody sets it. */
    static final int USUAL_LAYERS = 2;

    /** A rate to start from with AdamW: that of PEFT's example of P-tuning (sequence classification). */
    public static final double LEARNING_RATE = 1e-3;

    /** The network that makes the vectors. */
    public enum Encoder {
        /** Three matrices with ReLU between them: PEFT's default. */
        MLP,
        /** A bidirectional LSTM, then two matrices: the one of the paper. */
        LSTM
    }

    public PTuning {
        PrefixTuning.requireTokens("PTuning", virtualTokens);
        Objects.requireNonNull(encoder, "encoder");
        if (hiddenSize < 0) {
            throw new IllegalArgumentException(
                    "PTuning: hidden size " + hiddenSize + " must be positive, or 0 for the model's");
        }
        if (layers < 1) {
            throw new IllegalArgumentException("PTuning: " + layers + " layers, must be at least 1");
        }
        if (!(dropout >= 0 && dropout < 1)) {
            throw new IllegalArgumentException("PTuning: dropout " + dropout + " must be in [0, 1)");
        }
        if (encoder == Encoder.MLP && (layers != USUAL_LAYERS || dropout != 0)) {
            throw new IllegalArgumentException("PTuning: the MLP has a fixed depth and no dropout, so layers " + layers
                    + " and dropout " + dropout + " would change nothing; leave them out or take the LSTM");
        }
        if (layers == 1 && dropout > 0) {
            throw new IllegalArgumentException(
                    "PTuning: dropout " + dropout + " acts between layers of the LSTM, and there is only one");
        }
    }

    /** Begins a configuration: {@code PTuning.tokens(20).attach(model)}. */
    public static Builder tokens(int virtualTokens) {
        return new Builder(virtualTokens);
    }

    /** Collects the options; {@link #build} checks them. */
    public static final class Builder {
        private final int virtualTokens;
        private Encoder encoder = Encoder.MLP;
        private int hiddenSize;
        private int layers = USUAL_LAYERS;
        private double dropout;
        private String baseModel;

        private Builder(int virtualTokens) {
            this.virtualTokens = virtualTokens;
        }

        /** The network. */
        public Builder encoder(Encoder e) {
            encoder = e;
            return this;
        }

        /** Hidden size of the network; the model's if not given. */
        public Builder hiddenSize(int h) {
            hiddenSize = h;
            return this;
        }

        /** Layers of the LSTM; 2 if not given. */
        public Builder layers(int n) {
            layers = n;
            return this;
        }

        /** Dropout between the layers of the LSTM. */
        public Builder dropout(double p) {
            dropout = p;
            return this;
        }

        /** Name or path of the base model, for the readers of the file. */
        public Builder baseModel(String name) {
            baseModel = name;
            return this;
        }

        /** The configuration. */
        public PTuning build() {
            return new PTuning(virtualTokens, encoder, hiddenSize, layers, dropout, baseModel);
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
