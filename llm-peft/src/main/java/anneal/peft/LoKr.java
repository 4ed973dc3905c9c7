package anneal.peft;

import java.util.List;

/**
 * LoKr: the addition to a weight is the Kronecker product of two small matrices.
 *
 * <pre>
 * y = x Wt + bias + (alpha / rank) x deltaT
 * delta = kron(w1, w2)                   out = a b, in = c d, w1 [a, c], w2 [b, d]
 * w2 = w2a w2b, of this rank, or whole where the rank is half of max(b, d) or more; likewise w1 with decomposeBoth
 * </pre>
 *
 * <p>w1 (or w1a) starts at zero, so a fresh adapter changes nothing. Yeh et al., arXiv:2309.14859 (LyCORIS); Edalati et al.,
 * arXiv:2212.10650 (KronA). Options, matching rules and files are those of PEFT's LoKrConfig: alpha / rank scales whole factors too. PEFT
 * has it for nn.Linear only, not for the transposed layers of GPT-2, we for both.
 *
 * @param options sizes, scaling, dropout
 * @param targets layers that get the addition
 * @param decomposeBoth w1 is a product of thin factors too, where that is smaller
 * @param decomposeFactor a and c where they divide, else the largest divisors below; -1 for the most even split
 * @param rankDropoutScale what rank dropout keeps is scaled up by the share that it dropped
 * @param init how the factors start
 * @param modulesToSave linear layers and embeddings that are trained and saved whole
 * @param baseModel name or path of the base model, written into the file for its readers; may be null
 */
public record LoKr(
        Lycoris options,
        Targets targets,
        boolean decomposeBoth,
        int decomposeFactor,
        boolean rankDropoutScale,
        Init init,
        List<String> modulesToSave,
        String baseModel)
        implements Method {
    /** A rate to begin with under AdamW: ours, one usual for LoRA, since alpha / rank scales this addition in the same way. */
    public static final double LEARNING_RATE = 5e-4;

    /** How the factors start. */
    public enum Init {
        /** w1 (w1a) zero, all others uniform in +-1/sqrt(columns). */
        FIRST_ZERO,
        /** w2 (w2b) zero, all others uniform in +-1/sqrt(columns): as the LyCORIS library has it. */
        SECOND_ZERO,
        /** All uniform: not an identity, for tests. */
        RANDOM
    }

    public LoKr {
        modulesToSave = List.copyOf(modulesToSave);
        if (decomposeFactor < 1 && decomposeFactor != -1) {
            throw new IllegalArgumentException(
                    "LoKr: decomposeFactor " + decomposeFactor + " must be at least 1, or -1");
        }
    }

    /**
     * Two factors of a dimension, the smaller one first: with -1 as near to its root as can be; else the first one is {@code factor}
     * itself if it divides, whichever is smaller then, or the largest divisor below it.
     */
    static int[] factors(int dimension, int factor) {
        if (factor > 0 && dimension % factor == 0) {
            return new int[] {factor, dimension / factor};
        }
        int first = 1;
        for (int m = 2; (long) m * m <= dimension && (factor == -1 || m <= factor); m++) {
            if (dimension % m == 0) {
                first = m;
            }
        }
        return new int[] {first, dimension / first};
    }

    /** Begins a configuration: {@code LoKr.rank(8).on("q_proj", "v_proj").attach(model)}. */
    public static Builder rank(int rank) {
        return new Builder(rank);
    }

    /** Collects the options; {@link #build} checks them. */
    public static final class Builder extends Lycoris.Builder<Builder> {
        private boolean decomposeBoth;
        private int decomposeFactor = -1;
        private boolean rankDropoutScale;
        private Init init = Init.FIRST_ZERO;

        private Builder(int rank) {
            super(rank);
        }

        /** The first matrix is a product of thin factors too. */
        public Builder decomposeBoth() {
            decomposeBoth = true;
            return this;
        }

        /** Size of the first matrix; -1 for the most even split. */
        public Builder decomposeFactor(int factor) {
            decomposeFactor = factor;
            return this;
        }

        /** What rank dropout keeps is scaled up. */
        public Builder rankDropoutScale() {
            rankDropoutScale = true;
            return this;
        }

        /** How the factors start. */
        public Builder init(Init i) {
            init = i;
            return this;
        }

        @Override
        Builder self() {
            return this;
        }

        @Override
        public LoKr build() {
            return new LoKr(
                    options(),
                    targets(),
                    decomposeBoth,
                    decomposeFactor,
                    rankDropoutScale,
                    init,
                    modulesToSave(),
                    baseModel());
        }
    }
}
