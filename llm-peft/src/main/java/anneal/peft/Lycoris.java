package anneal.peft;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * What {@link LoHa} and {@link LoKr} have in common: the size of the factors that make up the addition to a weight, and how strong
 * it is. The names are those of LyCORIS (Yeh et al., arXiv:2309.14859) and of PEFT.
 *
 * @param rank of the thin factors
 * @param alpha the addition is scaled by alpha / rank
 * @param rankPattern ranks of single layers: the first key that fits a path, as a regular expression for its end, counts
 * @param alphaPattern alphas of single layers, found in the same way
 * @param rankDropout probability with which an output of the addition is dropped while training; the same outputs for all rows
 * @param moduleDropout probability with which a layer's whole addition is left out for one pass while training
 */
public record Lycoris(
        int rank,
        double alpha,
        Map<String, Integer> rankPattern,
        Map<String, Double> alphaPattern,
        double rankDropout,
        double moduleDropout) {
    public Lycoris {
        rankPattern = Collections.unmodifiableMap(new LinkedHashMap<>(rankPattern));
        alphaPattern = Collections.unmodifiableMap(new LinkedHashMap<>(alphaPattern));
        requireRank(rank);
        rankPattern.values().forEach(Lycoris::requireRank);
        if (!Double.isFinite(alpha) || !alphaPattern.values().stream().allMatch(Double::isFinite)) {
            throw new IllegalArgumentException("LoHa, LoKr: alpha " + alpha + " and those of alphaPattern "
                    + alphaPattern + " must be finite numbers");
        }
        requireProbability("rankDropout", rankDropout);
        requireProbability("moduleDropout", moduleDropout);
        rankPattern.keySet().forEach(Targets::pattern);
        alphaPattern.keySet().forEach(Targets::pattern);
    }

    private static void requireRank(int rank) {
        if (rank < 1) {
            throw new IllegalArgumentException("LoHa, LoKr: rank " + rank + " must be at least 1");
        }
    }

    private static void requireProbability(String name, double p) {
        if (!(p >= 0 && p < 1)) {
            throw new IllegalArgumentException("LoHa, LoKr: " + name + " " + p + " must be in [0, 1)");
        }
    }

    /** Rank of the layer with this path. */
    int rank(String path) {
        return Lora.byPattern(rankPattern, path, rank);
    }

    /** Factor of the addition of the layer with this path. */
    double scaling(String path) {
        return Lora.byPattern(alphaPattern, path, alpha) / rank(path);
    }

    /**
     * Collects these options and the targets.
     *
     * @param <B> the builder itself
     */
    public abstract static class Builder<B extends Builder<B>> extends SavingBuilder<B> {
        private final int rank;
        private Double alpha;
        private final Map<String, Integer> rankPattern = new LinkedHashMap<>();
        private final Map<String, Double> alphaPattern = new LinkedHashMap<>();
        private double rankDropout;
        private double moduleDropout;

        Builder(int rank) {
            this.rank = rank;
        }

        /** Numerator of the scaling; the rank if not given. */
        public final B alpha(double a) {
            alpha = a;
            return self();
        }

        /** Another rank for the layers that fit. */
        public final B rankOf(String pattern, int r) {
            rankPattern.put(pattern, r);
            return self();
        }

        /** Another alpha for the layers that fit. */
        public final B alphaOf(String pattern, double a) {
            alphaPattern.put(pattern, a);
            return self();
        }

        /** Drops outputs of the addition while training. */
        public final B rankDropout(double p) {
            rankDropout = p;
            return self();
        }

        /** Leaves whole additions out while training. */
        public final B moduleDropout(double p) {
            moduleDropout = p;
            return self();
        }

        final Lycoris options() {
            return new Lycoris(
                    rank, alpha == null ? rank : alpha, rankPattern, alphaPattern, rankDropout, moduleDropout);
        }
    }
}
