package anneal.distill;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import anneal.io.Json;
import anneal.model.Decoder;
import anneal.model.DecoderConfig;
import anneal.model.Family;
import anneal.model.Init;
import anneal.model.ModelFiles;
import anneal.tensor.Tensor;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;

class HeadPruningTest extends PruningFixture {
    /** Six query heads of four channels on three key heads; Qwen2 has biases too. */
    private Decoder model(Family family) {
        return model(DecoderConfig.builder(family).heads(6, 3, 4), ".*proj\\.bias", 0.1f);
    }

    /** Clears what the output projection of a layer reads of a group of two query heads. */
    private static void silence(Decoder model, int layer, int group) {
        Tensor w = model.parameters().get("model.layers." + layer + ".self_attn.o_proj.weight");
        float[] values = w.toArray();
        for (int i = 0; i < values.length; i++) {
            values[i] = i % HIDDEN / 8 == group ? 0 : values[i];
        }
        w.set(values);
    }

    @Test
    void headsThatSayNothingGoAndNothingChangesButTheSize() {
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
            float[] have = requireSame(smaller, model);
            Path small = saved(smaller, model);
            var config = Json.read(small.resolve("config.json"));
            assertThat(config.integer("num_attention_heads")).isEqualTo(4);
            assertThat(config.integer("num_key_value_heads")).isEqualTo(2);
            assertThat(config.integer("head_dim")).isEqualTo(4);
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
                .hasMessage(
                        "prune: no heads can be taken out of a gpt2: its projections are packed in one and its config.json"
                                + " has no size of a head but n_embd / n_head");
        assertThatThrownBy(() -> HeadPruning.keep(packed, new int[][] {{0, 1}}, arena))
                .hasMessageStartingWith("prune: no heads can be taken out of a gpt2: ");
    }
}
