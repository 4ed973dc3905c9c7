package anneal;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import anneal.generate.Generation;
import anneal.generate.Sampling;
import anneal.io.Json;
import anneal.model.DecoderConfig;
import anneal.model.Family;
import anneal.model.Tokens;
import anneal.tensor.DType;
import anneal.tensor.Memory;
import anneal.tensor.Tape;
import anneal.text.BpeTrainer;
import anneal.text.ChatTemplate;
import anneal.text.Message;
import anneal.text.Tokenizer;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** A model with tokenizer and template: made, used, saved in both formats, opened again. */
class PretrainedTest {
    private static final int[] IDS = {5, 9, 200, 31, 7};

    @TempDir
    private Path dir;

    private static Tokenizer tokenizer() {
        return new BpeTrainer(290)
                .specialTokens("<|end|>", "<|im_start|>", "<|im_end|>")
                .eos("<|end|>")
                .train(List.of("the cat sat on the mat and the dog sat on the log", "a rose is a rose is a rose"));
    }

    private static Pretrained fresh(Family family, int vocabSize) {
        DecoderConfig config = DecoderConfig.builder(family)
                .vocabSize(vocabSize)
                .hiddenSize(32)
                .layers(2)
                .heads(4, family == Family.GPT2 ? 4 : 2, 0)
                .contextLength(48)
                .initRange(0.2)
                .build();
        return Pretrained.create(config, tokenizer(), 7).chatTemplate(ChatTemplate.chatml());
    }

    private static float[] logits(Pretrained lm) {
        try (Memory.Scope scope = Memory.scope();
                Tape.Pause p = Tape.pause()) {
            return lm.model().logits(Tokens.of(IDS)).toArray();
        }
    }

    @ParameterizedTest
    @EnumSource(Family.class)
    void aFolderAndAFileHoldTheWholeModel(Family family) {
        try (Pretrained lm = fresh(family, 300)) {
            Path folder = dir.resolve("folder"), file = dir.resolve("model.gguf");
            lm.save(folder);
            lm.saveGguf(file, DType.F32);
            for (Path path : List.of(folder, file)) {
                try (Pretrained back = Pretrained.load(path)) {
                    assertThat(distance(logits(back), logits(lm))).as(path + "").isLessThan(2e-5);
                    assertThat(back.ends()).isEqualTo(lm.ends()).hasSize(1);
                    String text = "the cat is a log <|im_end|>";
                    assertThat(back.tokenizer().encode(text))
                            .isEqualTo(lm.tokenizer().encode(text));
                    List<Message> chat = List.of(Message.user("a rose"));
                    assertThat(back.chat().prompt(chat)).isEqualTo(lm.chat().prompt(chat));
                }
            }
        }
    }

    @Test
    void shorterFormatsAreClose() {
        try (Pretrained lm = fresh(Family.LLAMA, 320)) {
            lm.save(dir.resolve("bf16"), DType.BF16);
            lm.saveGguf(dir.resolve("f16.gguf"), DType.F16);
            lm.saveGguf(dir.resolve("q8.gguf"), DType.Q8_0);
            float[] exact = logits(lm);
            close("bf16", exact, 0.2);
            close("f16.gguf", exact, 0.02);
            close("q8.gguf", exact, 0.2);
        }
    }

    private static double distance(float[] a, float[] b) {
        assertThat(a.length).isEqualTo(b.length);
        double worst = 0;
        for (int i = 0; i < a.length; i++) {
            worst = Math.max(worst, Math.abs(a[i] - b[i]));
        }
        return worst;
    }

    private void close(String name, float[] exact, double tolerance) {
        try (Pretrained back = Pretrained.load(dir.resolve(name))) {
            float[] got = logits(back);
            double worst = distance(got, exact);
            assertThat(worst).as(name).isPositive().isLessThan(tolerance);
            back.trainable();
            assertThat(distance(logits(back), got)).as(name + " widened").isLessThan(2e-5);
        }
    }

    @Test
    void textIsStreamedInPiecesAndEndsAtStopStrings() {
        try (Pretrained lm = fresh(Family.GPT2, 300)) {
            Sampling sampling = Sampling.builder().maxNewTokens(20).seed(2).build();
            StringBuilder heard = new StringBuilder();
            TextGenerator.Text all = lm.text().stream(lm.tokenizer().encode("the cat"), sampling, heard::append);
            assertThat(heard.toString()).isEqualTo(all.text());
            assertThat(all.text())
                    .isEqualTo(lm.tokenizer().decode(all.generation().tokens()));
            String stop = all.text().substring(3, 5);
            TextGenerator.Text cut = lm.text(stop).generate("the cat", sampling);
            assertThat(cut.text()).isEqualTo(all.text().substring(0, all.text().indexOf(stop)));
            assertThat(cut.generation().stop()).isEqualTo(Generation.Stop.LISTENER);
        }
    }

    @Test
    void whatIsThereIsNotOverwritten() throws IOException {
        try (Pretrained lm = fresh(Family.LLAMA, 300)) {
            Files.writeString(dir.resolve("x"), "mine");
            assertThatThrownBy(() -> lm.save(dir))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessage(dir + " is not empty: save into a new folder");
            assertThatThrownBy(() -> lm.save(dir.resolve("x")))
                    .hasMessage(dir.resolve("x") + " is a file, not a folder");
            assertThatThrownBy(() -> lm.save(dir.resolve("new"), DType.Q4_0))
                    .hasMessage("save: a folder is written as F32, F16 or BF16, not Q4_0");
            assertThat(dir.toFile().list()).containsExactly("x");
        }
    }

    @Test
    void partsThatAreMissingOrDoNotFitAreNamed() {
        Path nothing = dir.resolve("nothing");
        assertThatThrownBy(() -> Pretrained.load(nothing))
                .isInstanceOf(UncheckedIOException.class)
                .hasMessage(nothing + " does not exist");
        assertThatThrownBy(() -> fresh(Family.LLAMA, 200))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageStartingWith("the new model: the tokenizer has ")
                .hasMessageContaining("but the model's vocabulary only 200");
        try (Pretrained lm = fresh(Family.LLAMA, 300).chatTemplate(null)) {
            assertThatThrownBy(lm::chat)
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessage("the new model has no chat template: it is a base model, or give it one with"
                            + " chatTemplate(ChatTemplate.chatml())");
        }
    }

    @Test
    void allEndsOfTheGenerationConfigEndAText() {
        try (Pretrained lm = fresh(Family.LLAMA, 300)) {
            Path folder = dir.resolve("folder");
            lm.save(folder);
            Json.write(folder.resolve("generation_config.json"), java.util.Map.of("eos_token_id", List.of(4, 9)));
            try (Pretrained back = Pretrained.load(folder)) {
                assertThat(back.ends()).containsExactly(4, 9);
            }
        }
    }

    @Test
    void afterCloseNothingWorks() {
        Pretrained lm = fresh(Family.LLAMA, 300);
        lm.close();
        assertThatThrownBy(() -> logits(lm)).isInstanceOf(IllegalStateException.class);
    }

    @Test
    void oneSeedIsOneModel() {
        try (Pretrained a = fresh(Family.QWEN3, 300);
                Pretrained b = fresh(Family.QWEN3, 300)) {
            assertThat(distance(logits(a), logits(b))).isZero();
            assertThat(a.model().trainable()).hasSameSizeAs(a.model().parameters());
        }
    }
}
