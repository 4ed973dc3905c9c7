package anneal.train;

/**
 * The learning rate of each step, in the shapes and with the values of transformers' {@code get_scheduler}.
 *
 * <p>A step is counted from 0: with {@code warmup} steps of warm-up the rate grows from 0 by 1/warmup of its peak at each, so
 * the first update of a run with a warm-up changes nothing. Steps beyond the total follow the formula, as in transformers.
 */
public sealed interface Schedule {
    /** The highest rate. */
    double peak();

    /** Steps until the peak is reached. */
    int warmup();

    /** Rate of a step, from 0, as a part of the peak, once the warm-up is over. */
    double after(long step, long total);

    /** The learning rate of a step (from 0) in a run of {@code total} steps. */
    default double rate(long step, long total) {
        return peak() * (step < warmup() ? (double) step / Math.max(1, warmup()) : after(step, total));
    }

    /** The peak for ever: transformers' "constant" and "constant_with_warmup". */
    record Constant(double peak, int warmup) implements Schedule {
        public Constant {
            require("Constant", peak, warmup);
        }

        /** Without warm-up. */
        public Constant(double peak) {
            this(peak, 0);
        }

        @Override
        public double after(long step, long total) {
            return 1;
        }
    }

    /** A straight line from the peak to 0: "linear". */
    record LinearDecay(double peak, int warmup) implements Schedule {
        public LinearDecay {
            require("LinearDecay", peak, warmup);
        }

        @Override
        public double after(long step, long total) {
            return Math.max(0, (double) (total - step) / Math.max(1, total - warmup));
        }
    }

    /**
     * Half a cosine wave from the peak to {@code floor} times the peak: "cosine" and "cosine_with_min_lr". Loshchilov and Hutter,
     * arXiv:1608.03983.
     *
     * @param floor part of the peak that is left at the end
     * @param cycles waves; 0.5 goes down once
     */
    record Cosine(double peak, int warmup, double floor, double cycles) implements Schedule {
        public Cosine {
            require("Cosine", peak, warmup);
            requirePart("Cosine", "floor", floor);
            UpdateRule.requireIn("Cosine", "cycles", cycles, 0, Double.POSITIVE_INFINITY);
        }

        /** Down to 0, once. */
        public Cosine(double peak, int warmup) {
            this(peak, warmup, 0, 0.5);
        }

        /** Down to a part of the peak, once. */
        public Cosine(double peak, int warmup, double floor) {
            this(peak, warmup, floor, 0.5);
        }

        @Override
        public double after(long step, long total) {
            double factor = 0.5 * (1 + Math.cos(Math.PI * cycles * 2 * progress(this, step, total)));
            return Math.max(0, factor * (1 - floor) + floor);
        }
    }

    /** A half wave down to 0, {@code cycles} times, each from the peak again: "cosine_with_restarts". arXiv:1608.03983. */
    record CosineRestarts(double peak, int warmup, int cycles) implements Schedule {
        public CosineRestarts {
            require("CosineRestarts", peak, warmup);
            UpdateRule.requireIn("CosineRestarts", "cycles", cycles, 1, Double.POSITIVE_INFINITY);
        }

        @Override
        public double after(long step, long total) {
            double progress = progress(this, step, total);
            return progress >= 1 ? 0 : Math.max(0, 0.5 * (1 + Math.cos(Math.PI * ((cycles * progress) % 1))));
        }
    }

    /**
     * (1 - progress)^power between the peak and {@code end}: "polynomial".
     *
     * @param power 1 is a straight line
     * @param end the last rate, below the peak
     */
    record Polynomial(double peak, int warmup, double power, double end) implements Schedule {
        public Polynomial {
            require("Polynomial", peak, warmup);
            UpdateRule.requireIn("Polynomial", "power", power, 0, Double.POSITIVE_INFINITY);
            if (!(end >= 0 && end < peak)) {
                throw new IllegalArgumentException("Polynomial: end " + end + " must be in [0, peak " + peak + ")");
            }
        }

        @Override
        public double after(long step, long total) {
            if (step > total) {
                return end / peak;
            }
            double left = total == warmup ? 0 : 1 - (double) (step - warmup) / (total - warmup);
            return ((peak - end) * Math.pow(left, power) + end) / peak;
        }
    }

    /**
     * 1 / sqrt of the step number: "inverse_sqrt". Vaswani et al., arXiv:1706.03762.
     *
     * @param timescale after how many steps the rate has fallen to 1/sqrt(2), counted from the peak
     */
    record InverseSqrt(double peak, int warmup, int timescale) implements Schedule {
        public InverseSqrt {
            require("InverseSqrt", peak, warmup);
            UpdateRule.requireIn("InverseSqrt", "timescale", timescale, 1, Double.POSITIVE_INFINITY);
        }

        /** transformers' time scale: the warm-up, or 10,000 without one. */
        public InverseSqrt(double peak, int warmup) {
            this(peak, warmup, warmup == 0 ? 10_000 : warmup);
        }

        @Override
        public double after(long step, long total) {
            return 1 / Math.sqrt((double) (step + timescale - warmup) / timescale);
        }
    }

    /** How a rate goes from one level to another. */
    enum Curve {
        /** A straight line. */
        LINEAR,
        /** Part of a cosine wave. */
        COSINE,
        /** 1 - sqrt: slowly up at first, steeply down at first. */
        ONE_MINUS_SQRT
    }

    /**
     * Up, level, down: "warmup_stable_decay". Hu et al., arXiv:2404.06395. The warm-up starts from {@code floor} times the peak,
     * not from 0.
     *
     * @param decay steps of the way down, at the end of the run
     * @param floor part of the peak before the warm-up and after the decay
     * @param up how the warm-up rises
     * @param down how the decay falls
     * @param cycles waves of a decay along a cosine; 0.5 goes down once
     */
    record WarmupStableDecay(double peak, int warmup, int decay, double floor, Curve up, Curve down, double cycles)
            implements Schedule {
        public WarmupStableDecay {
            require("WarmupStableDecay", peak, warmup);
            UpdateRule.requireIn("WarmupStableDecay", "decay", decay, 0, Double.POSITIVE_INFINITY);
            requirePart("WarmupStableDecay", "floor", floor);
            UpdateRule.requireIn("WarmupStableDecay", "cycles", cycles, 0, Double.POSITIVE_INFINITY);
        }

        /** Up along a straight line, down along half a cosine wave. */
        public WarmupStableDecay(double peak, int warmup, int decay, double floor) {
            this(peak, warmup, decay, floor, Curve.LINEAR, Curve.COSINE, 0.5);
        }

        @Override
        public double rate(long step, long total) {
            double part = (double) step / Math.max(1, warmup);
            return peak * (step < warmup ? lift(rise(part)) : after(step, total));
        }

        @Override
        public double after(long step, long total) {
            long fall = Math.max(warmup, total - decay);
            if (step < fall) {
                return 1;
            }
            double part = (double) (step - fall) / Math.max(1, decay);
            return part >= 1 ? floor : Math.max(0, lift(fall(part)));
        }

        private double rise(double part) {
            return switch (up) {
                case LINEAR -> part;
                case COSINE -> 0.5 * (1 - Math.cos(Math.PI * part));
                case ONE_MINUS_SQRT -> 1 - Math.sqrt(1 - part);
            };
        }

        private double fall(double part) {
            return switch (down) {
                case LINEAR -> 1 - part;
                case COSINE -> 0.5 * (1 + Math.cos(Math.PI * cycles * 2 * part));
                case ONE_MINUS_SQRT -> 1 - Math.sqrt(part);
            };
        }

        private double lift(double factor) {
            return factor * (1 - floor) + floor;
        }
    }

    private static double progress(Schedule s, long step, long total) {
        return (double) (step - s.warmup()) / Math.max(1, total - s.warmup());
    }

    private static void require(String name, double peak, int warmup) {
        UpdateRule.requireIn(name, "peak rate", peak, 0, Double.POSITIVE_INFINITY);
        UpdateRule.requireIn(name, "warm-up", warmup, 0, Double.POSITIVE_INFINITY);
    }

    private static void requirePart(String name, String what, double value) {
        UpdateRule.requireIn(name, what, value, 0, Math.nextUp(1.0));
    }
}
