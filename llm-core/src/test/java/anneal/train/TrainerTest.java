package anneal.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import anneal.io.CheckpointException;
import anneal.io.CheckpointStore;
import anneal.kernels.Compute;
import anneal.kernels.Parallel;
import anneal.tensor.Ops;
import anneal.tensor.Shape;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import anneal.train.Schedule.Constant;
import anneal.train.Schedule.Cosine;
import anneal.train.TinyTask.Examples;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.function.IntFunction;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TrainerTest {
    private static final IntFunction<Iterator<Examples>> DATA = TinyTask.epochs(28, 4);

    @TempDir
    Path dir;

    private static TrainConfig.Builder config(long steps) {
        return TrainConfig.builder().steps(steps).logEvery(1).schedule(new Cosine(2e-2, 3));
    }

    /** Trains a new task and gives its parameters. */
    private static Map<String, float[]> train(TrainConfig config, IntFunction<Iterator<Examples>> data, float dropout) {
        try (TinyTask task = new TinyTask();
                Trainer trainer = new Trainer(task.parameters, new AdamW(), config)) {
            task.dropout = dropout;
            assertThat(trainer.fit(data, task::loss)).isTrue();
            return task.values();
        }
    }

    private static void assertSameBits(Map<String, float[]> a, Map<String, float[]> b) {
        assertThat(a.keySet()).isEqualTo(b.keySet());
        a.forEach((name, x) -> assertThat(x).as(name).containsExactly(b.get(name)));
    }

    // ---------------------------------------------------------------- learning

    @Test
    void learnsASmallDataSetByHeart() {
        try (TinyTask task = new TinyTask();
                Trainer trainer =
                        new Trainer(task.parameters, new AdamW(), config(300).build())) {
            List<StepReport> reports = new ArrayList<>();
            trainer.onStep(reports::add).fit(DATA, task::loss);
            assertThat(reports.getFirst().loss()).isGreaterThan(1.5);
            assertThat(trainer.evaluate(DATA.apply(0), task::loss).loss()).isLessThan(0.01);
        }
    }

    @Test
    void theConfigurationSaysThePrecision() {
        IntFunction<Iterator<Examples>> data = TinyTask.epochs(28, 14);
        Map<String, float[]> full = train(config(6).build(), data, 0);
        Map<String, float[]> half = train(config(6).compute(Compute.BF16).build(), data, 0);
        half.forEach((name, p) -> {
            assertThat(p).as(name).isNotEqualTo(full.get(name));
            assertThat(p).as(name).usingComparatorWithPrecision(0.05f).containsExactly(full.get(name));
        });
        try (Tape.Precision outer = Tape.compute(Compute.BF16)) {
            assertSameBits(train(config(6).build(), data, 0), full);
            assertThat(Tape.compute()).isEqualTo(Compute.BF16);
        }
        assertThatThrownBy(() -> config(6).compute(Compute.INT8).build())
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("TrainConfig: compute INT8 is for using a model: training needs F32 or BF16");
    }

    @Test
    void validationHasThePrecisionOfTheTraining() {
        IntFunction<Iterator<Examples>> data = TinyTask.epochs(28, 14);
        try (TinyTask task = new TinyTask();
                Trainer full =
                        new Trainer(task.parameters, new AdamW(), config(1).build());
                Trainer half = new Trainer(
                        task.parameters,
                        new AdamW(),
                        config(1).compute(Compute.BF16).build())) {
            double expected = full.evaluate(data.apply(0), task::loss).loss();
            assertThat(half.evaluate(data.apply(0), task::loss).loss())
                    .isNotEqualTo(expected)
                    .isCloseTo(expected, within(0.05));
        }
    }

    @Test
    void reportsWhatHappened() {
        List<StepReport> reports = new ArrayList<>();
        try (TinyTask task = new TinyTask();
                Trainer trainer = new Trainer(
                        task.parameters,
                        new AdamW(),
                        config(10).accumulate(2).logEvery(4).build())) {
            trainer.onStep(reports::add).fit(DATA, task::loss);
            assertThat(trainer.steps()).isEqualTo(10);
        }
        assertThat(reports).extracting(StepReport::step).containsExactly(4L, 8L, 10L);
        assertThat(reports).extracting(StepReport::epoch).containsExactly(0, 1, 2);
        assertThat(reports).extracting(StepReport::total).containsOnly(10L);
        StepReport first = reports.getFirst();
        assertThat(first.rate()).isEqualTo(new Cosine(2e-2, 3).rate(3, 10));
        assertThat(first.count())
                .as("labels of 28 examples, every fifth without")
                .isEqualTo(23);
        assertThat(first.metrics()).containsOnlyKeys("rows");
        assertThat(first.metrics().get("rows")).isCloseTo(28 / 23.0, within(1e-12));
        assertThat(first.gradNorm()).isPositive();
        assertThat(first.tokensPerSecond()).isPositive();
    }

    @Test
    void oneBatchOfEightEqualsTwoOfFourAndEightOfOne() {
        Map<String, float[]> whole = train(config(6).build(), TinyTask.epochs(8, 8), 0);
        for (int size : new int[] {4, 3, 1}) {
            Map<String, float[]> parts = train(config(6).accumulate(8).build(), TinyTask.epochs(8, size), 0);
            whole.forEach((name, x) -> {
                for (int i = 0; i < x.length; i++) {
                    assertThat(parts.get(name)[i])
                            .as("%s[%d], batches of %d", name, i, size)
                            .isCloseTo(x[i], within(2e-5f));
                }
            });
        }
    }

    @Test
    void clippingBoundsTheStep() {
        try (TinyTask task = new TinyTask();
                Trainer trainer = new Trainer(
                        task.parameters,
                        new Sgd(),
                        config(1).schedule(new Constant(1)).clipNorm(0.01).build())) {
            Map<String, float[]> before = task.values();
            List<StepReport> reports = new ArrayList<>();
            trainer.onStep(reports::add).fit(DATA, task::loss);
            assertThat(reports.getFirst().gradNorm()).isGreaterThan(0.1);
            double squares = 0;
            for (Map.Entry<String, float[]> e : task.values().entrySet()) {
                for (int i = 0; i < e.getValue().length; i++) {
                    squares += Math.pow(e.getValue()[i] - before.get(e.getKey())[i], 2);
                }
            }
            assertThat(Math.sqrt(squares)).isCloseTo(0.01, within(1e-5));
        }
    }

    @Test
    void doesNotDependOnTheNumberOfThreads() {
        int before = Parallel.threads();
        try {
            Parallel.threads(1);
            Map<String, float[]> one = train(config(8).build(), DATA, 0.2f);
            Parallel.threads(2);
            assertSameBits(train(config(8).build(), DATA, 0.2f), one);
        } finally {
            Parallel.threads(before);
        }
    }

    @Test
    void theSeedDecidesDropout() {
        Map<String, float[]> a = train(config(5).seed(1).build(), DATA, 0.2f);
        assertSameBits(train(config(5).seed(1).build(), DATA, 0.2f), a);
        assertThat(train(config(5).seed(2).build(), DATA, 0.2f).get("in.weight"))
                .isNotEqualTo(a.get("in.weight"));
    }

    @Test
    void epochsBecomeSteps() {
        TrainConfig config = TrainConfig.builder()
                .epochs(3)
                .accumulate(3)
                .logEvery(1)
                .schedule(new Cosine(1e-2, 0))
                .build();
        List<StepReport> reports = new ArrayList<>();
        try (TinyTask task = new TinyTask();
                Trainer trainer = new Trainer(task.parameters, new AdamW(), config)) {
            trainer.onStep(reports::add).fit(DATA, task::loss);
        }
        assertThat(reports).as("7 batches are steps of 3, 3 and 1").hasSize(9);
        assertThat(reports).extracting(StepReport::total).containsOnly(9L);
        assertThat(reports.get(2).count()).isLessThan(reports.get(1).count());
    }

    // ---------------------------------------------------------------- checkpoints

    @Test
    void resumingContinuesBitForBit() {
        TrainConfig config = config(20)
                .accumulate(2)
                .saveEvery(10)
                .keepLast(0)
                .checkpoints(dir)
                .build();
        Map<String, float[]> straight = train(config, DATA, 0.3f);
        assertThat(new CheckpointStore(dir, CheckpointStore.Keep.ALL).list()).hasSize(2);
        try (TinyTask task = new TinyTask();
                Trainer trainer = new Trainer(task.parameters, new AdamW(), config)) {
            task.dropout = 0.3f;
            trainer.resume(dir.resolve("checkpoint-10"));
            assertThat(trainer.steps()).isEqualTo(10);
            List<StepReport> reports = new ArrayList<>();
            assertThat(trainer.onStep(reports::add).fit(DATA, task::loss)).isTrue();
            assertThat(reports).hasSize(10);
            assertSameBits(task.values(), straight);
        }
    }

    @Test
    void aStoppedRunSavesAndIsResumedBitForBit() {
        TrainConfig config = config(12).checkpoints(dir).build();
        Map<String, float[]> straight = train(config(12).build(), DATA, 0.3f);
        try (TinyTask task = new TinyTask();
                Trainer trainer = new Trainer(task.parameters, new AdamW(), config)) {
            task.dropout = 0.3f;
            trainer.onStep(r -> {
                if (r.step() == 5) {
                    Thread other = Thread.ofPlatform().start(trainer::stop);
                    assertThatCode(other::join).doesNotThrowAnyException();
                }
            });
            assertThat(trainer.fit(DATA, task::loss)).isFalse();
            assertThat(trainer.steps()).isEqualTo(5);
        }
        try (TinyTask task = new TinyTask();
                Trainer trainer = new Trainer(task.parameters, new AdamW(), config)) {
            task.dropout = 0.3f;
            assertThat(trainer.resume(dir).fit(DATA, task::loss)).isTrue();
            assertSameBits(task.values(), straight);
        }
    }

    @Test
    void keepsTheLastFewAndTheBest() {
        TrainConfig config = config(30)
                .schedule(new Constant(0.1))
                .evalEvery(2)
                .saveEvery(2)
                .keepLast(2)
                .checkpoints(dir)
                .build();
        List<EvalReport> evaluations = new ArrayList<>();
        try (TinyTask task = new TinyTask();
                Trainer trainer = new Trainer(task.parameters, new AdamW(), config)) {
            IntFunction<Iterator<Examples>> held =
                    e -> List.of(TinyTask.examples(100, 120)).iterator();
            trainer.onEvaluate(evaluations::add).fit(DATA, task::loss, held);
        }
        assertThat(evaluations).hasSize(15);
        long best = Collections.min(evaluations, (a, b) -> Double.compare(a.loss(), b.loss()))
                .step();
        assertThat(best).as("random labels are overfitted").isLessThan(28);
        assertThat(new CheckpointStore(dir, CheckpointStore.Keep.ALL).list())
                .extracting(CheckpointStore.Entry::step)
                .containsExactly(best, 28L, 30L);
    }

    @Test
    void evaluationDoesNotDropAndDoesNotTrain() {
        try (TinyTask task = new TinyTask();
                Trainer trainer =
                        new Trainer(task.parameters, new AdamW(), config(1).build())) {
            double plain = trainer.evaluate(DATA.apply(0), task::loss).loss();
            task.dropout = 0.5f;
            EvalReport report = trainer.evaluate(DATA.apply(0), task::loss);
            assertThat(report.loss()).isEqualTo(plain);
            assertThat(report.perplexity()).isEqualTo(Math.exp(plain));
            assertThat(report.count()).isEqualTo(23);
            assertThat(task.parameters.values()).noneMatch(Tensor::hasGrad);
        }
    }

    // ---------------------------------------------------------------- errors

    @Test
    void aLossThatIsNotFiniteStopsBeforeItDoesHarm() {
        TrainConfig config = config(10).saveEvery(2).checkpoints(dir).build();
        try (TinyTask task = new TinyTask();
                Trainer trainer = new Trainer(task.parameters, new AdamW(), config)) {
            Map<String, float[]> good = new HashMap<>();
            Objective<Examples> spoilt = batch -> {
                Loss loss = task.loss(batch);
                if (trainer.steps() < 3) {
                    return loss;
                }
                good.putAll(task.values());
                return new Loss(Ops.scale(loss.sum(), Float.NaN), loss.count());
            };
            Examples fourth = nth(3);
            assertThatThrownBy(() -> trainer.fit(DATA, spoilt))
                    .isInstanceOf(ArithmeticException.class)
                    .hasMessage("fit: loss is NaN at step 4 (epoch 0), from [" + fourth
                            + "]; parameters are as after step 3, last checkpoint " + dir.resolve("checkpoint-2"));
            assertSameBits(task.values(), good);
            assertThat(new CheckpointStore(dir, CheckpointStore.Keep.ALL).list())
                    .hasSize(1);
        }
    }

    private static Examples nth(int n) {
        Iterator<Examples> batches = DATA.apply(0);
        for (int i = 0; i < n; i++) {
            batches.next();
        }
        return batches.next();
    }

    @Test
    void aGradientThatIsNotFiniteStopsToo() {
        try (TinyTask task = new TinyTask();
                Trainer trainer =
                        new Trainer(task.parameters, new AdamW(), config(10).build())) {
            Map<String, float[]> before = task.values();
            Objective<Examples> steep =
                    batch -> new Loss(Ops.scale(task.loss(batch).sum(), 1e38f), 1e30);
            assertThatThrownBy(() -> trainer.fit(DATA, steep))
                    .isInstanceOf(ArithmeticException.class)
                    .hasMessageMatching(
                            "fit: (loss|gradient norm) is (NaN|Infinity) at step 1 .*there is no checkpoint");
            assertSameBits(task.values(), before);
        }
    }

    @Test
    void saysWhatIsMissing() {
        try (TinyTask task = new TinyTask();
                Trainer trainer =
                        new Trainer(task.parameters, new AdamW(), config(3).build())) {
            assertThatThrownBy(() -> trainer.fit(e -> Collections.<Examples>emptyIterator(), task::loss))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessage("fit: the data set is empty: epoch 1 has no batch");
            assertThatThrownBy(() -> trainer.evaluate(Collections.<Examples>emptyIterator(), task::loss))
                    .hasMessage("evaluate: the data set is empty: no item to take the loss of");
            Examples unlabelled = new Examples("row 7", new float[TinyTask.INPUTS], new int[] {-1});
            assertThatThrownBy(() -> trainer.fit(e -> List.of(unlabelled).iterator(), task::loss))
                    .hasMessage("fit: nothing to train on in step 1: [row 7] gave a loss over no item");
            assertThatThrownBy(
                            () -> new Trainer(Map.of(), new AdamW(), config(3).build()))
                    .hasMessage("Optimizer: there is no parameter to train");
            ParameterGroup idle = new ParameterGroup("lora_B", 16, false);
            assertThatThrownBy(() -> new Trainer(
                            task.parameters, new AdamW(), config(3).groups(idle).build()))
                    .hasMessage(
                            "Optimizer: parameter group lora_B is left with no parameter of [in.weight, in.bias, out.weight]");
        }
    }

    @Test
    void refusesAConfigurationThatContradictsItself() {
        assertThatThrownBy(() -> config(3).epochs(2).build())
                .hasMessage("TrainConfig: give either steps or epochs, got steps 3 and epochs 2");
        assertThatThrownBy(() -> TrainConfig.builder().steps(3).build())
                .hasMessage("TrainConfig: a schedule is missing, for example new Cosine(2e-4, 50)");
        assertThatThrownBy(() -> config(3).saveEvery(2).build())
                .hasMessage("TrainConfig: saveEvery 2 needs a checkpoint folder");
        assertThatThrownBy(() -> config(3).accumulate(0).build())
                .hasMessage("TrainConfig: accumulate 0.0 must be in [1.0, infinity)");
        try (TinyTask task = new TinyTask();
                Trainer trainer = new Trainer(
                        task.parameters, new AdamW(), config(3).evalEvery(1).build())) {
            assertThatThrownBy(() -> trainer.fit(DATA, task::loss))
                    .hasMessage("fit: evalEvery 1 needs validation data");
        }
    }

    @Test
    void doesNotMixTwoRunsInOneFolder() {
        TrainConfig config = config(2).checkpoints(dir).build();
        train(config, DATA, 0);
        assertThatThrownBy(() -> train(config, DATA, 0))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage(
                        "fit: the checkpoint folder " + dir + " holds a run already: resume from it or choose another");
    }

    @Test
    void refusesACheckpointThatDoesNotFit() {
        train(config(2).checkpoints(dir).build(), DATA, 0);
        Path checkpoint = dir.resolve("checkpoint-2");
        try (TinyTask task = new TinyTask();
                Arena arena = Arena.ofShared()) {
            try (Trainer other =
                    new Trainer(task.parameters, new Lion(), config(2).build())) {
                assertThatThrownBy(() -> other.resume(dir))
                        .hasMessage(
                                "resume: " + checkpoint + " was made with " + new AdamW() + ", not with " + new Lion());
            }
            Map<String, Tensor> wrong = new java.util.TreeMap<>(task.parameters);
            wrong.remove("in.bias");
            wrong.put("new", Tensor.allocate(arena, Shape.of(3)));
            wrong.put("out.weight", Tensor.allocate(arena, Shape.of(2, 2)));
            try (Trainer other = new Trainer(wrong, new AdamW(), config(2).build())) {
                assertThatThrownBy(() -> other.resume(dir))
                        .isInstanceOf(IllegalArgumentException.class)
                        .hasMessageStartingWith(checkpoint + ": parameters does not fit, 3 tensors: ")
                        .hasMessageContaining("new [3] is missing")
                        .hasMessageContaining("out.weight is [5, 20], must be [2, 2]")
                        .hasMessageContaining("in.bias [20] has no place");
            }
            try (Trainer other =
                    new Trainer(task.parameters, new AdamW(), config(2).build())) {
                assertThatThrownBy(() -> other.resume(dir.resolve("nothing")))
                        .isInstanceOf(CheckpointException.class)
                        .hasMessageContaining("there is no checkpoint to resume from");
            }
        }
    }

    @Test
    void saysThatTheDataHasChanged() {
        train(config(5).checkpoints(dir).build(), DATA, 0);
        try (TinyTask task = new TinyTask();
                Trainer trainer =
                        new Trainer(task.parameters, new AdamW(), config(9).build())) {
            trainer.resume(dir);
            assertThatThrownBy(() -> trainer.fit(TinyTask.epochs(8, 4), task::loss))
                    .hasMessage("resume: the checkpoint stands after batch 5 of epoch 0, but that epoch has only 2: "
                            + "the data has changed");
        }
    }

    @Test
    void aCheckpointThatCannotBeWrittenIsAnError() throws IOException {
        Path file = Files.writeString(dir.resolve("file"), "not a folder");
        try (TinyTask task = new TinyTask();
                Trainer trainer = new Trainer(
                        task.parameters,
                        new AdamW(),
                        config(2).checkpoints(file.resolve("run")).build())) {
            assertThatThrownBy(() -> trainer.fit(DATA, task::loss))
                    .isInstanceOf(CheckpointException.class)
                    .hasMessageContaining("could not be saved");
        }
    }
}
