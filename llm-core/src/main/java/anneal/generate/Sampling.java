package anneal.generate;

import java.util.List;

/**
 * How the next token is chosen, with transformers' names, defaults and order: repetition penalty, n-gram ban, banned sequences, minimum
 * lengths, suppressed tokens; and when sampling (temperature &gt; 0) temperature, top-k, top-p, min-p, typical-p, epsilon, eta.
 *
 * @param temperature scores are divided by it; 0 = the likeliest token is taken (greedy)
 * @param topK only the k likeliest; 0 = all. Fan et al., arXiv:1805.04833
 * @param topP the smallest set of likeliest tokens with this mass; 1 = all. Holtzman et al., arXiv:1904.09751
 * @param minP only what has this share of the likeliest one's probability; 0 = all. Nguyen et al., arXiv:2407.01082
 * @param typicalP tokens whose surprise is nearest to the entropy, up to this mass; 1 = all. Meister et al., arXiv:2202.00666
 * @param epsilon only tokens of at least this probability; 0 = all. Hewitt et al., arXiv:2210.15191
 * @param eta the same, lowered where the entropy is high; 0 = all. Hewitt et al., arXiv:2210.15191
 * @param repetitionPenalty scores of tokens that occurred are divided by it if positive, else multiplied; 1 = none. Keskar et
 *     al., arXiv:1909.05858
 * @param noRepeatNgram no n-gram of this length occurs twice, the prompt included; 0 = no ban
 * @param banned sequences that must not occur
 * @param suppressed tokens that must not occur
 * @param minLength no end token before prompt and text together have this many tokens
 * @param minNewTokens no end token before this many new tokens
 * @param maxNewTokens at most this many new tokens
 * @param ends tokens that end a text besides the model's own
 * @param seed of the random choices
 */
public record Sampling(
        double temperature,
        int topK,
        double topP,
        double minP,
        double typicalP,
        double epsilon,
        double eta,
        double repetitionPenalty,
        int noRepeatNgram,
        List<int[]> banned,
        int[] suppressed,
        int minLength,
        int minNewTokens,
        int maxNewTokens,
        int[] ends,
        long seed) {
    public Sampling {
        require(temperature >= 0 && temperature < Double.POSITIVE_INFINITY, "temperature", temperature, "not negative");
        require(topK >= 0, "top-k", topK, "not negative (0 = all)");
        require(topP > 0 && topP <= 1, "top-p", topP, "in (0, 1]");
        require(minP >= 0 && minP <= 1, "min-p", minP, "in [0, 1]");
        require(typicalP > 0 && typicalP <= 1, "typical-p", typicalP, "in (0, 1]");
        require(epsilon >= 0 && epsilon < 1, "epsilon", epsilon, "in [0, 1)");
        require(eta >= 0 && eta < 1, "eta", eta, "in [0, 1)");
        require(
                repetitionPenalty > 0 && repetitionPenalty < Double.POSITIVE_INFINITY,
                "repetition penalty",
                repetitionPenalty,
                "positive");
        require(noRepeatNgram >= 0, "no-repeat n-gram", noRepeatNgram, "not negative (0 = no ban)");
        require(minLength >= 0, "minimum length", minLength, "not negative");
        require(minNewTokens >= 0, "minimum of new tokens", minNewTokens, "not negative");
        require(maxNewTokens >= 1, "maximum of new tokens", maxNewTokens, "positive");
        for (int[] sequence : banned) {
            require(sequence.length > 0, "length of a banned sequence", sequence.length, "positive");
        }
        banned = banned.stream().map(int[]::clone).toList();
        suppressed = suppressed.clone();
        ends = ends.clone();
    }

    private static void require(boolean holds, String what, Number value, String rule) {
        if (!holds) {
            throw new IllegalArgumentException("sampling: " + what + " " + value + " must be " + rule);
        }
    }

    /** The same with another seed. */
    public Sampling withSeed(long other) {
        return new Sampling(
                temperature,
                topK,
                topP,
                minP,
                typicalP,
                epsilon,
                eta,
                repetitionPenalty,
                noRepeatNgram,
                banned,
                suppressed,
                minLength,
                minNewTokens,
                maxNewTokens,
                ends,
                other);
    }

    /** The likeliest token each time. */
    public static Sampling greedy(int maxNewTokens) {
        return builder().temperature(0).maxNewTokens(maxNewTokens).build();
    }

    /** Starts from plain sampling of 256 tokens: temperature 1, nothing cut off. */
    public static Builder builder() {
        return new Builder();
    }

    /** True if the likeliest token is taken. */
    public boolean isGreedy() {
        return temperature == 0;
    }

    /** Sets what differs from plain sampling. */
    public static final class Builder {
        private double temperature = 1;
        private int topK;
        private double topP = 1;
        private double minP;
        private double typicalP = 1;
        private double epsilon;
        private double eta;
        private double repetitionPenalty = 1;
        private int noRepeatNgram;
        private List<int[]> banned = List.of();
        private int[] suppressed = {};
        private int minLength;
        private int minNewTokens;
        private int maxNewTokens = 256;
        private int[] ends = {};
        private long seed;

        private Builder() {}

        /** Scores are divided by it; 0 = greedy. */
        public Builder temperature(double t) {
            temperature = t;
            return this;
        }

        /** Only the k likeliest tokens. */
        public Builder topK(int k) {
            topK = k;
            return this;
        }

        /** Nucleus sampling. */
        public Builder topP(double p) {
            topP = p;
            return this;
        }

        /** Share of the likeliest token's probability. */
        public Builder minP(double p) {
            minP = p;
            return this;
        }

        /** Locally typical sampling. */
        public Builder typicalP(double p) {
            typicalP = p;
            return this;
        }

        /** Least probability. */
        public Builder epsilon(double e) {
            epsilon = e;
            return this;
        }

        /** Least probability, by entropy. */
        public Builder eta(double e) {
            eta = e;
            return this;
        }

        /** Penalty on tokens that occurred. */
        public Builder repetitionPenalty(double p) {
            repetitionPenalty = p;
            return this;
        }

        /** Length of n-grams that may not occur twice. */
        public Builder noRepeatNgram(int n) {
            noRepeatNgram = n;
            return this;
        }

        /** Sequences that must not occur. */
        public Builder banned(List<int[]> sequences) {
            banned = sequences;
            return this;
        }

        /** Tokens that must not occur. */
        public Builder suppressed(int... tokens) {
            suppressed = tokens;
            return this;
        }

        /** Least length, prompt included. */
        public Builder minLength(int n) {
            minLength = n;
            return this;
        }

        /** Least number of new tokens. */
        public Builder minNewTokens(int n) {
            minNewTokens = n;
            return this;
        }

        /** Largest number of new tokens. */
        public Builder maxNewTokens(int n) {
            maxNewTokens = n;
            return this;
        }

        /** Tokens that end a text besides the model's own. */
        public Builder ends(int... tokens) {
            ends = tokens;
            return this;
        }

        /** Seed of the random choices. */
        public Builder seed(long s) {
            seed = s;
            return this;
        }

        /** The checked options. */
        public Sampling build() {
            return new Sampling(
                    temperature,
                    topK,
                    topP,
                    minP,
                    typicalP,
                    epsilon,
                    eta,
                    repetitionPenalty,
                    noRepeatNgram,
                    banned,
                    suppressed,
                    minLength,
                    minNewTokens,
                    maxNewTokens,
                    ends,
                    seed);
        }
    }
}
