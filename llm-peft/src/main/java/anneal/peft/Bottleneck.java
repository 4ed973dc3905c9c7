package anneal.peft;

import anneal.nn.Activations;
import anneal.nn.Module;
import java.util.List;
import java.util.Objects;

/**
 * Bottleneck adapters: small networks inside each block, on what a sub-layer puts out.
 *
 * <pre>
 * h = branch of the sub-layer, x = what the residual carries
 * h -> h + [norm] dropout(scaling up(f(down([norm] z))))       down [D / reduction, D], up [D, D / reduction], with biases
 *     z = h      behind the branch            Houlsby et al., arXiv:1902.00751: behind attention and feed-forward
 *     z = h + x  behind the residual          Pfeiffer et al., arXiv:2005.00247: behind the feed-forward network alone
 *     z = x      beside the sub-layer         He et al., arXiv:2110.04366: scaling 4
 * </pre>
 *
 * <p>Configurations and files are those of the adapters library (BnConfig), in its safetensors layout; of its options, learnt
 * scaling, gates, invertible and cross-attention adapters, Compacter's layers and stochastic depth are refused by name. With a norm
 * before, that library has two names for the norm and its safetensors writer gives up; we write it once, as adapter_norm_before.
 *
 * <p>{@link Init#MAM_ADAPTER} starts as an identity; the others nearly, within the product of two small matrices, if
 * what they read is not large. With a norm after it, nothing is near an identity.
 *
 * @param attention behind (or beside) the attention of each block
 * @param feedForward behind (or beside) its feed-forward network
 * @param reduction D divided by the width of the bottleneck; rounded down, at least 1
 * @param nonLinearity name of f: relu, swish, gelu...
 * @param input z
 * @param normBefore a layer norm of its own in front of down
 * @param normAfter a layer norm of its own behind up
 * @param scaling factor of what is added
 * @param dropout of what is added, while training
 * @param init how it starts
 * @param leaveOut numbers of blocks that get none
 * @param name of the adapter in the file's keys
 * @param base what the file says of the model
 * @param head true: the model's output head is written beside the adapter, as the library does it for a model with one
 */
public record Bottleneck(
        boolean attention,
        boolean feedForward,
        double reduction,
        String nonLinearity,
        Input input,
        boolean normBefore,
        boolean normAfter,
        double scaling,
        double dropout,
        Init init,
        List<Integer> leaveOut,
        String name,
        Base base,
        boolean head)
        implements Method {
    /** A rate to start from with AdamW: the one that the documentation of the adapters library recommends. */
    public static final double LEARNING_RATE = 1e-4;

    /** What a bottleneck reads. */
    public enum Input {
        /** The branch's output, before the residual is added. */
        BRANCH,
        /** The sum of both. */
        SUM,
        /** What the residual carries: the adapter works beside the sub-layer. */
        RESIDUAL
    }

    /** How a bottleneck starts; biases are zero, norms 1 and 0. */
    public enum Init {
        /** Both matrices N(0, 0.02^2). */
        BERT,
        /** down uniform in +-1/sqrt(in), up zero: an identity. */
        MAM_ADAPTER,
        /** Both matrices N(0, 0.01^2), cut at two standard deviations. */
        HOULSBY
    }

    /**
     * The model in the words of the library; each may be null.
     *
     * @param modelClass "LlamaForCausalLM"
     * @param modelType "llama"
     * @param modelName name or path
     */
    public record Base(String modelClass, String modelType, String modelName) {
        /** Nothing is said. */
        public static final Base UNKNOWN = new Base(null, null, null);
    }

    public Bottleneck {
        if (!attention && !feedForward) {
            throw new IllegalArgumentException("Bottleneck: give it a place, behind attention or feedForward");
        }
        if (!(reduction > 0) || Double.isInfinite(reduction)) {
            throw new IllegalArgumentException("Bottleneck: reduction " + reduction + " must be a positive number");
        }
        if (!Double.isFinite(scaling)) {
            throw new IllegalArgumentException("Bottleneck: scaling " + scaling + " must be a finite number");
        }
        if (!(dropout >= 0 && dropout < 1)) {
            throw new IllegalArgumentException("Bottleneck: dropout " + dropout + " must be in [0, 1)");
        }
        if (name.isEmpty() || name.contains(".")) {
            throw new IllegalArgumentException(
                    "Bottleneck: name \"" + name + "\" is a part of tensor names: not empty, and without a dot");
        }
        Activations.named(nonLinearity);
        Objects.requireNonNull(input, "input");
        Objects.requireNonNull(init, "init");
        Objects.requireNonNull(base, "base");
        leaveOut = List.copyOf(leaveOut);
    }

    @Override
    public String baseModel() {
        return base.modelName;
    }

    /** Width of the bottleneck in a model of width D. */
    int size(int width) {
        return (int) Math.max(1, Math.floor(width / reduction));
    }

    /** Two in each block, f = swish, reduction 16. Houlsby et al., arXiv:1902.00751; the library's DoubleSeqBnConfig. */
    public static Builder houlsby() {
        return new Builder().places(true, true).nonLinearity("swish").reduction(16);
    }

    /**
     * One in each block, behind the residual, f = relu, reduction 16. Pfeiffer et al., arXiv:2005.00247; the library's SeqBnConfig, but
     * for the start: it reads the stream, which reaches thousands in today's models, so {@link Init#BERT} is nowhere near an
     * identity. This one starts as {@link Init#MAM_ADAPTER}.
     */
    public static Builder pfeiffer() {
        return new Builder()
                .places(false, true)
                .input(Input.SUM)
                .nonLinearity("relu")
                .reduction(16)
                .init(Init.MAM_ADAPTER);
    }

    /** One beside each feed-forward network, f = relu, reduction 2, scaling 4. He et al., arXiv:2110.04366; ParBnConfig. */
    public static Builder parallel() {
        return new Builder()
                .places(false, true)
                .input(Input.RESIDUAL)
                .nonLinearity("relu")
                .reduction(2)
                .scaling(4)
                .init(Init.MAM_ADAPTER);
    }

    /** Collects the options; {@link #build} checks them. */
    public static final class Builder {
        private boolean attention;
        private boolean feedForward;
        private double reduction;
        private String nonLinearity;
        private Input input = Input.BRANCH;
        private boolean normBefore;
        private boolean normAfter;
        private double scaling = 1;
        private double dropout;
        private Init init = Init.BERT;
        private List<Integer> leaveOut = List.of();
        private String name = "default";
        private Base base = Base.UNKNOWN;
        private boolean head;

        private Builder() {}

        /** Which sub-layers of a block get one. */
        public Builder places(boolean behindAttention, boolean behindFeedForward) {
            attention = behindAttention;
            feedForward = behindFeedForward;
            return this;
        }

        /** The model's width divided by the bottleneck's. */
        public Builder reduction(double factor) {
            reduction = factor;
            return this;
        }

        /** Name of the function in the middle. */
        public Builder nonLinearity(String f) {
            nonLinearity = f;
            return this;
        }

        /** What it reads. */
        public Builder input(Input i) {
            input = i;
            return this;
        }

        /** Layer norms of its own in front of it and behind it. */
        public Builder norms(boolean before, boolean after) {
            normBefore = before;
            normAfter = after;
            return this;
        }

        /** Factor of what is added. */
        public Builder scaling(double factor) {
            scaling = factor;
            return this;
        }

        /** Dropout of what is added. */
        public Builder dropout(double p) {
            dropout = p;
            return this;
        }

        /** How it starts. */
        public Builder init(Init i) {
            init = i;
            return this;
        }

        /** Blocks that get none. */
        public Builder leaveOut(Integer... layers) {
            leaveOut = List.of(layers);
            return this;
        }

        /** Name in the file's keys; "default" if not given. */
        public Builder name(String n) {
            name = n;
            return this;
        }

        /** What the file says of the model: the library refuses a head of another class. */
        public Builder base(String modelClass, String modelType, String modelName) {
            base = new Base(modelClass, modelType, modelName);
            return this;
        }

        /** Writes the model's output head beside the adapter. */
        public Builder withHead() {
            head = true;
            return this;
        }

        /** The configuration. */
        public Bottleneck build() {
            return new Bottleneck(
                    attention,
                    feedForward,
                    reduction,
                    nonLinearity,
                    input,
                    normBefore,
                    normAfter,
                    scaling,
                    dropout,
                    init,
                    leaveOut,
                    name,
                    base,
                    head);
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
