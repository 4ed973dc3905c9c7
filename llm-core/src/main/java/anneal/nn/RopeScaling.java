package anneal.nn;

/**
 * How rotary angles are changed so that a model reads further than it was trained: {@code rope_scaling} of config.json.
 *
 * <p>Unscaled, pair i of d channels turns by theta^(-2i/d) a position. Everything here is computed in double precision.
 */
public sealed interface RopeScaling {
    /** Angles a position of each pair, for d rotated channels, when {@code length} positions are seen. */
    double[] frequencies(int d, double theta, int length);

    /** What cosine and sine are multiplied with. */
    default double magnitude() {
        return 1;
    }

    /** True if the frequencies depend on how many positions are seen. */
    default boolean dependsOnLength() {
        return false;
    }

    /** theta^(-2i/d) for each pair i. */
    private static double[] plain(int d, double theta) {
        double[] f = new double[d / 2];
        for (int i = 0; i < f.length; i++) {
            f[i] = Math.pow(theta, -2.0 * i / d);
        }
        return f;
    }

    private static void requireFactor(String type, double factor) {
        if (!(factor >= 1)) {
            throw new IllegalArgumentException("rope_scaling " + type + ": factor " + factor + " must be at least 1");
        }
    }

    private static void requireOriginal(String type, int original) {
        if (original < 1) {
            throw new IllegalArgumentException(
                    "rope_scaling " + type + ": original_max_position_embeddings " + original + " must be positive");
        }
    }

    /** The angles as they were trained. Su et al., arXiv:2104.09864. */
    record None() implements RopeScaling {
        @Override
        public double[] frequencies(int d, double theta, int length) {
            return plain(d, theta);
        }
    }

    /** Positions divided by a factor. Chen et al., arXiv:2306.15595. */
    record Linear(double factor) implements RopeScaling {
        public Linear {
            requireFactor("linear", factor);
        }

        @Override
        public double[] frequencies(int d, double theta, int length) {
            double[] f = plain(d, theta);
            for (int i = 0; i < f.length; i++) {
                f[i] /= factor;
            }
            return f;
        }
    }

    /**
     * Dynamic NTK: theta' = theta (factor T / original - (factor - 1))^(d / (d - 2)) once the length T exceeds the original one. As
     * in transformers, T is the present length, so keys in a cache keep the angles of the length they were made at.
     */
    record Dynamic(double factor, int original) implements RopeScaling {
        public Dynamic {
            requireFactor("dynamic", factor);
            requireOriginal("dynamic", original);
        }

        @Override
        public double[] frequencies(int d, double theta, int length) {
            if (length <= original) {
                return plain(d, theta);
            }
            double grown = factor * length / original - (factor - 1);
            return plain(d, theta * Math.pow(grown, d / (d - 2.0)));
        }

        @Override
        public boolean dependsOnLength() {
            return true;
        }
    }

    /**
     * Llama 3: wavelengths above original / low are stretched by the factor, those below original / high stay, in between the two are
     * blended by s = (original / wavelength - low) / (high - low). Grattafiori et al., arXiv:2407.21783, and transformers.
     */
    record Llama3(double factor, double low, double high, int original) implements RopeScaling {
        public Llama3 {
            requireFactor("llama3", factor);
            requireOriginal("llama3", original);
            if (!(low > 0 && high > low)) {
                throw new IllegalArgumentException("rope_scaling llama3: low_freq_factor " + low
                        + " must be positive and below high_freq_factor " + high);
            }
        }

        @Override
        public double[] frequencies(int d, double theta, int length) {
            double[] f = plain(d, theta);
            for (int i = 0; i < f.length; i++) {
                double turns = original * f[i] / (2 * Math.PI);
                double keep = Math.clamp((turns - low) / (high - low), 0, 1);
                f[i] = (1 - keep) * f[i] / factor + keep * f[i];
            }
            return f;
        }
    }

    /**
     * YaRN: pairs that turn more than {@code betaFast} times within the original length stay, those that turn less than
     * {@code betaSlow} times are stretched, a linear ramp over the pairs' numbers lies between. Peng et al., arXiv:2309.00071.
     *
     * @param magnitude what cosine and sine are multiplied with; see {@link #magnitude(double, double, double)}
     * @param truncate the ramp's ends are rounded outwards to whole pairs
     */
    record Yarn(double factor, int original, double betaFast, double betaSlow, double magnitude, boolean truncate)
            implements RopeScaling {
        public Yarn {
            requireFactor("yarn", factor);
            requireOriginal("yarn", original);
            if (!(betaFast > 0 && betaSlow > 0)) {
                throw new IllegalArgumentException("rope_scaling yarn: beta_fast " + betaFast + " and beta_slow "
                        + betaSlow + " must be positive");
            }
        }

        /**
         * The usual magnitude: m(factor, mscale) / m(factor, mscaleAllDim) with m(s, k) = 0.1 k ln s + 1, or m(factor, 1) if
         * one of the two is 0.
         */
        public static double magnitude(double factor, double mscale, double mscaleAllDim) {
            return mscale == 0 || mscaleAllDim == 0
                    ? attention(factor, 1)
                    : attention(factor, mscale) / attention(factor, mscaleAllDim);
        }

        private static double attention(double factor, double k) {
            return factor <= 1 ? 1 : 0.1 * k * Math.log(factor) + 1;
        }

        @Override
        public double[] frequencies(int d, double theta, int length) {
            double from = pair(betaFast, d, theta), to = pair(betaSlow, d, theta);
            from = Math.max(truncate ? Math.floor(from) : from, 0);
            to = Math.min(truncate ? Math.ceil(to) : to, d - 1);
            to = to == from ? to + 0.001 : to;
            double[] f = plain(d, theta);
            for (int i = 0; i < f.length; i++) {
                double stretch = Math.clamp((i - from) / (to - from), 0, 1);
                f[i] = stretch * f[i] / factor + (1 - stretch) * f[i];
            }
            return f;
        }

        /** The (fractional) pair that turns this many times within the original length. */
        private double pair(double turns, int d, double theta) {
            return d * Math.log(original / (turns * 2 * Math.PI)) / (2 * Math.log(theta));
        }
    }

    /** Each pair's frequency divided by a number of its own: what GGUF files hold as {@code rope_freqs.weight}. */
    record Factors(float[] divisors) implements RopeScaling {
        @Override
        public double[] frequencies(int d, double theta, int length) {
            if (divisors.length != d / 2) {
                throw new IllegalArgumentException(
                        "rope factors: " + divisors.length + " factors for " + d / 2 + " pairs of channels");
            }
            double[] f = plain(d, theta);
            for (int i = 0; i < f.length; i++) {
                f[i] /= divisors[i];
            }
            return f;
        }
    }
}
