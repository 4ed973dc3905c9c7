package anneal.distill;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import anneal.NextToken;
import anneal.data.Batch;
import anneal.generate.Generator;
import anneal.generate.Sampling;
import anneal.io.Json;
import anneal.model.Decoder;
import anneal.model.ModelFiles;
import anneal.model.Tokens;
import anneal.tensor.DType;
import anneal.tensor.Memory;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import anneal.train.AdamW;
import anneal.train.Loss;
import anneal.train.Objective;
import anneal.train.Schedule;
import anneal.train.TrainConfig;
import anneal.train.Trainer;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.function.IntFunction;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class DistillationTest {
    private static final Map<Integer, Integer> LAST = Map.of(0, 1);

    private final Arena arena = Arena.ofShared();

    @TempDir
    private Path dir;

    @AfterEach
    void close() {
        arena.close();
    }

    private static void train(
            Map<String, Tensor> parameters, IntFunction<Iterator<Batch>> data, Objective<Batch> objective, int steps) {
        TrainConfig config = TrainConfig.builder()
                .steps(steps)
                .schedule(new Schedule.Cosine(1e-2, 5))
                .logEvery(1000)
                .build();
        try (Trainer trainer = new Trainer(parameters, new AdamW(), config)) {
            trainer.fit(data, objective);
        }
    }

    private static double heldOut(Decoder model) {
        Loss[] loss = new Loss[1];
        try (Tape.Pause pause = Tape.pause();
                Memory.Scope scope = Memory.scope()) {
            loss[0] = new NextToken(model).apply(Language.batch(32, 1, 77));
            return loss[0].sum().item() / loss[0].count();
        }
    }

    private Decoder teacher() {
        Decoder teacher = Language.model(32, 2, 1, arena);
        train(teacher.parameters(), Language.data(16, 0, 10), new NextToken(teacher), 150);
        return teacher;
    }

    /** Six rows of 24 words are too few to learn the language from; what the teacher says about them is not. */
    @Test
    void aStudentWithATeacherIsBetterThanTheSameWithout() {
        Decoder teacher = teacher();
        IntFunction<Iterator<Batch>> few = Language.data(3, 2, 10);
        Decoder alone = Language.model(16, 1, 2, arena), taught = Language.model(16, 1, 2, arena);
        Decoder deep = Language.model(16, 1, 2, arena), mode = Language.model(16, 1, 2, arena);
        double before = heldOut(alone);
        train(alone.parameters(), few, new NextToken(alone), 100);
        train(
                taught.parameters(),
                few,
                DistillationObjective.of(taught)
                        .teacher(teacher)
                        .labels(0.1)
                        .soft(SoftTargets.forward(2), 0.9)
                        .build(),
                100);
        DistillationObjective inside = DistillationObjective.of(deep)
                .teacher(teacher)
                .soft(SoftTargets.forward(2), 1)
                .hidden(LAST, 0.1)
                .attention(LAST, 0.1)
                .projections(arena, 3)
                .build();
        Map<String, Tensor> both = new java.util.TreeMap<>(deep.parameters());
        both.putAll(inside.parameters());
        train(both, few, inside, 100);
        train(
                mode.parameters(),
                new GeneratedBatches(few, new Generator(mode), sampling(), 0.5),
                DistillationObjective.of(mode)
                        .teacher(teacher)
                        .soft(SoftTargets.jensenShannon(0.5, 1), 1)
                        .build(),
                100);
        double first = heldOut(alone), second = heldOut(taught), third = heldOut(deep), fourth = heldOut(mode);
        System.out.printf(
                "held-out loss: teacher %.3f, untrained %.3f, student alone %.3f, soft targets %.3f, with hidden states and"
                        + " attention %.3f, on-policy %.3f%n",
                heldOut(teacher), before, first, second, third, fourth);
        assertThat(heldOut(teacher)).isLessThan(1.6);
        assertThat(second).isLessThan(first - 0.2);
        assertThat(third).isLessThan(first - 0.2);
        assertThat(fourth).isLessThan(first - 0.2);
    }

    private static Sampling sampling() {
        return Sampling.builder().temperature(1).maxNewTokens(12).seed(5).build();
    }

    @Test
    void theLossIsTheWeightedSumOfItsParts() {
        Decoder teacher = Language.model(32, 2, 1, arena), student = Language.model(16, 1, 2, arena);
        Batch batch = Language.batch(2, 5, 3);
        try (Memory.Scope scope = Memory.scope()) {
            DistillationObjective all = DistillationObjective.of(student)
                    .teacher(teacher)
                    .labels(0.5)
                    .soft(SoftTargets.reverse(2), 2)
                    .hidden(LAST, 3)
                    .attention(Map.of(0, 0), 4)
                    .projections(arena, 1)
                    .build();
            Loss loss = all.apply(batch);
            Map<String, Double> m = loss.metrics();
            assertThat(m).containsOnlyKeys("labels", "soft", "hidden", "attention", Loss.TOKENS);
            assertThat(loss.count()).isEqualTo(2 * (Language.LENGTH - 4));
            assertThat(loss.sum().item())
                    .isCloseTo(
                            (float) (0.5 * m.get("labels")
                                    + 2 * m.get("soft")
                                    + 3 * m.get("hidden")
                                    + 4 * m.get("attention")),
                            within(1e-3f));
            Tape.backward(loss.sum());
            assertThat(all.parameters()).containsOnlyKeys("projection.0");
            all.parameters().values().forEach(p -> assertThat(p.hasGrad()).isTrue());
            student.parameters()
                    .forEach((name, p) -> assertThat(p.hasGrad()).as(name).isTrue());
            teacher.parameters()
                    .forEach((name, p) -> assertThat(p.hasGrad()).as(name).isFalse());
            float trained = loss.sum().item();
            try (Tape.Pause pause = Tape.pause()) {
                assertThat(all.apply(batch).sum().item()).as("evaluated").isEqualTo(trained);
            }
        }
    }

    @Test
    void theTeacherOnDiskSaysWhatTheTeacherSays() {
        Decoder teacher = Language.model(32, 2, 1, arena), student = Language.model(16, 1, 2, arena);
        Batch first = Language.batch(2, 3, 3), second = Language.batch(3, 6, 4);
        Path whole = dir.resolve("all.safetensors"), few = dir.resolve("few.safetensors");
        TeacherLogits.write(whole, teacher, List.of(first, second).iterator(), Language.WORDS, 2);
        TeacherLogits.write(few, teacher, List.of(first, second).iterator(), 4, 2);
        double live = soft(DistillationObjective.of(student).teacher(teacher), second);
        double stored = soft(DistillationObjective.of(student).teacher(TeacherLogits.open(whole)), second);
        double top = soft(DistillationObjective.of(student).teacher(TeacherLogits.open(few)), second);
        assertThat(stored).isCloseTo(live, within(1e-4 * live));
        assertThat(top).isPositive().isLessThan(live);
        assertThat(whole.toFile().length()).isGreaterThan(3 * few.toFile().length());
        TeacherLogits open = TeacherLogits.open(few);
        assertThatThrownBy(() -> open.of(Language.batch(2, 3, 9)))
                .hasMessageStartingWith(few + " holds nothing that the teacher said about row 0 of batch [2, 24]");
        assertThatThrownBy(() -> DistillationObjective.of(student)
                        .teacher(open)
                        .soft(SoftTargets.forward(1), 1)
                        .build())
                .hasMessage("distillation: the stored logits have temperature 2.0, not 1.0");
        assertThatThrownBy(() -> DistillationObjective.of(student)
                        .teacher(open)
                        .soft(SoftTargets.reverse(2), 1)
                        .build())
                .hasMessage("distillation: stored logits are for beta 0, not 1.0");
        assertThatThrownBy(
                        () -> TeacherLogits.write(few, teacher, List.of(first).iterator(), 25, 1))
                .hasMessage("TeacherLogits: k 25 must be in [1, 24]");
    }

    private static double soft(DistillationObjective.Builder b, Batch batch) {
        try (Memory.Scope scope = Memory.scope();
                Tape.Pause pause = Tape.pause()) {
            return b.soft(SoftTargets.forward(2), 1).build().apply(batch).sum().item();
        }
    }

    @Test
    void aStudentOfLayersIsSmallerOnDisk() throws IOException {
        Decoder teacher = Language.model(32, 4, 1, arena);
        Decoder all = Student.ofLayers(teacher, new int[] {0, 1, 2, 3}, arena);
        assertThat(logits(all)).containsExactly(logits(teacher));
        Decoder half = Student.ofLayers(teacher, Student.spread(4, 2), arena);
        half.parameters().forEach((name, p) -> assertThat(p.tracked()).as(name).isTrue());
        assertThat(half.parameters().get("model.layers.1.mlp.up_proj.weight").toArray())
                .containsExactly(teacher.parameters()
                        .get("model.layers.2.mlp.up_proj.weight")
                        .toArray());
        Path large = Files.createDirectory(dir.resolve("large")), small = Files.createDirectory(dir.resolve("small"));
        ModelFiles.save(teacher, large, DType.F32);
        ModelFiles.save(half, small, DType.F32);
        assertThat(Json.read(small.resolve("config.json")).integer("num_hidden_layers"))
                .isEqualTo(2);
        assertThat(Files.size(small.resolve("model.safetensors")))
                .isLessThan(Files.size(large.resolve("model.safetensors")) * 6 / 10);
        assertThat(logits(ModelFiles.load(small, arena))).containsExactly(logits(half));
        assertThatThrownBy(() -> Student.ofLayers(teacher, new int[] {2, 1}, arena))
                .hasMessage("student: layers [2, 1] must be some of 0 .. 3, ascending");
        assertThatThrownBy(() -> Student.ofLayers(teacher, new int[] {0, 4}, arena))
                .hasMessage("student: layers [0, 4] must be some of 0 .. 3, ascending");
        assertThatThrownBy(() -> Student.spread(4, 5)).hasMessage("student: 5 layers of 4 cannot stay");
    }

    private static float[] logits(Decoder model) {
        try (Memory.Scope scope = Memory.scope();
                Tape.Pause pause = Tape.pause()) {
            return model.logits(Tokens.of(1, 5, 3, 17)).toArray();
        }
    }

    @Test
    void aBlockThatDoesNothingHasNoInfluence() {
        Decoder model = Language.model(32, 3, 1, arena);
        for (String name : List.of("self_attn.o_proj", "mlp.down_proj")) {
            Tensor w = model.parameters().get("model.layers.1." + name + ".weight");
            w.set(new float[(int) w.size()]);
        }
        double[] influence = Student.blockInfluence(model, () -> logits(model));
        assertThat(influence[1]).isCloseTo(0, within(1e-9));
        assertThat(influence[0]).isGreaterThan(1e-3);
        assertThat(Student.mostImportant(influence, 2)).containsExactly(0, 2);
        assertThat(logits(Student.ofLayers(model, new int[] {0, 2}, arena)))
                .usingComparatorWithPrecision(1e-5f)
                .containsExactly(logits(model));
    }

    @Test
    void generatedBatchesKeepThePromptAndLearnTheAnswer() {
        Decoder model = Language.model(16, 1, 2, arena);
        IntFunction<Iterator<Batch>> data =
                epoch -> List.of(Language.batch(2, 4, 3)).iterator();
        Batch own = data.apply(0).next();
        Batch written = new GeneratedBatches(data, new Generator(model), sampling(), 1)
                .apply(0)
                .next();
        assertThat(written.length()).isEqualTo(4 + 12 - 1);
        assertThat(written.trainedTokens()).isEqualTo(2 * 12);
        for (int row = 0; row < 2; row++) {
            for (int i = 0; i < written.length(); i++) {
                int at = row * written.length() + i;
                if (i < 4) {
                    assertThat(written.ids()[at]).isEqualTo(own.ids()[row * own.length() + i]);
                }
                if (i >= 3 && i + 1 < written.length()) {
                    assertThat(written.targets()[at]).isEqualTo(written.ids()[at + 1]);
                }
            }
        }
        Batch again = new GeneratedBatches(data, new Generator(model), sampling(), 1)
                .apply(0)
                .next();
        Batch other = new GeneratedBatches(data, new Generator(model), sampling(), 1)
                .apply(1)
                .next();
        assertThat(again.ids()).containsExactly(written.ids());
        assertThat(other.ids()).isNotEqualTo(written.ids());
        assertThat(new GeneratedBatches(data, new Generator(model), sampling(), 0)
                        .apply(0)
                        .next()
                        .ids())
                .containsExactly(own.ids());
        assertThatThrownBy(() -> new GeneratedBatches(data, new Generator(model), sampling(), 1.5))
                .hasMessage("GeneratedBatches: share 1.5 must be in [0, 1]");
    }

    @Test
    void saysWhatDoesNotFit() {
        Decoder teacher = Language.model(32, 2, 1, arena), student = Language.model(16, 1, 2, arena);
        assertThatThrownBy(() -> DistillationObjective.of(student).build())
                .hasMessage("distillation: no loss has a weight: give labels, soft, hidden or attention one");
        assertThatThrownBy(() -> DistillationObjective.of(student).labels(-1).build())
                .hasMessage("distillation: weight -1.0 must not be negative");
        assertThatThrownBy(() -> DistillationObjective.of(student)
                        .soft(SoftTargets.forward(1), 1)
                        .build())
                .hasMessage("distillation: soft targets need a teacher");
        assertThatThrownBy(
                        () -> DistillationObjective.of(student).hidden(LAST, 1).build())
                .hasMessage("distillation: hidden states and attention need the teacher itself, not its logits");
        assertThatThrownBy(() -> DistillationObjective.of(student)
                        .teacher(teacher)
                        .hidden(Map.of(0, 2), 1)
                        .build())
                .hasMessage("distillation: the teacher has no layer 2 of 2");
        assertThatThrownBy(() -> new SoftTargets(0.5, -1, true))
                .hasMessage("SoftTargets: temperature -1.0 must be positive");
        assertThatThrownBy(() -> new SoftTargets(1.5, 1, true)).hasMessage("SoftTargets: beta 1.5 must be in [0, 1]");
        student.checkpointing(true);
        DistillationObjective inside = DistillationObjective.of(student)
                .teacher(teacher)
                .attention(LAST, 1)
                .build();
        assertThatThrownBy(() -> inside.apply(Language.batch(1, 1, 1)))
                .hasMessageEndingWith("blocks are computed again; turn checkpointing off");
    }
}
