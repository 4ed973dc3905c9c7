package anneal.peft;

import java.util.List;

/**
 * VeRA, vector-based random matrix adaptation: LoRA's A and B are random, frozen and the same for all layers; a layer trains one
 * factor for each direction and one for each output.
 *
 * <pre>
 * y = x Wt + bias + (d * dropout(x) At) Bt * b          A [rank, in], B [out, rank], d [rank], b [out]
 * </pre>
 *
 * <p>A and B are made for the widest target; each layer reads the first of their columns and rows. d starts at {@code dInitial}, b
 * at zero, so a fresh adapter changes nothing and the gradient of d is zero at the first step. There is no alpha. Kopiczko et al., arXiv:2310.11454.
 * Options, matching rules and files are those of PEFT's VeraConfig, and so are A and B of a key, bit for bit: a file saved without them
 * loads too.
 *
 * @param rank rows of A; larger than LoRA's, since it costs few parameters
 * @param dropout probability with which an input of the addition is dropped while training
 * @param dInitial first value of d
 * @param projectionKey seed of A and B
 * @param saveProjection the file holds A and B too
 * @param bias which biases of the model are trained too
 * @param targets layers that get the addition
 * @param random d starts as standard normal numbers and b at one: not an identity, for tests
 * @param modulesToSave linear layers and embeddings that are trained and saved whole
 * @param baseModel name or path of the base model, written into the file for its readers; may be null
 */
public record Vera(
        int rank,
        double dropout,
        double dInitial,
        int projectionKey,
        boolean saveProjection,
        Bias bias,
        Targets targets,
        boolean random,
        List<String> modulesToSave,
        String baseModel)
        implements Method {
    /** A rate to begin with under AdamW: that of PEFT's example for SST-2 (rank 512 on RoBERTa), about ten times LoRA's. */
    public static final double LEARNING_RATE = 4e-3;

    public Vera {
        modulesToSave = List.copyOf(modulesToSave);
        if (rank < 1) {
            throw new IllegalArgumentException("Vera: rank " + rank + " must be at least 1");
        }
        if (!(dropout >= 0 && dropout < 1)) {
            throw new IllegalArgumentException("Vera: dropout " + dropout + " must be in [0, 1)");
        }
        if (!Double.isFinite(dInitial) || dInitial == 0) {
            throw new IllegalArgumentException(
                    "Vera: dInitial " + dInitial + " must be a number other than 0, or nothing can be learnt");
        }
    }

    /** Begins a configuration: {@code Vera.rank(256).on("q_proj", "v_proj").attach(model)}. */
    public static Builder rank(int rank) {
        return new Builder(rank);
    }

    /** Collects the options; {@link #build} checks them. */
    public static final class Builder extends SavingBuilder<Builder> {
        private final int rank;
        private double dropout;
        private double dInitial = 0.1;
        private int projectionKey;
        private boolean saveProjection = true;
        private Bias bias = Bias.NONE;
        private boolean random;

        private Builder(int rank) {
            this.rank = rank;
        }

        /** Dropout on the adapter's input while training. */
        public Builder dropout(double p) {
            dropout = p;
            return this;
        }

        /** First value of d; 0.1 if not given. */
        public Builder dInitial(double value) {
            dInitial = value;
            return this;
        }

        /** Seed of A and B; 0 if not given. */
        public Builder projectionKey(int seed) {
            projectionKey = seed;
            return this;
        }

        /** Leaves A and B out of the file: they are made again from the key. */
        public Builder withoutProjection() {
            saveProjection = false;
            return this;
        }

        /** Biases that are trained too. */
        public Builder bias(Bias b) {
            bias = b;
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
        public Vera build() {
            return new Vera(
                    rank,
                    dropout,
                    dInitial,
                    projectionKey,
                    saveProjection,
                    bias,
                    targets(),
                    random,
                    modulesToSave(),
                    baseModel());
        }
    }
}
