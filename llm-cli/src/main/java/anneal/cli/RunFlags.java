package anneal.cli;

import java.nio.file.Path;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Option;

/** The flags that every training command has; names as in mlx-lm and LLaMA-Factory. */
final class RunFlags {
    /** Learning rate if none is given, and the adapter has none of its own. */
    static final double RATE = 2e-4;

    @ArgGroup(validate = false, heading = "%nData%n", order = 1)
    Data data = new Data();

    @ArgGroup(validate = false, heading = "%nLength and rate%n", order = 2)
    Steps steps = new Steps();

    @ArgGroup(validate = false, heading = "%nRun folder%n", order = 4)
    Output output = new Output();

    /** Throws before anything is read if a number is out of range or the output folder cannot be had. */
    void check() {
        given("--data=FILE_OR_DIR", data.train);
        given("--output=DIR", output.dir);
        checkNumbers();
        RunFolder.require(output.dir, output.resume);
    }

    /** The part of {@link #check} that is not about the folder. */
    void checkNumbers() {
        steps.learningRate = steps.learningRate == null ? RATE : steps.learningRate;
        require("--iters", steps.iters == null ? 1 : steps.iters, 1);
        require("--epochs", steps.epochs == null ? 1 : steps.epochs, 1);
        require("--batch-size", steps.batchSize, 1);
        require("--grad-accumulation", steps.accumulation, 1);
        require("--warmup", steps.warmup == null ? 0 : steps.warmup, 0);
        require("--threads", steps.threads == null ? 1 : steps.threads, 1);
        require("--max-seq-length", data.maxSeqLength, 2);
        require("--steps-per-report", output.report, 1);
        require("--steps-per-eval", output.eval, 0);
        require("--save-every", output.save, 0);
        require("--keep-last", output.keepLast, 1);
        if (steps.iters != null && steps.epochs != null) {
            throw new IllegalArgumentException("give either --iters or --epochs, not both");
        }
        if (steps.compute == ComputeName.int8) {
            throw new IllegalArgumentException("--compute int8 is for using a model: training needs f32 or bf16");
        }
        if (!(data.validSplit >= 0 && data.validSplit < 1)) {
            throw new IllegalArgumentException("--valid-split " + data.validSplit + " must be at least 0 and below 1");
        }
    }

    /** Picocli does not ask for a required option of a group that it does not validate. */
    static void given(String flag, Path value) {
        if (value == null) {
            throw new IllegalArgumentException("Missing required option: '" + flag + "'");
        }
    }

    static void require(String flag, long value, long least) {
        if (value < least) {
            throw new IllegalArgumentException(flag + " " + value + " must be at least " + least);
        }
    }

    static final class Data {
        @Option(
                names = "--data",
                paramLabel = "FILE_OR_DIR",
                description =
                        "Training data: .jsonl, .json or .txt. Shapes are found by looking: text; prompt, completion; "
                                + "instruction, input, output; messages; conversations.")
        Path train;

        @Option(names = "--valid", paramLabel = "FILE_OR_DIR", description = "Validation data.")
        Path valid;

        @Option(
                names = "--valid-split",
                paramLabel = "F",
                description =
                        "Without --valid: this part of the samples is held out (default: ${DEFAULT-VALUE}; 0 = none).")
        double validSplit = 0.05;

        @Option(
                names = "--max-seq-length",
                paramLabel = "N",
                description = "Longest sample in tokens (default: ${DEFAULT-VALUE}).")
        int maxSeqLength = 1024;

        @Option(names = "--truncate", description = "Cut samples that are longer; without it they are an error.")
        boolean truncate;

        @Option(
                names = "--packing",
                description = "Put several samples into one row of --max-seq-length; they do not see one another.")
        boolean packing;
    }

    static final class Steps {
        @Option(names = "--iters", paramLabel = "N", description = "Optimiser steps.")
        Long iters;

        @Option(
                names = "--epochs",
                paramLabel = "N",
                description = "Passes over the data (default: 1 without --iters).")
        Integer epochs;

        @Option(names = "--batch-size", paramLabel = "N", description = "Rows in a batch (default: ${DEFAULT-VALUE}).")
        int batchSize = 4;

        @Option(
                names = "--grad-accumulation",
                paramLabel = "N",
                description = "Batches per step (default: ${DEFAULT-VALUE}).")
        int accumulation = 1;

        @Option(
                names = "--learning-rate",
                paramLabel = "X",
                description = "Peak rate (default: 2.0E-4; what the paper has for an adapter that needs another).")
        Double learningRate;

        @Option(
                names = "--lr-scheduler",
                paramLabel = "NAME",
                description = "${COMPLETION-CANDIDATES} (default: ${DEFAULT-VALUE}).")
        ScheduleName scheduler = ScheduleName.cosine;

        @Option(
                names = "--warmup",
                paramLabel = "N",
                description = "Steps of warm-up (default: 50, or a tenth of the run if that is less).")
        Integer warmup;

        /** Steps of warm-up in a run of so many. */
        int warmup(long total) {
            return warmup != null ? warmup : (int) Math.min(50, total / 10);
        }

        @Option(
                names = "--optimizer",
                paramLabel = "NAME",
                description = "${COMPLETION-CANDIDATES} (default: ${DEFAULT-VALUE}).")
        OptimizerName optimizer = OptimizerName.adamw;

        @Option(
                names = "--optimizer-state",
                paramLabel = "DIR",
                description =
                        "Keep the optimiser's state in a scratch file in this folder instead of in memory: the system"
                                + " pages it in and out. Changes no result.")
        Path optimizerState;

        @Option(names = "--weight-decay", paramLabel = "X", description = "Default: ${DEFAULT-VALUE}.")
        double weightDecay = 0;

        @Option(
                names = "--max-grad-norm",
                paramLabel = "X",
                description = "Gradients are clipped to this norm; 0 = not (default: ${DEFAULT-VALUE}).")
        double maxGradNorm = 1;

        @Option(names = "--label-smoothing", paramLabel = "X", description = "Default: ${DEFAULT-VALUE}.")
        float labelSmoothing = 0;

        @Option(
                names = "--compute",
                paramLabel = "NAME",
                description = "Precision of products and attention: f32 or bf16 (default: ${DEFAULT-VALUE}).")
        ComputeName compute = ComputeName.f32;

        @Option(
                names = "--grad-checkpoint",
                description = "Compute blocks again in the backward pass: much less memory, a third more time.")
        boolean gradCheckpoint;

        @Option(names = "--seed", paramLabel = "N", description = "Of everything random (default: ${DEFAULT-VALUE}).")
        long seed = 0;

        @Option(names = "--threads", paramLabel = "N", description = "Default: all cores. Changes no result.")
        Integer threads;
    }

    static final class Output {
        @Option(
                names = "--output",
                paramLabel = "DIR",
                description = "Folder of the run; must not exist unless --resume.")
        Path dir;

        @Option(names = "--resume", description = "Go on from the last checkpoint in --output, bit for bit.")
        boolean resume;

        @Option(names = "--steps-per-report", paramLabel = "N", description = "Default: ${DEFAULT-VALUE}.")
        int report = 1;

        @Option(
                names = "--steps-per-eval",
                paramLabel = "N",
                description = "Validation every N steps; 0 = at the end (default: ${DEFAULT-VALUE}).")
        int eval = 100;

        @Option(
                names = "--save-every",
                paramLabel = "N",
                description = "A checkpoint every N steps; 0 = at the end (default: ${DEFAULT-VALUE}).")
        int save = 100;

        @Option(
                names = "--keep-last",
                paramLabel = "N",
                description = "Checkpoints kept besides the best (default: ${DEFAULT-VALUE}).")
        int keepLast = 2;
    }
}
