package anneal.examples;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import anneal.Pretrained;
import anneal.TinyModel;
import anneal.data.Batch;
import anneal.distill.DistillationObjective;
import anneal.distill.SoftTargets;
import anneal.distill.Student;
import anneal.distill.WidthPruning;
import anneal.model.Decoder;
import anneal.model.Tokens;
import anneal.quant.InputNorms;
import anneal.quant.LowRank;
import anneal.quant.Mask;
import anneal.quant.Pruning;
import anneal.quant.Pruning.Choice;
import anneal.quant.calibrate.Calibration;
import anneal.tensor.Memory;
import anneal.train.Loss;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The snippets of the pages on pruning and distillation. */
class CompressionPagesTest {
    @TempDir
    private Path dir;

    @Test
    void halfOfTheInputsOfEveryOutputGo() {
        Tokens text = Tokens.of(5, 17, 40, 41, 9, 33);
        try (Pretrained lm = TinyModel.create(1);
                Arena memory = Arena.ofShared();
                Memory.Scope scope = Memory.scope()) {
            Map<String, float[]> norms =
                    InputNorms.capture(lm.model(), () -> lm.model().logits(text));
            Map<String, Mask> masks = new Pruning(new Choice.PerRow(0.5)).wanda(lm.model(), norms, memory);
            assertThat(masks).containsKey("model.layers.0.self_attn.q_proj").doesNotContainKey("lm_head");
            masks.forEach((path, mask) -> assertThat(mask.sparsity()).as(path).isCloseTo(0.5, within(1e-9)));
        }
    }

    @Test
    void channelsGoAndTheModelIsNarrower() {
        Tokens text = Tokens.of(5, 17, 40, 41, 9, 33);
        try (Pretrained lm = TinyModel.create(1);
                Arena memory = Arena.ofShared();
                Memory.Scope scope = Memory.scope()) {
            double[][] importance =
                    WidthPruning.importance(lm.model(), () -> lm.model().logits(text));
            Decoder narrow = WidthPruning.keep(lm.model(), WidthPruning.mostImportant(importance, 32), memory);
            assertThat(narrow.config().feedForwardSize()).isEqualTo(32);
            assertThat(narrow.logits(text).toArray()).doesNotContain(Float.NaN);
        }
    }

    @Test
    void matricesBecomeProductsOfThinOnes() {
        Tokens text = Tokens.of(5, 17, 40, 41, 9, 33);
        try (Pretrained lm = TinyModel.create(1);
                Arena memory = Arena.ofShared();
                Memory.Scope scope = Memory.scope()) {
            Calibration seen = Calibration.capture(lm.model(), () -> lm.model().logits(text));
            List<LowRank.Layer> layers = new LowRank(new LowRank.Size.Sparsity(0.4))
                    .apply(lm.model(), path -> seen.of(path).moments(), memory);
            // Six tokens span six directions, so outputs on them are kept by any rank from six on.
            assertThat(layers).hasSize(14).allSatisfy(l -> {
                assertThat(l.numbersAfter()).isLessThanOrEqualTo(l.numbersBefore() * 6 / 10);
                assertThat(l.lost()).isLessThan(l.rank() < 6 ? 1 : 1e-3);
            });
        }
    }

    @Test
    void aStudentIsTaughtAndSavedWithTheTeachersTokenizer() throws Exception {
        Batch batch = new Batch(
                new int[] {5, 17, 40}, new int[] {17, 40, 41}, new int[3], new int[] {0, 1, 2}, 1, 3, List.of("text"));
        Arena memory = Arena.ofShared();
        try (Pretrained teacher = TinyModel.create(1);
                Memory.Scope scope = Memory.scope()) {
            Decoder student = Student.ofLayers(teacher.model(), Student.spread(2, 1), memory);
            DistillationObjective objective = DistillationObjective.of(student)
                    .teacher(teacher.model())
                    .labels(0.1)
                    .soft(SoftTargets.forward(2), 0.9)
                    .build();
            Loss loss = objective.apply(batch);
            assertThat(loss.count()).isEqualTo(3);
            assertThat(loss.sum().item()).isPositive();
            try (Pretrained lm = teacher.with(student, memory)) {
                lm.save(dir.resolve("student"));
            }
            teacher.save(dir.resolve("teacher"));
        }
        assertThat(Files.size(dir.resolve("student/model.safetensors")))
                .isLessThan(Files.size(dir.resolve("teacher/model.safetensors")));
        try (Pretrained lm = Pretrained.load(dir.resolve("student"))) {
            assertThat(lm.model().config().layers()).isEqualTo(1);
            assertThat(lm.hasChatTemplate()).isTrue();
        }
    }
}
