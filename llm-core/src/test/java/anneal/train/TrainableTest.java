package anneal.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import anneal.nn.Trainable;
import anneal.tensor.Ops;
import anneal.tensor.Shape;
import anneal.tensor.Tensor;
import anneal.tensor.UpdateOps;
import anneal.train.Schedule.Cosine;
import anneal.train.TinyTask.Examples;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.IntFunction;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What a trainer does for a {@link Trainable} beside moving its parameters. */
class TrainableTest {
    private static final IntFunction<Iterator<Examples>> DATA = TinyTask.epochs(28, 4);
    private static final float WEIGHT = 0.3f;

    @TempDir
    Path dir;

    private static TrainConfig.Builder config(long steps) {
        return TrainConfig.builder().steps(steps).logEvery(1).schedule(new Cosine(2e-2, 3));
    }

    /**
     * Pulls one matrix towards zero by a penalty, weight/2 |w|^2, remembers the mean gradient over time and sets a number of the
     * matrix to what the memory says: state that changes the run if it is lost.
     */
    private static final class Pulled implements Trainable, AutoCloseable {
        final TinyTask task = new TinyTask();
        private final Arena arena = Arena.ofShared();
        private final Tensor memory = Tensor.allocate(arena, Shape.of(1));
        final List<Step> steps = new ArrayList<>();
        final List<Double> norms = new ArrayList<>();
        long begun;

        private Tensor w() {
            return task.parameters.get("out.weight");
        }

        @Override
        public Map<String, Tensor> parameters() {
            return task.parameters;
        }

        @Override
        public void begin(long total) {
            if (total < 2) {
                throw new IllegalArgumentException("Pulled: a run of " + total + " steps is too short");
            }
            begun = total;
        }

        @Override
        public Optional<Tensor> penalty() {
            return Optional.of(Ops.scale(Ops.sum(Ops.mul(w(), w())), WEIGHT / 2));
        }

        @Override
        public void updated(Step step) {
            steps.add(step);
            double norm = 0;
            for (Tensor p : task.parameters.values()) {
                norm += UpdateOps.squaredNorm(p.grad());
            }
            norms.add(Math.sqrt(norm) * step.gradScale());
            memory.set(new float[] {0.8f * memory.item() + w().grad().get(0) * (float) step.gradScale()});
            float[] values = w().toArray();
            values[3] = memory.item();
            w().set(values);
        }

        @Override
        public Map<String, Tensor> state() {
            return Map.of("memory", memory);
        }

        @Override
        public void close() {
            task.close();
            arena.close();
        }
    }

    @Test
    void isToldOfEachStepAndOfTheGradientThatMadeIt() {
        try (Pulled pulled = new Pulled();
                Trainer trainer = new Trainer(
                        pulled, new AdamW(), config(6).clipNorm(0.05).build())) {
            List<StepReport> reports = new ArrayList<>();
            trainer.onStep(reports::add).fit(DATA, pulled.task::loss);
            assertThat(pulled.begun).isEqualTo(6);
            assertThat(pulled.steps).extracting(Trainable.Step::step).containsExactly(1L, 2L, 3L, 4L, 5L, 6L);
            assertThat(pulled.steps).extracting(Trainable.Step::total).containsOnly(6L);
            assertThat(reports).allSatisfy(r -> assertThat(r.gradNorm()).isGreaterThan(0.1));
            assertThat(pulled.norms).as("clipped").allSatisfy(n -> assertThat(n).isCloseTo(0.05, within(1e-6)));
        }
    }

    @Test
    void epochsBecomeTheRealNumberOfSteps() {
        TrainConfig config = TrainConfig.builder()
                .epochs(2)
                .accumulate(3)
                .schedule(new Cosine(1e-2, 0))
                .build();
        try (Pulled pulled = new Pulled();
                Trainer trainer = new Trainer(pulled, new AdamW(), config)) {
            trainer.fit(DATA, pulled.task::loss);
            assertThat(pulled.begun).as("7 batches are steps of 3, 3 and 1").isEqualTo(6);
        }
    }

    @Test
    void thePenaltyIsInTheLossOncePerItemAndInTheGradient() {
        Examples batch = TinyTask.examples(0, 8);
        IntFunction<Iterator<Examples>> data = e -> List.of(batch).iterator();
        List<StepReport> plain = new ArrayList<>(), pulled = new ArrayList<>();
        TrainConfig config =
                config(2).schedule(new Schedule.Constant(1)).clipNorm(0).build();
        float[] gradient, pulledGradient, before;
        try (TinyTask task = new TinyTask();
                Trainer trainer = new Trainer(task.parameters, new Sgd(), config)) {
            before = task.parameters.get("out.weight").toArray();
            trainer.onStep(plain::add).onStep(r -> trainer.stop()).fit(data, task::loss);
            gradient = task.parameters.get("out.weight").grad().toArray();
        }
        try (Pulled p = new Pulled();
                Trainer trainer = new Trainer(p, new Sgd(), config)) {
            trainer.onStep(pulled::add).onStep(r -> trainer.stop()).fit(data, p.task::loss);
            pulledGradient = p.w().grad().toArray();
            assertThat(trainer.evaluate(data.apply(0), p.task::loss).metrics()).doesNotContainKey(Loss.PENALTY);
        }
        double expected = 0;
        for (int i = 0; i < before.length; i++) {
            expected += WEIGHT / 2 * before[i] * before[i];
            assertThat(pulledGradient[i] / 7)
                    .as("7 of 8 examples have a label")
                    .isCloseTo(gradient[i] / 7 + WEIGHT * before[i], within(1e-5f));
        }
        assertThat(pulled.getFirst().metrics().get(Loss.PENALTY)).isCloseTo(expected, within(1e-5));
        assertThat(pulled.getFirst().loss()).isCloseTo(plain.getFirst().loss() + expected, within(1e-5));
    }

    @Test
    void microBatchesOfAnySizesAreOneBatch() {
        Map<String, float[]> whole = train(config(6).build(), TinyTask.epochs(8, 8), 0);
        for (int size : new int[] {4, 3, 1}) {
            Map<String, float[]> parts = train(config(6).accumulate(8).build(), TinyTask.epochs(8, size), 0);
            whole.forEach((name, x) -> assertThat(parts.get(name))
                    .as("%s, batches of %d", name, size)
                    .usingComparatorWithPrecision(2e-5f)
                    .containsExactly(x));
        }
    }

    private static Map<String, float[]> train(TrainConfig config, IntFunction<Iterator<Examples>> data, float dropout) {
        try (Pulled pulled = new Pulled();
                Trainer trainer = new Trainer(pulled, new AdamW(), config)) {
            pulled.task.dropout = dropout;
            assertThat(trainer.fit(data, pulled.task::loss)).isTrue();
            return pulled.task.values();
        }
    }

    @Test
    void whatItRemembersIsInTheCheckpoint() {
        TrainConfig config =
                config(12).saveEvery(5).keepLast(0).checkpoints(dir).build();
        Map<String, float[]> straight = train(config, DATA, 0.3f);
        Path fifth = dir.resolve("checkpoint-5");
        assertThat(fifth.resolve("method.safetensors")).exists();
        try (Pulled pulled = new Pulled();
                Trainer trainer = new Trainer(pulled, new AdamW(), config)) {
            pulled.task.dropout = 0.3f;
            assertThat(trainer.resume(fifth).fit(DATA, pulled.task::loss)).isTrue();
            pulled.task.values().forEach((name, x) -> assertThat(x).as(name).containsExactly(straight.get(name)));
            assertThat(pulled.steps.getFirst()).extracting(Trainable.Step::step).isEqualTo(6L);
        }
    }

    @Test
    void refusesARunOrACheckpointThatDoesNotFit() {
        try (Pulled pulled = new Pulled();
                Trainer trainer = new Trainer(
                        pulled, new AdamW(), config(1).checkpoints(dir).build())) {
            assertThatThrownBy(() -> trainer.fit(DATA, pulled.task::loss))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessage("Pulled: a run of 1 steps is too short");
            assertThat(trainer.steps()).isZero();
            assertThat(Files.exists(dir.resolve("checkpoint-1"))).isFalse();
        }
        try (TinyTask task = new TinyTask();
                Trainer plain = new Trainer(
                        task.parameters,
                        new AdamW(),
                        config(2).checkpoints(dir.resolve("plain")).build())) {
            plain.fit(DATA, task::loss);
            assertThat(dir.resolve("plain/checkpoint-2/method.safetensors")).doesNotExist();
        }
        try (Pulled pulled = new Pulled();
                Trainer trainer = new Trainer(pulled, new AdamW(), config(2).build())) {
            assertThatThrownBy(() -> trainer.resume(dir.resolve("plain")))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessage("resume: " + dir.resolve("plain/checkpoint-2")
                            + " has no method.safetensors: it was made by a run of another method");
            trainer.fit(DATA, pulled.task::loss);
        }
        train(config(2).checkpoints(dir.resolve("pulled")).build(), DATA, 0);
        try (TinyTask task = new TinyTask();
                Trainer trainer =
                        new Trainer(task.parameters, new AdamW(), config(2).build())) {
            assertThatThrownBy(() -> trainer.resume(dir.resolve("pulled")))
                    .hasMessage("resume: " + dir.resolve("pulled/checkpoint-2")
                            + " has a method.safetensors: it was made by a run of another method");
        }
    }
}
