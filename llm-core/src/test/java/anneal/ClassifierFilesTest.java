package anneal;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import anneal.io.Json;
import anneal.io.JsonObject;
import anneal.model.ClassifierFiles;
import anneal.model.DecoderConfig;
import anneal.model.Family;
import anneal.model.SequenceClassifier;
import anneal.model.Tokens;
import anneal.tensor.DType;
import anneal.tensor.Memory;
import anneal.tensor.Tape;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Classifiers as folders: what is written is read back bit for bit, what is wrong with a folder is said. */
class ClassifierFilesTest {
    private static final List<String> LABELS = List.of("bad", "good", "so so");

    @TempDir
    private Path dir;

    private final Arena arena = Arena.ofShared();

    @AfterEach
    void close() {
        arena.close();
    }

    private static float[] logits(SequenceClassifier model) {
        try (var _ = Memory.scope();
                var _ = Tape.pause()) {
            return model.logits(Tokens.of(new int[] {5, 6, 7, 0, 8, 9, 0, 0}, 2, 4))
                    .toArray();
        }
    }

    private static Pretrained model(Family family, boolean tied) {
        DecoderConfig config = DecoderConfig.builder(family)
                .vocabSize(TinyModel.VOCABULARY)
                .hiddenSize(32)
                .feedForwardSize(64)
                .layers(2)
                .heads(4, family == Family.GPT2 ? 4 : 2, 8)
                .contextLength(64)
                .initRange(0.2)
                .tied(tied)
                .build();
        return Pretrained.create(config, TinyModel.tokenizer(), 3);
    }

    private Path saved() {
        Path folder = dir.resolve("saved");
        try (Pretrained lm = TinyModel.create(3)) {
            lm.save(new SequenceClassifier(lm.model(), 3, 0, arena, 1), LABELS, folder);
        }
        return folder;
    }

    @ParameterizedTest
    @CsvSource({
        "LLAMA, true, LlamaForSequenceClassification",
        "LLAMA, false, LlamaForSequenceClassification",
        "GPT2, true, GPT2ForSequenceClassification",
        "QWEN3, false, Qwen3ForSequenceClassification"
    })
    void whatIsWrittenIsReadBack(Family family, boolean tied, String architecture) {
        Path folder = dir.resolve("folder"), again = dir.resolve("again");
        float[] before;
        try (Pretrained lm = model(family, tied)) {
            SequenceClassifier model = new SequenceClassifier(lm.model(), 3, 0, arena, 1);
            before = logits(model);
            lm.save(model, LABELS, folder);
        }
        JsonObject config = Json.read(folder.resolve("config.json"));
        assertThat(config.strings("architectures")).containsExactly(architecture);
        assertThat(config.object("id2label").map()).isEqualTo(Map.of("0", "bad", "1", "good", "2", "so so"));
        assertThat(config.integer("pad_token_id")).isZero();
        ClassifierFiles.Loaded loaded = ClassifierFiles.load(folder, arena);
        assertThat(loaded.labels()).isEqualTo(LABELS);
        assertThat(logits(loaded.model())).isEqualTo(before);
        assertThat(folder.resolve("tokenizer.json")).isNotEmptyFile();

        assertThat(again.toFile().mkdir()).isTrue();
        ClassifierFiles.save(loaded.model(), loaded.labels(), again, DType.F32);
        assertThat(again.resolve("model.safetensors")).hasSameBinaryContentAs(folder.resolve("model.safetensors"));
    }

    @Test
    void labelsWithoutNamesAreCalledAsTransformersCallsThem() {
        Path folder = saved();
        change(folder, "id2label", null);
        assertThat(ClassifierFiles.load(folder, arena).labels()).containsExactly("LABEL_0", "LABEL_1", "LABEL_2");
    }

    private static void change(Path folder, String key, Object value) {
        Map<String, Object> config =
                new LinkedHashMap<>(Json.read(folder.resolve("config.json")).map());
        config.put(key, value);
        Json.write(folder.resolve("config.json"), config);
    }

    private void bad(Path folder, String message) {
        assertThatThrownBy(() -> ClassifierFiles.load(folder, arena))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining(message);
    }

    @Test
    void aFolderThatIsNoClassifierIsRefused() {
        bad(
                TinyModel.write(dir.resolve("model")),
                "must name a class that ends with ForSequenceClassification, not [LlamaForCausalLM]");
        Path folder = saved();
        change(folder, "id2label", Map.of("0", "bad", "1", "good"));
        bad(folder, "names 2 labels, but score.weight has 3");
        change(folder, "id2label", Map.of("0", "bad", "1", "good", "3", "so so"));
        bad(folder, "2");
        change(folder, "problem_type", "regression");
        bad(folder, "must be single_label_classification, not regression");
        Path plain = TinyModel.write(dir.resolve("plain"));
        change(plain, "architectures", List.of("LlamaForSequenceClassification"));
        bad(plain, plain + ": score.weight is missing; it must be [labels, 32], with at least 2 labels");
    }

    @Test
    void whatCannotBeSavedIsRefusedAndNothingIsWritten() {
        Path folder = dir.resolve("none");
        try (Pretrained lm = TinyModel.create(3);
                Pretrained other = TinyModel.create(3)) {
            SequenceClassifier model = new SequenceClassifier(lm.model(), 3, 0, arena, 1);
            assertThatThrownBy(() -> lm.save(model, List.of("a", "b", "a"), folder))
                    .hasMessage("save: the classifier needs 3 different names of labels, not [a, b, a]");
            assertThatThrownBy(() -> other.save(model, LABELS, folder))
                    .hasMessage("save: the classifier stands on another model than the new model");
        }
        assertThat(folder).doesNotExist();
    }
}
