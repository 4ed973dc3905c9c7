package anneal.distill;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import anneal.io.Json;
import anneal.model.Decoder;
import anneal.model.DecoderConfig;
import anneal.model.Family;
import anneal.model.Init;
import anneal.model.ModelFiles;
import anneal.model.Tokens;
import anneal.tensor.DType;
import anneal.tensor.Memory;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class HeadPruningTest {
    private final Arena arena = Arena.ofShared();

    @TempDir
    private Path dir;

    @AfterEach
    void close() {
        arena.close();
    }

    /** Six query heads of four channels on three key heads; Qwen2 has biases too. */
    private Decoder model(Family family) {
        DecoderConfig config = DecoderConfig.builder(family)
                .vocabSize(40)
                .hiddenSize(24)
                .layers(2)
                .heads(6, 3, 4)
                .contextLength(32)
                .initRange(0.3)
                .build();
        Decoder model = new Decoder(config, Init.usual(config).weights(config, 3, arena));
        model.parameters().forEach((name, p) -> {
            if (name.endsWith("proj.bias")) {
                float[] b = p.toArray();
                for (int i = 0; i < b.length; i++) {
                    b[i] = 0.1f * (i + 1);
                }
                p.set(b);
            }
        });
        return model;
    }

    /** Clears what the output projection of a layer reads of a group of two query heads. */
    private static void silence(Decoder model, int layer, int group) {
        Tensor w = model.parameters().get("model.layers." + layer + ".self_attn.o_proj.weight");
        float[] values = w.toArray();
        for (int i = 0; i < values.length; i++) {
            values[i] = i % 24 / 8 == group ? 0 : values[i];
        }
        w.set(values);
    }

    private static float[] logits(Decoder model) {
        try (Memory.Scope scope = Memory.scope();
                Tape.Pause pause = Tape.pause()) {
            return model.logits(Tokens.of(1, 5, 3, 17, 30)).toArray();
        }
    }

    @Test
    void headsThatSayNothingGoAndNothingChangesButTheSize() throws IOException {
        for (Family family : new Family[] {Family.LLAMA, Family.QWEN2}) {
            Decoder model = model(family);
            silence(model, 0, 1);
            silence(model, 1, 2);
            double[][] importance = HeadPruning.importance(model, () -> logits(model));
            assertThat(importance[0][1]).isZero();
            assertThat(importance[1][2]).isZero();
            assertThat(importance[0][0]).isPositive();
            int[][] stay = HeadPruning.mostImportant(importance, 2);
            assertThat(stay).isDeepEqualTo(new int[][] {{0, 2}, {0, 1}});
            Decoder smaller = HeadPruning.keep(model, stay, arena);
            float[] have = logits(smaller), want = logits(model);
            for (int i = 0; i < want.length; i++) {
                assertThat(have[i]).as("%s [%d]", family, i).isCloseTo(want[i], within(1e-5f));
            }
            Path large = Files.createDirectory(dir.resolve(family + "-large"));
            Path small = Files.createDirectory(dir.resolve(family + "-small"));
            ModelFiles.save(model, large, DType.F32);
            ModelFiles.save(smaller, small, DType.F32);
            var config = Json.read(small.resolve("config.json"));
            assertThat(config.integer("num_attention_heads")).isEqualTo(4);
            assertThat(config.integer("num_key_value_heads")).isEqualTo(2);
            assertThat(config.integer("head_dim")).isEqualTo(4);
            assertThat(Files.size(small.resolve("model.safetensors")))
                    .isLessThan(Files.size(large.resolve("model.safetensors")));
            assertThat(logits(ModelFiles.load(small, arena))).containsExactly(have);
        }
    }

    @Test
    void saysWhatIsWrong() {
        Decoder model = model(Family.LLAMA);
        assertThatThrownBy(() -> HeadPruning.keep(model, new int[][] {{0, 1}, {0}}, arena))
                .hasMessage("prune: the groups that stay must be equally many of 0 .. 2 in each of 2 layers, not"
                        + " [[0, 1], [0]]");
        assertThatThrownBy(() -> HeadPruning.keep(model, new int[][] {{0, 3}, {0, 1}}, arena))
                .hasMessageEndingWith("not [[0, 3], [0, 1]]");
        DecoderConfig config = DecoderConfig.builder(Family.GPT2)
                .vocabSize(40)
                .hiddenSize(24)
                .layers(1)
                .heads(4)
                .build();
        Decoder packed = new Decoder(config, Init.usual(config).weights(config, 3, arena));
        assertThatThrownBy(() -> HeadPruning.importance(packed, () -> {}))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageEndingWith(
                        "has no q_proj and o_proj of its own, and its config.json no size of a head but n_embd / n_head:"
                                + " its heads cannot be taken out");
    }
}
