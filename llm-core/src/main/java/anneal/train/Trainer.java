package anneal.train;

import anneal.nn.Trainable;
import anneal.tensor.Memory;
import anneal.tensor.Ops;
import anneal.tensor.Rng;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import anneal.train.DataCursor.Position;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.function.Consumer;
import java.util.function.IntFunction;

/**
 * The training loop, the only one: every method is an {@link Objective} and possibly a source of data.
 *
 * <pre>
 * step:  for each micro-batch:  loss = objective(batch)          a sum over items, and how many
 *                               loss += items * penalty          if what is trained has one
 *                               add d loss / d p to p.grad       Tape.backward
 *        g = p.grad / (items of all micro-batches)               the gradient of the mean
 *        g = g min(1, clipNorm / |g|)
 *        p = rule(p, g, schedule(step))
 *        trainable.updated(step)                                 for example AdaLoRA's choice of ranks
 * </pre>
 *
 * <p>Because losses are sums, one batch of 8, two of 4 and eight of 1 make the same step. Each micro-batch computes in a memory scope
 * of its own; only gradients of parameters outlive it. The loop is deterministic: noise is seeded from (seed, step, micro-batch), so a
 * run that is resumed goes on bit for bit as if it had never stopped.
 */
public final class Trainer implements AutoCloseable {
    private final Trainable trainable;
    private final TrainConfig config;
    private final Optimizer optimizer;
    private final Checkpoints checkpoints;
    private final List<Consumer<StepReport>> onStep = new ArrayList<>();
    private final List<Consumer<EvalReport>> onEvaluate = new ArrayList<>();
    private Position position = Position.START;
    private double bestLoss = Double.POSITIVE_INFINITY;
    private volatile boolean stopped;

    /**
     * A trainer of adapters, or of whatever else has more to say than its parameters.
     *
     * @param trainable its parameters become trained; its penalty and what it does after a step are part of the loop
     * @throws IllegalArgumentException if it has no parameter, a parameter group matches none, or the checkpoint folder is in use
     */
    public Trainer(Trainable trainable, UpdateRule rule, TrainConfig config) {
        this.trainable = trainable;
        this.config = config;
        optimizer = new Optimizer(trainable.parameters(), rule, config.groups(), config.optimizerPages());
        checkpoints = new Checkpoints(config, trainable, optimizer);
    }

    /**
     * A trainer of plain parameters. Adapters are given themselves, not their parameters: some methods do something after each step.
     *
     * @param parameters by name; they become trained
     * @throws IllegalArgumentException if there is none, a parameter group matches none, or the checkpoint folder is in use
     */
    public Trainer(Map<String, Tensor> parameters, UpdateRule rule, TrainConfig config) {
        this(() -> parameters, rule, config);
    }

    /** Calls the listener with a report every {@code logEvery} steps. */
    public Trainer onStep(Consumer<StepReport> listener) {
        onStep.add(listener);
        return this;
    }

    /** Calls the listener after each validation. */
    public Trainer onEvaluate(Consumer<EvalReport> listener) {
        onEvaluate.add(listener);
        return this;
    }

    /**
     * Goes on from a checkpoint: call it before {@link #fit}, with the same data.
     *
     * @param checkpoint a checkpoint, or a folder of checkpoints, of which the last is taken
     */
    public Trainer resume(Path checkpoint) {
        Checkpoints.Saved saved = checkpoints.restore(checkpoint);
        position = saved.position();
        bestLoss = saved.bestLoss();
        return this;
    }

    /** Asks a running {@link #fit}, from any thread, to finish its step, save and return. */
    public void stop() {
        stopped = true;
    }

    /** Trains without validation data; see {@link #fit(IntFunction, Objective, IntFunction)}. */
    public <B> boolean fit(IntFunction<? extends Iterator<? extends B>> epochs, Objective<? super B> objective) {
        return fit(epochs, objective, null);
    }

    /**
     * Trains until the steps or epochs of the configuration are made, or {@link #stop} is called.
     *
     * @param epochs the batches of each epoch, from 0; the same number must give the same batches
     * @param validation what {@link #evaluate} reads, or null
     * @return true if the run is complete, false if it was stopped before
     * @throws ArithmeticException if a loss or the gradient is not finite: names step and batch; parameters are as after the
     *     step before, which the last checkpoint is not newer than
     */
    public <B> boolean fit(
            IntFunction<? extends Iterator<? extends B>> epochs,
            Objective<? super B> objective,
            IntFunction<? extends Iterator<? extends B>> validation) {
        if (validation == null && config.evalEvery() > 0) {
            throw new IllegalArgumentException("fit: evalEvery " + config.evalEvery() + " needs validation data");
        }
        long total =
                config.steps() > 0 ? config.steps() : DataCursor.steps(epochs, config.epochs(), config.accumulate());
        trainable.begin(total);
        checkpoints.open();
        Window window = new Window();
        try (DataCursor<B> data = new DataCursor<>(epochs, position)) {
            boolean running = optimizer.steps() < total && !stopped;
            while (running) {
                List<B> microBatches = data.next(config.accumulate());
                double rate = config.schedule().rate(optimizer.steps(), total);
                LossSums sums = accumulate(microBatches, objective, data.position());
                double norm = update(sums, rate, total, microBatches, data.position());
                position = data.position();

                long step = optimizer.steps();
                window.add(sums);
                if (due(config.logEvery(), step, step == total || stopped)) {
                    StepReport report = window.report(step, total, position.epoch(), rate, norm);
                    onStep.forEach(listener -> listener.accept(report));
                    window = new Window();
                }
                long before = System.nanoTime();
                boolean last = step == total || stopped;
                OptionalDouble validLoss = validation != null && due(config.evalEvery(), step, last)
                        ? OptionalDouble.of(validate(validation.apply(0), objective))
                        : OptionalDouble.empty();
                boolean best = validLoss.isPresent() && validLoss.getAsDouble() < bestLoss;
                if (best) {
                    bestLoss = validLoss.getAsDouble();
                }
                if (best || due(config.saveEvery(), step, last)) {
                    checkpoints.save(position, validLoss, bestLoss);
                }
                window.skip(System.nanoTime() - before);
                running = !last;
            }
        }
        return optimizer.steps() >= total;
    }

    private static boolean due(int every, long step, boolean last) {
        return last || every > 0 && step % every == 0;
    }

    /** Adds the gradients of all micro-batches to the parameters'. */
    private <B> LossSums accumulate(List<B> microBatches, Objective<? super B> objective, Position at) {
        LossSums sums = new LossSums();
        Rng stepNoise = new Rng(config.seed()).fork(optimizer.steps());
        optimizer.zeroGrad();
        for (int i = 0; i < microBatches.size(); i++) {
            try (var _ = Memory.scope();
                    var _ = Tape.compute(config.compute())) {
                Tape.noise().restore(stepNoise.fork(i).state());
                Loss loss = penalised(objective.apply(microBatches.get(i)));
                if (!Float.isFinite(loss.sum().item())) {
                    throw notFinite("loss", loss.sum().item(), at, List.of(microBatches.get(i)));
                }
                if (loss.count() > 0) {
                    Tape.backward(loss.sum());
                }
                sums.add(loss);
            } finally {
                Tape.clear();
            }
        }
        return sums;
    }

    /** With the penalty of what is trained, once for each item. */
    private Loss penalised(Loss loss) {
        return trainable
                .penalty()
                .map(penalty -> loss.plus(Ops.scale(penalty, (float) loss.count())))
                .orElse(loss);
    }

    /** Moves the parameters along the mean gradient and returns its norm. */
    private double update(LossSums sums, double rate, long total, List<?> microBatches, Position at) {
        if (sums.count() == 0) {
            throw new IllegalArgumentException("fit: nothing to train on in step " + (optimizer.steps() + 1) + ": "
                    + describe(microBatches) + " gave a loss over no item");
        }
        double scale = 1 / sums.count();
        double norm = optimizer.gradNorm(scale);
        if (!Double.isFinite(norm)) {
            throw notFinite("gradient norm", norm, at, microBatches);
        }
        if (config.clipNorm() > 0) {
            scale *= Optimizer.clip(norm, config.clipNorm());
        }
        optimizer.step(scale, rate);
        trainable.updated(new Trainable.Step(optimizer.steps(), total, scale));
        return norm;
    }

    private ArithmeticException notFinite(String what, double value, Position at, List<?> microBatches) {
        return new ArithmeticException("fit: " + what + " is " + value + " at step " + (optimizer.steps() + 1)
                + " (epoch " + at.epoch() + "), from " + describe(microBatches) + "; parameters are as after step "
                + optimizer.steps()
                + checkpoints.last().map(p -> ", last checkpoint " + p).orElse(", there is no checkpoint"));
    }

    private static String describe(List<?> microBatches) {
        String text = microBatches.toString();
        return text.length() <= 500 ? text : text.substring(0, 497) + "...";
    }

    private <B> double validate(Iterator<? extends B> batches, Objective<? super B> objective) {
        EvalReport report = evaluate(batches, objective);
        onEvaluate.forEach(listener -> listener.accept(report));
        return report.loss();
    }

    /** The mean loss over some batches, without training: nothing is recorded, dropout is off, and there is no penalty. */
    public <B> EvalReport evaluate(Iterator<? extends B> batches, Objective<? super B> objective) {
        LossSums sums = new LossSums();
        try (var _ = Tape.pause();
                var _ = Tape.compute(config.compute())) {
            while (batches.hasNext()) {
                try (var _ = Memory.scope()) {
                    sums.add(objective.apply(batches.next()));
                }
            }
        } finally {
            DataCursor.release(batches);
        }
        if (sums.count() == 0) {
            throw new IllegalArgumentException("evaluate: the data set is empty: no item to take the loss of");
        }
        return new EvalReport(optimizer.steps(), sums.mean(), sums.count(), sums.means());
    }

    /** Steps made so far. */
    public long steps() {
        return optimizer.steps();
    }

    /** Frees the optimiser's state; the parameters stay. */
    @Override
    public void close() {
        optimizer.close();
    }

    /** What was trained on since the last report. */
    private static final class Window {
        private final LossSums sums = new LossSums();
        private long start = System.nanoTime();

        void add(LossSums step) {
            sums.add(step);
        }

        /** Takes time out that was not spent on training. */
        void skip(long nanos) {
            start += nanos;
        }

        StepReport report(long step, long total, int epoch, double rate, double norm) {
            double seconds = (System.nanoTime() - start) * 1e-9;
            return new StepReport(
                    step, total, epoch, sums.mean(), rate, norm, sums.tokens() / seconds, sums.count(), sums.means());
        }
    }
}
