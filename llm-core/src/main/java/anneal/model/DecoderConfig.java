package anneal.model;

import anneal.io.JsonObject;
import anneal.kernels.Activation;
import anneal.nn.RopeScaling;
import java.util.Arrays;
import java.util.Map;

/**
 * What a decoder looks like: sizes and options, read from config.json or GGUF metadata, or built for a model from scratch.
 *
 * @param family names of the parts, and which there are
 * @param vocabSize V
 * @param hiddenSize D
 * @param feedForwardSize F
 * @param layers number of blocks
 * @param heads query heads H, kv-heads G and their size K
 * @param contextLength longest sequence it was made for
 * @param normEps added to the mean square or the variance before the root
 * @param activation of the feed-forward network
 * @param tied the output projection is the embedding
 * @param biases which projections have one
 * @param windows sliding window of each layer, 0 = none
 * @param rotary rotary positions, or null for learnt ones
 * @param scaleScores scores are divided by sqrt(K)
 * @param scaleByLayer scores of layer i (from 1) are divided by i as well
 * @param dropouts while training
 * @param initRange standard deviation of fresh weights
 * @param tokens ids with a meaning
 */
public record DecoderConfig(
        Family family,
        int vocabSize,
        int hiddenSize,
        int feedForwardSize,
        int layers,
        Heads heads,
        int contextLength,
        double normEps,
        Activation activation,
        boolean tied,
        Biases biases,
        int[] windows,
        Rotary rotary,
        boolean scaleScores,
        boolean scaleByLayer,
        Dropouts dropouts,
        double initRange,
        SpecialTokens tokens) {

    /** Query heads H, kv-heads G, channels of each K. */
    public record Heads(int query, int kv, int dim) {}

    /** Which projections have a bias. */
    public record Biases(boolean queryKeyValue, boolean out, boolean feedForward) {}

    /** Rotary positions: base, rotated channels of a head, scaling. */
    public record Rotary(double theta, int channels, RopeScaling scaling) {}

    /** Probabilities after the embedding, at the end of each branch, on attention weights. */
    public record Dropouts(float embedding, float residual, float attention) {
        /** None. */
        public static final Dropouts NONE = new Dropouts(0, 0, 0);
    }

    /** Ids of begin and padding (-1 = none) and all that end a text. */
    public record SpecialTokens(int bos, int[] eos, int pad) {
        public SpecialTokens {
            eos = eos.clone();
        }
    }

    public DecoderConfig {
        requirePositive("vocab_size", vocabSize);
        requirePositive("hidden_size", hiddenSize);
        requirePositive("intermediate_size", feedForwardSize);
        requirePositive("num_hidden_layers", layers);
        requirePositive("num_attention_heads", heads.query);
        requirePositive("num_key_value_heads", heads.kv);
        requirePositive("head_dim", heads.dim);
        requirePositive("max_position_embeddings", contextLength);
        if (heads.query % heads.kv != 0) {
            throw new IllegalArgumentException("config: num_attention_heads " + heads.query
                    + " must be a multiple of num_key_value_heads " + heads.kv);
        }
        if (windows.length != layers) {
            throw new IllegalArgumentException("config: " + windows.length + " windows for " + layers + " layers");
        }
        if ((rotary == null) != (family.names().positions() != null)) {
            throw new IllegalArgumentException("config: " + family.modelType()
                    + (rotary == null ? " needs rotary positions" : " has learnt positions, not rotary ones"));
        }
        windows = windows.clone();
    }

    /** More blocks than any model has: a number beyond it is a damaged file, not a reason to fill the memory. */
    static final int MOST_LAYERS = 4096;

    /** Full attention in each layer. */
    static int[] noWindows(int layers) {
        if (layers > MOST_LAYERS) {
            throw new IllegalArgumentException(
                    "config: num_hidden_layers must be at most " + MOST_LAYERS + " but is " + layers);
        }
        return new int[Math.max(0, layers)];
    }

    private static void requirePositive(String key, int value) {
        if (value < 1) {
            throw new IllegalArgumentException("config: " + key + " must be positive but is " + value);
        }
    }

    /** Reads a config.json. */
    public static DecoderConfig of(JsonObject configJson) {
        return ConfigReader.read(configJson);
    }

    /** The config.json that transformers reads. */
    public Map<String, Object> toJson() {
        return ConfigWriter.write(this);
    }

    /** The same with other ids for begin, end and padding. */
    public DecoderConfig withTokens(SpecialTokens other) {
        return with(windows, heads, feedForwardSize, other);
    }

    /** The same with these blocks only, in this order, each with the window it has here. */
    public DecoderConfig withLayers(int... chosen) {
        return with(Arrays.stream(chosen).map(i -> windows[i]).toArray(), heads, feedForwardSize, tokens);
    }

    /** The same with other numbers of heads; their size must stay. */
    public DecoderConfig withHeads(Heads other) {
        return with(windows, other, feedForwardSize, tokens);
    }

    /** The same with feed-forward networks of another width. */
    public DecoderConfig withFeedForwardSize(int width) {
        return with(windows, heads, width, tokens);
    }

    private DecoderConfig with(int[] otherWindows, Heads otherHeads, int otherWidth, SpecialTokens otherTokens) {
        return new DecoderConfig(
                family,
                vocabSize,
                hiddenSize,
                otherWidth,
                otherWindows.length,
                otherHeads,
                contextLength,
                normEps,
                activation,
                tied,
                biases,
                otherWindows,
                rotary,
                scaleScores,
                scaleByLayer,
                dropouts,
                initRange,
                otherTokens);
    }

    /**
     * The longest sequence that can be computed; 0 = no limit, for rotary angles that grow with the length. A scaling by a
     * factor lengthens what the config gives, unless that is the lengthened one already.
     */
    public int limit() {
        return rotary == null
                ? contextLength
                : switch (rotary.scaling) {
                    case RopeScaling.Dynamic _ -> 0;
                    case RopeScaling.Linear l -> stretched(l.factor(), contextLength);
                    case RopeScaling.Yarn y -> stretched(y.factor(), y.original());
                    case RopeScaling.None _, RopeScaling.Llama3 _, RopeScaling.Factors _ -> contextLength;
                };
    }

    private int stretched(double factor, int original) {
        return (int) Math.max(contextLength, factor * original);
    }

    /** Number of parameters; a tied projection counts once. */
    public long parameterCount() {
        long[] count = {0};
        new Decoder(this, new WeightSource() {
            @Override
            public anneal.nn.Weight matrix(String name, int out, int in, Role role) {
                count[0] += (long) out * in;
                return new Absent(out, in);
            }

            @Override
            public anneal.tensor.Tensor vector(String name, int size, float fresh) {
                count[0] += size;
                return anneal.tensor.Tensor.empty(size);
            }
        });
        return count[0];
    }

    /** A config for a model from scratch; what is not set has the family's usual value. */
    public static Builder builder(Family family) {
        return new Builder(family);
    }

    /** Sets what differs from the usual. */
    public static final class Builder {
        private final Family family;
        private int vocabSize;
        private int hiddenSize;
        private int feedForwardSize;
        private int layers;
        private int heads;
        private int kvHeads;
        private int headDim;
        private int contextLength = 1024;
        private double normEps;
        private Activation activation;
        private boolean tied;
        private Biases biases;
        private int[] windows;
        private Rotary rotary;
        private double theta = 10_000;
        private boolean scaleScores = true;
        private boolean scaleByLayer;
        private Dropouts dropouts = Dropouts.NONE;
        private double initRange = 0.02;
        private SpecialTokens tokens = new SpecialTokens(-1, new int[0], -1);

        private Builder(Family family) {
            boolean gpt2 = family == Family.GPT2;
            this.family = family;
            normEps = gpt2 ? 1e-5 : 1e-6;
            activation = gpt2 ? Activation.GELU_TANH : Activation.SILU;
            tied = gpt2;
            biases = new Biases(gpt2 || family == Family.QWEN2, gpt2, gpt2);
        }

        /** V. */
        public Builder vocabSize(int n) {
            vocabSize = n;
            return this;
        }

        /** D. */
        public Builder hiddenSize(int n) {
            hiddenSize = n;
            return this;
        }

        /** F; if not set, 4 D for GPT-2 and 8/3 D, rounded up to a multiple of 32, for gated networks. */
        public Builder feedForwardSize(int n) {
            feedForwardSize = n;
            return this;
        }

        /** Number of blocks. */
        public Builder layers(int n) {
            layers = n;
            return this;
        }

        /** Query heads, as many kv-heads, of size D / H. */
        public Builder heads(int n) {
            return heads(n, n, 0);
        }

        /** H, G, K; K = 0 means D / H. */
        public Builder heads(int query, int kv, int dim) {
            heads = query;
            kvHeads = kv;
            headDim = dim;
            return this;
        }

        /** Longest sequence. */
        public Builder contextLength(int n) {
            contextLength = n;
            return this;
        }

        /** Epsilon of the norms. */
        public Builder normEps(double eps) {
            normEps = eps;
            return this;
        }

        /** Activation of the feed-forward network. */
        public Builder activation(Activation a) {
            activation = a;
            return this;
        }

        /** Whether the output projection is the embedding. */
        public Builder tied(boolean on) {
            tied = on;
            return this;
        }

        /** Which projections have a bias. */
        public Builder biases(Biases b) {
            biases = b;
            return this;
        }

        /** Sliding window of each layer, 0 = none. */
        public Builder windows(int... w) {
            windows = w;
            return this;
        }

        /** Base of the rotary frequencies, unscaled over the whole head. */
        public Builder theta(double base) {
            theta = base;
            return this;
        }

        /** Rotary positions. */
        public Builder rotary(Rotary r) {
            rotary = r;
            return this;
        }

        Builder scores(boolean scale, boolean byLayer) {
            scaleScores = scale;
            scaleByLayer = byLayer;
            return this;
        }

        /** Dropouts while training. */
        public Builder dropouts(Dropouts d) {
            dropouts = d;
            return this;
        }

        /** Standard deviation of fresh weights. */
        public Builder initRange(double std) {
            initRange = std;
            return this;
        }

        /** Ids with a meaning. */
        public Builder tokens(SpecialTokens t) {
            tokens = t;
            return this;
        }

        /** The checked config. */
        public DecoderConfig build() {
            boolean gated = family.names().feedForward().gate() != null;
            int wide = gated ? (8 * hiddenSize / 3 + 31) / 32 * 32 : 4 * hiddenSize;
            int dim = headDim != 0 ? headDim : divided("hidden_size", hiddenSize, heads);
            boolean rotates = family.names().positions() == null;
            Rotary turn = rotary != null || !rotates ? rotary : new Rotary(theta, dim, new RopeScaling.None());
            return new DecoderConfig(
                    family,
                    vocabSize,
                    hiddenSize,
                    feedForwardSize != 0 ? feedForwardSize : wide,
                    layers,
                    new Heads(heads, kvHeads, dim),
                    contextLength,
                    normEps,
                    activation,
                    tied,
                    biases,
                    windows != null ? windows : noWindows(layers),
                    turn,
                    scaleScores,
                    scaleByLayer,
                    dropouts,
                    initRange,
                    tokens);
        }

        private static int divided(String key, int size, int heads) {
            if (heads < 1 || size % heads != 0) {
                throw new IllegalArgumentException(
                        "config: " + key + " " + size + " must be a multiple of num_attention_heads " + heads);
            }
            return size / heads;
        }
    }

    @Override
    public String toString() {
        return family.modelType() + "[V " + vocabSize + ", D " + hiddenSize + ", F " + feedForwardSize + ", layers "
                + layers + ", H " + heads.query + ", G " + heads.kv + ", K " + heads.dim + ", context " + contextLength
                + (Arrays.stream(windows).anyMatch(w -> w > 0) ? ", windows " + Arrays.toString(windows) : "") + "]";
    }
}
