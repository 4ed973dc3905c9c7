package anneal.peft;

import java.util.List;

/**
 * LoHa: the addition to a weight is the element-wise product of two low-rank matrices.
 *
 * <pre>
 * y = x Wt + bias + (alpha / rank) x deltaT
 * delta = (w1a w1b) * (w2a w2b)          w1a, w2a [out, rank]; w1b, w2b [rank, in]
 * </pre>
 *
 * <p>The product of two matrices of rank r has rank r^2 at most: more directions from the same number of parameters as LoRA of rank 2r.
 * w2b starts at zero, so a fresh adapter changes nothing. Hyeon-Woo et al., arXiv:2108.06098 (FedPara); Yeh et al., arXiv:2309.14859
 * (LyCORIS). Options, matching rules and files are those of PEFT's LoHaConfig; PEFT has it for nn.Linear only, not for the transposed
 * layers of GPT-2, we for both.
 *
 * @param options sizes, scaling, dropout
 * @param targets layers that get the addition
 * @param random w2b starts like the other factors: not an identity, for tests
 * @param modulesToSave linear layers and embeddings that are trained and saved whole
 * @param baseModel name or path of the base model, written into the file for its readers; may be null
 */
public record LoHa(Lycoris options, Targets targets, boolean random, List<String> modulesToSave, String baseModel)
        implements Method {
    /** A rate to begin with under AdamW: ours, one usual for LoRA, since alpha / rank scales this addition in the same way. */
    public static final double LEARNING_RATE = 5e-4;

    public LoHa {
        modulesToSave = List.copyOf(modulesToSave);
    }

    /** Begins a configuration: {@code LoHa.rank(8).on("q_proj", "v_proj").attach(model)}. */
    public static Builder rank(int rank) {
        return new Builder(rank);
    }

    /** Collects the options; {@link #build} checks them. */
    public static final class Builder extends Lycoris.Builder<Builder> {
        private boolean random;

        private Builder(int rank) {
            super(rank);
        }

        /** All factors start at random. */
        public Builder random() {
            random = true;
            return this;
        }

        @Override
        Builder self() {
            return this;
        }

        @Override
        public LoHa build() {
            return new LoHa(options(), targets(), random, modulesToSave(), baseModel());
        }
    }
}
