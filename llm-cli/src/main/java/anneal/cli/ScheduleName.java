package anneal.cli;

import anneal.train.Schedule;

/** {@code --lr-scheduler}: transformers' names. */
enum ScheduleName {
    constant,
    linear,
    cosine,
    cosine_with_restarts,
    polynomial,
    inverse_sqrt,
    warmup_stable_decay;

    /** The schedule with its usual settings. */
    Schedule of(double rate, int warmup, long steps) {
        return switch (this) {
            case constant -> new Schedule.Constant(rate, warmup);
            case linear -> new Schedule.LinearDecay(rate, warmup);
            case cosine -> new Schedule.Cosine(rate, warmup);
            case cosine_with_restarts -> new Schedule.CosineRestarts(rate, warmup, 2);
            case polynomial -> new Schedule.Polynomial(rate, warmup, 1, 1e-7);
            case inverse_sqrt -> new Schedule.InverseSqrt(rate, warmup, Math.max(1, warmup));
            case warmup_stable_decay -> new Schedule.WarmupStableDecay(rate, warmup, (int) Math.max(1, steps / 10), 0);
        };
    }
}
