package anneal.peft;

/**
 * When {@link AdaLora} takes triplets away. A run has three phases: all are trained; they become fewer along a cubic; the ones that are
 * left stay and are trained on.
 *
 * <pre>
 * step                   triplets of the model that may be left
 * 1 .. tinit             initial
 * .. total - tfinal      target + (initial - target) (1 - (step - tinit) / (total - tfinal - tinit))^3, every deltaT steps
 * .. total               target
 * </pre>
 *
 * <p>Zhang et al., arXiv:2303.10512, equation 8. Whatever the phases, the first choice is not that of step 1: it would find no scores to
 * go by, and take every triplet away.
 */
public sealed interface RankBudget {
    /** The phases of a run of this many steps; refuses a run that is too short to see what matters before it chooses. */
    Steps in(long total);

    /**
     * Phases as parts of the run, whatever its length from 2 steps on.
     *
     * @param tinit part before any triplet is taken away; at least one step
     * @param tfinal part after the last one was; less in a run so short that no step would be left to take triplets away
     * @param deltaT part between two choices; at least one step
     */
    record Parts(double tinit, double tfinal, double deltaT) implements RankBudget {
        /**
         * Near what the paper's runs on MNLI, RTE and SST-2 have: the steps in its authors' scripts over examples, batches of 32 and
         * epochs.
         */
        public static final Parts PAPER = new Parts(0.15, 0.5, 0.002);

        public Parts {
            if (!(tinit >= 0 && tfinal >= 0 && tinit + tfinal < 1)) {
                throw new IllegalArgumentException("RankBudget: tinit " + tinit + " and tfinal " + tfinal
                        + " must not be negative, and leave a part of the run to take ranks away");
            }
            if (!(deltaT >= 0 && deltaT <= 1)) {
                throw new IllegalArgumentException("RankBudget: deltaT " + deltaT + " must be in [0, 1]");
            }
        }

        @Override
        public Steps in(long total) {
            long first = Math.clamp(Math.round(tinit * total), 1, Math.max(1, total - 1));
            long last = Math.clamp(Math.round(tfinal * total), 0, Math.max(0, total - first - 1));
            return new Steps(first, last, Math.max(1, Math.round(deltaT * total)), 0).in(total);
        }
    }

    /**
     * Phases in steps.
     *
     * @param tinit steps before any triplet is taken away
     * @param tfinal steps after the last one was
     * @param deltaT steps between two choices
     * @param total steps of the run; 0 = not known yet. A trainer puts in what its run really has
     */
    record Steps(long tinit, long tfinal, long deltaT, long total) implements RankBudget {
        public Steps {
            if (tinit < 0 || tfinal < 0 || deltaT < 1 || total < 0) {
                throw new IllegalArgumentException("RankBudget: tinit " + tinit + " and tfinal " + tfinal
                        + " must not be negative, deltaT " + deltaT + " at least 1");
            }
            if (total > 0 && tinit + tfinal >= total) {
                throw new IllegalArgumentException("RankBudget: a run of " + total + " steps leaves none to take ranks "
                        + "away: tinit " + tinit + " + tfinal " + tfinal + " must be less than " + total);
            }
        }

        @Override
        public Steps in(long steps) {
            long least = Math.max(1, tinit) + tfinal + 1;
            if (steps < least) {
                throw new IllegalArgumentException(
                        "RankBudget: " + steps + " steps are too few to take ranks away: tinit " + tinit
                                + " and tfinal " + tfinal + " need at least " + least);
            }
            return new Steps(tinit, tfinal, deltaT, steps);
        }

        /** The step with which the ranks are final. */
        long last() {
            return total - tfinal;
        }

        /** True if triplets are chosen after this step. */
        boolean chooses(long step) {
            return step >= last() || step > tinit && step % deltaT == 0;
        }

        /** Triplets of the model that may be left after this step. */
        int left(long step, int initial, int target) {
            if (step <= tinit) {
                return initial;
            }
            if (step >= last()) {
                return target;
            }
            double c = 1 - (double) (step - tinit) / (last() - tinit);
            return (int) ((initial - target) * Math.pow(c, 3) + target);
        }
    }
}
