package anneal.train;

import anneal.kernels.Compute;
import java.nio.file.Path;
import java.util.List;

/**
 * How long, how fast and how often: the numbers of a run, saved beside every checkpoint.
 *
 * @param steps optimiser steps in all; 0 = as many as {@code epochs} passes over the data make
 * @param epochs passes over the data; 0 = as many as {@code steps} need. One of the two is given
 * @param accumulate micro-batches whose gradients are added up for one step; the last step of an epoch may have fewer
 * @param schedule learning rate of each step
 * @param clipNorm largest norm of the gradient of the mean loss; 0 = not clipped
 * @param groups parameters with a rate or weight decay of their own
 * @param compute precision of products and attention, for training and validation alike: F32 or BF16
 * @param seed of everything random in the loop: dropout
 * @param logEvery steps between two reports
 * @param evalEvery steps between two passes over the validation data; 0 = only at the end
 * @param saveEvery steps between two checkpoints; 0 = only at the end
 * @param keepLast checkpoints that are kept besides the best one; 0 = all
 * @param checkpoints folder for checkpoints, absent or empty when a run begins; null = none are saved
 * @param optimizerPages folder of a scratch file in which the optimiser's state lies, paged by the system; null = in memory
 */
public record TrainConfig(
        long steps,
        int epochs,
        int accumulate,
        Schedule schedule,
        double clipNorm,
        List<ParameterGroup> groups,
        Compute compute,
        long seed,
        int logEvery,
        int evalEvery,
        int saveEvery,
        int keepLast,
        Path checkpoints,
        Path optimizerPages) {
    public TrainConfig {
        if ((steps > 0) == (epochs > 0) || steps < 0 || epochs < 0) {
            throw new IllegalArgumentException(
                    "TrainConfig: give either steps or epochs, got steps " + steps + " and epochs " + epochs);
        }
        if (schedule == null) {
            throw new IllegalArgumentException("TrainConfig: a schedule is missing, for example new Cosine(2e-4, 50)");
        }
        UpdateRule.requireIn("TrainConfig", "accumulate", accumulate, 1, Double.POSITIVE_INFINITY);
        UpdateRule.requireIn("TrainConfig", "clipNorm", clipNorm, 0, Double.POSITIVE_INFINITY);
        UpdateRule.requireIn("TrainConfig", "logEvery", logEvery, 1, Double.POSITIVE_INFINITY);
        UpdateRule.requireIn("TrainConfig", "evalEvery", evalEvery, 0, Double.POSITIVE_INFINITY);
        UpdateRule.requireIn("TrainConfig", "saveEvery", saveEvery, 0, Double.POSITIVE_INFINITY);
        UpdateRule.requireIn("TrainConfig", "keepLast", keepLast, 0, Double.POSITIVE_INFINITY);
        if (checkpoints == null && saveEvery > 0) {
            throw new IllegalArgumentException("TrainConfig: saveEvery " + saveEvery + " needs a checkpoint folder");
        }
        if (compute != Compute.F32 && compute != Compute.BF16) {
            throw new IllegalArgumentException(
                    "TrainConfig: compute " + compute + " is for using a model: training needs F32 or BF16");
        }
        groups = List.copyOf(groups);
    }

    /** Defaults: one micro-batch a step, products in f32, gradients clipped to norm 1, a report every 10 steps, nothing saved. */
    public static Builder builder() {
        return new Builder();
    }

    /** Collects the numbers; {@link #build} checks them. */
    public static final class Builder {
        private long steps;
        private int epochs;
        private int accumulate = 1;
        private Schedule schedule;
        private double clipNorm = 1;
        private List<ParameterGroup> groups = List.of();
        private Compute compute = Compute.F32;
        private long seed;
        private int logEvery = 10;
        private int evalEvery;
        private int saveEvery;
        private int keepLast = 2;
        private Path checkpoints;
        private Path optimizerPages;

        private Builder() {}

        /** Optimiser steps in all. */
        public Builder steps(long n) {
            steps = n;
            return this;
        }

        /** Passes over the data. */
        public Builder epochs(int n) {
            epochs = n;
            return this;
        }

        /** Micro-batches per step. */
        public Builder accumulate(int n) {
            accumulate = n;
            return this;
        }

        /** Learning rates. */
        public Builder schedule(Schedule s) {
            schedule = s;
            return this;
        }

        /** Largest gradient norm; 0 = not clipped. */
        public Builder clipNorm(double max) {
            clipNorm = max;
            return this;
        }

        /** Parameters with a rate or weight decay of their own. */
        public Builder groups(ParameterGroup... some) {
            groups = List.of(some);
            return this;
        }

        /** Precision of products and attention. */
        public Builder compute(Compute precision) {
            compute = precision;
            return this;
        }

        /** Seed of dropout. */
        public Builder seed(long s) {
            seed = s;
            return this;
        }

        /** Steps between reports. */
        public Builder logEvery(int n) {
            logEvery = n;
            return this;
        }

        /** Steps between validations. */
        public Builder evalEvery(int n) {
            evalEvery = n;
            return this;
        }

        /** Steps between checkpoints. */
        public Builder saveEvery(int n) {
            saveEvery = n;
            return this;
        }

        /** Checkpoints that are kept besides the best. */
        public Builder keepLast(int n) {
            keepLast = n;
            return this;
        }

        /** Folder for checkpoints. */
        public Builder checkpoints(Path folder) {
            checkpoints = folder;
            return this;
        }

        /** Folder of the optimiser's pages. */
        public Builder optimizerPages(Path folder) {
            optimizerPages = folder;
            return this;
        }

        /** The configuration, if its numbers make sense together. */
        public TrainConfig build() {
            return new TrainConfig(
                    steps,
                    epochs,
                    accumulate,
                    schedule,
                    clipNorm,
                    groups,
                    compute,
                    seed,
                    logEvery,
                    evalEvery,
                    saveEvery,
                    keepLast,
                    checkpoints,
                    optimizerPages);
        }
    }
}
