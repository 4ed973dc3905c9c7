package anneal.cli;

import anneal.NextToken;
import anneal.Pretrained;
import anneal.model.Decoder;
import anneal.nn.Trainable;
import anneal.tensor.DType;
import anneal.tensor.NllOptions;
import anneal.tensor.Tape;
import anneal.train.EvalReport;
import anneal.train.Objective;
import anneal.train.StepReport;
import anneal.train.TrainConfig;
import anneal.train.Trainer;
import com.fasterxml.jackson.databind.JsonNode;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import picocli.CommandLine.Model.CommandSpec;
import sun.misc.Signal;
import sun.misc.SignalHandler;

/** One training run in a folder: the plan, the samples before, the loop, the result, the plot, the samples after. */
final class TrainingRun {
    private final CommandSpec command;
    private final PrintWriter out;
    private final RunFlags flags;
    private final Pretrained lm;
    private final LossPlot plot = new LossPlot();
    private Decoder teacher;

    TrainingRun(CommandSpec command, RunFlags flags, Pretrained lm) {
        this.command = command;
        this.out = command.commandLine().getOut();
        this.flags = flags;
        this.lm = lm;
    }

    /** Says that this model is in memory too and is asked in every step. */
    TrainingRun teacher(Decoder model) {
        teacher = model;
        return this;
    }

    /** Trains weights of the model on the next token and writes the model into the folder. */
    int runFull(Trainable trained, TrainingData data) {
        return run(trained, data, this::save);
    }

    /** The same with any objective. */
    <B> int runFull(Trainable trained, RunData<B> data, Objective<B> objective) {
        return run(trained, data, objective, this::save);
    }

    private void save(Path folder) {
        ModelFlags.save(lm, folder, false, DType.F32, command.commandLine().getErr());
    }

    /** Trains {@code trained} on the next token and hands the folder to {@code save}. Returns the exit code. */
    int run(Trainable trained, TrainingData data, Consumer<Path> save) {
        return run(trained, data, new NextToken(lm.model(), new NllOptions(flags.steps.labelSmoothing, 0)), save);
    }

    /** The same with any objective. */
    <B> int run(Trainable trained, RunData<B> data, Objective<B> objective, Consumer<Path> save) {
        if (flags.output.resume) {
            RunConfig.changes(flags.output.dir, command)
                    .forEach(change -> out.println("Warning: a flag is not what it was before: " + change + "."));
        }
        long total = totalSteps(data);
        RunPlan plan = RunPlan.of(lm.model(), lm.model().config(), trained.parameters(), flags, data.rowLength());
        if (teacher != null) {
            plan = plan.withTeacher(teacher, (long) flags.steps.batchSize * data.rowLength());
        }
        plan.print(out, total);
        plan.requireMemory(RunPlan.availableBytes());
        plan.requireHeap(Runtime.getRuntime().maxMemory());
        data.describe(out, lm.tokenizer());
        try (RunFolder folder = RunFolder.open(flags.output.dir, flags.output.resume);
                Tape.Precision precision = Tape.compute(flags.steps.compute.precision())) {
            try {
                return run(trained, new Learning<>(data, objective), save, folder, total);
            } catch (RuntimeException | Error e) {
                folder.discard(e);
                throw e;
            }
        }
    }

    /** What is learnt from. */
    private record Learning<B>(RunData<B> data, Objective<B> objective) {}

    private int run(Trainable trained, Learning<?> learning, Consumer<Path> save, RunFolder folder, long total) {
        BeforeAfter samples = new BeforeAfter(lm, learning.data.first());
        int code;
        try (Stop stop = new Stop()) {
            code = train(trained, learning, folder, total, stop) ? 0 : stop.code();
            folder.adopt(save);
            if (!plot.isEmpty()) {
                plot.write(
                        folder.path().resolve("loss.png"),
                        "Loss of " + folder.path().getFileName());
            }
        }
        if (code == 0) {
            samples.print(out);
        }
        out.println("Result, config.yaml, metrics.jsonl, loss.png and checkpoints are in " + folder.path());
        if (code != 0) {
            out.println("Stopped before the end; the same command with --resume goes on.");
        }
        return code;
    }

    private long totalSteps(RunData<?> data) {
        RunFlags.Steps s = flags.steps;
        return s.iters != null
                ? s.iters
                : (long) (s.epochs == null ? 1 : s.epochs) * Math.ceilDiv(data.count(), s.accumulation);
    }

    private TrainConfig config(RunFolder folder, long total, boolean validate) {
        RunFlags.Steps s = flags.steps;
        TrainConfig.Builder config = TrainConfig.builder()
                .accumulate(s.accumulation)
                .schedule(s.scheduler.of(s.learningRate, s.warmup(total), total))
                .clipNorm(s.maxGradNorm)
                .compute(s.compute.precision())
                .seed(s.seed)
                .logEvery(flags.output.report)
                .evalEvery(validate ? flags.output.eval : 0)
                .saveEvery(flags.output.save)
                .keepLast(flags.output.keepLast)
                .checkpoints(folder.checkpoints())
                .optimizerPages(s.optimizerState);
        return (s.iters != null ? config.steps(s.iters) : config.epochs(s.epochs == null ? 1 : s.epochs)).build();
    }

    private <B> boolean train(Trainable trained, Learning<B> learning, RunFolder folder, long total, Stop stop) {
        RunFlags.Steps s = flags.steps;
        RunData<B> data = learning.data;
        lm.model().checkpointing(s.gradCheckpoint);
        try (Trainer trainer =
                new Trainer(trained, s.optimizer.of(s.weightDecay), config(folder, total, data.valid() != null))) {
            if (flags.output.resume) {
                trainer.resume(folder.checkpoints());
                drawUpTo(trainer.steps(), folder.logged());
            }
            stop.on(trainer);
            folder.writeConfig(command);
            if (data.valid() != null) {
                EvalReport start = trainer.evaluate(data.valid().apply(0), learning.objective);
                out.printf("Validation loss before: %.4f%n", start.loss());
                plot.valid(start.step(), start.loss());
                folder.log("valid", start);
            }
            try (Progress progress = new Progress(out, "training", total, trainer.steps())) {
                trainer.onStep(report -> onStep(report, progress, folder));
                trainer.onEvaluate(report -> onEvaluate(report, progress, folder));
                return trainer.fit(data.train(), learning.objective, data.valid());
            } catch (ArithmeticException e) {
                throw new IllegalArgumentException(e.getMessage(), e);
            }
        }
    }

    /** Puts what earlier runs in this folder have logged into the plot, up to the checkpoint that this one goes on from. */
    private void drawUpTo(long step, List<JsonNode> logged) {
        for (JsonNode event : logged) {
            if (event.path("step").asLong() <= step) {
                plot.add(
                        event.path("event").asText(),
                        event.path("step").asLong(),
                        event.path("loss").asDouble());
            }
        }
    }

    private void onStep(StepReport report, Progress progress, RunFolder folder) {
        progress.step(report);
        plot.train(report.step(), report.loss());
        folder.log("step", report);
    }

    private void onEvaluate(EvalReport report, Progress progress, RunFolder folder) {
        progress.say(String.format("Validation loss at step %d: %.4f", report.step(), report.loss()));
        plot.valid(report.step(), report.loss());
        folder.log("valid", report);
    }

    /**
     * Ctrl-C, a polite kill, a closed terminal: once, the trainer finishes its step and what there is is saved; twice, the process
     * ends where it is. Signals, not a shutdown hook: pictures cannot be drawn while the JVM goes down.
     */
    private static final class Stop implements AutoCloseable {
        private final Map<Signal, SignalHandler> before = new HashMap<>();
        private Trainer trainer;
        private Signal asked;

        Stop() {
            for (String name : List.of("INT", "TERM", "HUP")) {
                Signal signal = new Signal(name);
                before.put(signal, Signal.handle(signal, this::stop));
            }
        }

        /** From now on there is a trainer to be stopped. */
        synchronized void on(Trainer running) {
            trainer = running;
            if (asked != null) {
                trainer.stop();
            }
        }

        private synchronized void stop(Signal signal) {
            if (asked != null) {
                Runtime.getRuntime().halt(code());
            }
            asked = signal;
            if (trainer != null) {
                trainer.stop();
            }
        }

        /** What a process that a signal ended exits with: 130 for Ctrl-C. */
        synchronized int code() {
            return 128 + asked.getNumber();
        }

        @Override
        public void close() {
            before.forEach(Signal::handle);
        }
    }
}
