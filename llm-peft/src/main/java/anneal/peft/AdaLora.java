package anneal.peft;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Adaptive low-rank adaptation: every layer starts with more rank than it may keep, in the shape of a singular value decomposition,
 * and the run itself finds out which layers need it.
 *
 * <pre>
 * y = x Wt + scaling dropout(x) (diag(E) A)t Bt        A [rank, in], E [rank, 1], B [out, rank]
 * scaling = alpha / (initialRank + 1e-5)               for ever, whatever ranks are left
 * loss += orthogonality mean over all A, B of |A At - 1|, |Bt B - 1|
 * </pre>
 *
 * <p>A singular value with its row of A and its column of B is a triplet. After each step of the optimiser the trainer scores every
 * triplet of the model by how much the loss depends on it and sets E of the lowest to zero, fewer and fewer being left; see
 * {@link RankAllocator} and {@link RankBudget}. {@link RankReport} says how many each layer kept, and the file holds only those.
 * Zhang et al., arXiv:2303.10512. Options and files are those of PEFT's AdaLoraConfig; unlike there, no call is to be remembered in
 * the loop (give the trainer the {@link Adapters} themselves) and the number of steps is the run's own.
 *
 * @param initialRank triplets of each layer at the start; 1.5 times the target in the paper
 * @param targetRank triplets that a layer keeps on average
 * @param alpha numerator of the scaling
 * @param dropout probability with which an input of the addition is dropped while training
 * @param targets layers that get the addition
 * @param budget when triplets are taken away
 * @param beta1 how much the sensitivity keeps of itself from step to step
 * @param beta2 the same for the uncertainty
 * @param orthogonality weight of the penalty that keeps A and B orthonormal: "gamma" of the paper, "orth_reg_weight" of PEFT
 * @param modulesToSave linear layers and embeddings that are trained and saved whole
 * @param baseModel name or path of the base model, written into the file for its readers; may be null
 * @param kept of an adapter whose ranks are final: by layer, which of the initial triplets are left. Empty = not final yet
 */
public record AdaLora(
        int initialRank,
        int targetRank,
        double alpha,
        double dropout,
        Targets targets,
        RankBudget budget,
        double beta1,
        double beta2,
        double orthogonality,
        List<String> modulesToSave,
        String baseModel,
        Map<String, List<Boolean>> kept)
        implements Method {
    /** A learning rate that works with AdamW: those of the authors' scripts are 5e-4 (MNLI) to 2.2e-3 (STS-B). */
    public static final double LEARNING_RATE = 1e-3;

    public AdaLora {
        if (targetRank < 1 || initialRank < targetRank) {
            throw new IllegalArgumentException("AdaLora: target rank " + targetRank
                    + " must be at least 1 and at most the initial rank " + initialRank);
        }
        if (!(alpha > 0) || Double.isInfinite(alpha)) {
            throw new IllegalArgumentException("AdaLora: alpha " + alpha + " must be a positive number");
        }
        if (!(dropout >= 0 && dropout < 1)) {
            throw new IllegalArgumentException("AdaLora: dropout " + dropout + " must be in [0, 1)");
        }
        if (!(beta1 > 0 && beta1 < 1 && beta2 > 0 && beta2 < 1)) {
            throw new IllegalArgumentException(
                    "AdaLora: beta1 " + beta1 + " and beta2 " + beta2 + " must be between 0 and 1");
        }
        if (!(orthogonality >= 0) || Double.isInfinite(orthogonality)) {
            throw new IllegalArgumentException(
                    "AdaLora: orthogonality " + orthogonality + " must be a number of at least 0");
        }
        modulesToSave = List.copyOf(modulesToSave);
        Map<String, List<Boolean>> copy = new LinkedHashMap<>();
        for (Map.Entry<String, List<Boolean>> e : kept.entrySet()) {
            if (e.getValue().size() != initialRank) {
                throw new IllegalArgumentException("AdaLora: the rank pattern of " + e.getKey() + " has "
                        + e.getValue().size() + " entries, must have one for each of the initial " + initialRank);
            }
            copy.put(e.getKey(), List.copyOf(e.getValue()));
        }
        kept = Collections.unmodifiableMap(copy);
    }

    /**
     * Begins a configuration: {@code AdaLora.rank(8).on("all-linear").attach(model)}.
     *
     * @param target triplets that a layer keeps on average
     */
    public static Builder rank(int target) {
        return new Builder(target);
    }

    /** Factor of the addition. */
    double scaling() {
        return alpha / (initialRank + 1e-5);
    }

    /** Triplets of the layer with this path. */
    int rank(String path) {
        return kept.isEmpty()
                ? initialRank
                : (int) kept.get(path).stream().filter(k -> k).count();
    }

    /** Collects the options; {@link #build} checks them. */
    public static final class Builder extends SavingBuilder<Builder> {
        private final int target;
        private Integer initial;
        private Double alpha;
        private double dropout;
        private RankBudget budget = RankBudget.Parts.PAPER;
        private double beta1 = 0.85;
        private double beta2 = 0.85;
        private double orthogonality = 0.5;

        private Builder(int target) {
            this.target = target;
        }

        /** Triplets of each layer at the start; 1.5 times the target if not given. */
        public Builder from(int initialRank) {
            initial = initialRank;
            return this;
        }

        /** Numerator of the scaling; twice the initial rank if not given. */
        public Builder alpha(double a) {
            alpha = a;
            return this;
        }

        /** Dropout on the adapter's input while training. */
        public Builder dropout(double p) {
            dropout = p;
            return this;
        }

        /** When triplets are taken away; {@link RankBudget.Parts#PAPER} if not given. */
        public Builder budget(RankBudget b) {
            budget = b;
            return this;
        }

        /** How much sensitivity and uncertainty keep of themselves from step to step; 0.85 as in the paper if not given. */
        public Builder betas(double sensitivity, double uncertainty) {
            beta1 = sensitivity;
            beta2 = uncertainty;
            return this;
        }

        /** Weight of the penalty on A and B; 0.5 as in PEFT if not given, the paper has 0.1 to 0.5. */
        public Builder orthogonality(double weight) {
            orthogonality = weight;
            return this;
        }

        @Override
        Builder self() {
            return this;
        }

        @Override
        public AdaLora build() {
            int start = initial == null ? (3 * target + 1) / 2 : initial;
            return new AdaLora(
                    start,
                    target,
                    alpha == null ? 2.0 * start : alpha,
                    dropout,
                    targets(),
                    budget,
                    beta1,
                    beta2,
                    orthogonality,
                    modulesToSave(),
                    baseModel(),
                    Map.of());
        }
    }
}
