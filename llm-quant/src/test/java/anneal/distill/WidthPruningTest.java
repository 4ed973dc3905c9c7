package anneal.distill;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import anneal.io.Gguf;
import anneal.io.Json;
import anneal.model.Decoder;
import anneal.model.DecoderConfig;
import anneal.model.Family;
import anneal.model.ModelFiles;
import anneal.nn.Linear;
import anneal.nn.Weight;
import anneal.tensor.DType;
import anneal.tensor.Memory;
import anneal.tensor.Tensor;
import java.nio.file.Path;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class WidthPruningTest extends PruningFixture {
    /** Forty channels; GPT-2 has biases and no gate. */
    private Decoder model(Family family) {
        return model(DecoderConfig.builder(family).feedForwardSize(40).heads(4), ".*\\.mlp\\..*\\.bias", 0.01f);
    }

    /** Clears what the last projection of a layer reads of every fourth channel, beginning with {@code first}. */
    private static void silence(Decoder model, int layer, int first) {
        Tensor w = model.feedForward(layer).down().weight().parameter().orElseThrow();
        float[] values = w.toArray();
        boolean turned = w.dim(0) == 40;
        for (int i = 0; i < values.length; i++) {
            int channel = turned ? i / HIDDEN : i % 40;
            values[i] = channel % 4 == first ? 0 : values[i];
        }
        w.set(values);
    }

    @ParameterizedTest
    @EnumSource(
            value = Family.class,
            names = {"LLAMA", "QWEN3", "GPT2"})
    void channelsThatSayNothingGoAndNothingChangesButTheSize(Family family) {
        Decoder model = model(family);
        silence(model, 0, 1);
        silence(model, 1, 2);
        double[][] importance = WidthPruning.importance(model, () -> logits(model));
        for (int j = 0; j < 40; j++) {
            assertThat(importance[0][j] == 0).as("channel %d", j).isEqualTo(j % 4 == 1);
            assertThat(importance[1][j] == 0).as("channel %d", j).isEqualTo(j % 4 == 2);
        }
        int[][] stay = WidthPruning.mostImportant(importance, 30);
        assertThat(stay[0])
                .isEqualTo(IntStream.range(0, 40).filter(j -> j % 4 != 1).toArray());
        Decoder smaller = WidthPruning.keep(model, stay, arena);
        float[] have = requireSame(smaller, model);
        Path small = saved(smaller, model);
        assertThat(Json.read(small.resolve("config.json"))
                        .integer(family == Family.GPT2 ? "n_inner" : "intermediate_size"))
                .isEqualTo(30);
        ModelFiles.load(small, arena).find(Linear.class).forEach((path, layer) -> {
            Weight kept = smaller.find(Linear.class).get(path).weight();
            int[] rows = IntStream.range(0, layer.out()).toArray();
            try (var _ = Memory.scope()) {
                assertThat(layer.weight().rows(rows).toArray())
                        .as(path)
                        .containsExactly(kept.rows(rows).toArray());
            }
        });
        Path file = dir.resolve("small.gguf");
        ModelFiles.saveGguf(smaller, file, DType.F32, to -> {});
        float[] again = logits(ModelFiles.load(file, Gguf.open(file, arena), arena));
        for (int i = 0; i < have.length; i++) {
            assertThat(again[i]).isCloseTo(have[i], within(1e-5f)); // matrices lie the other way round in the file
        }
    }

    @Test
    void saysWhatIsWrong() {
        Decoder model = model(Family.LLAMA);
        assertThatThrownBy(() -> WidthPruning.keep(model, new int[][] {{0, 1}, {40, 1}}, arena))
                .hasMessage("prune: the channels that stay must be equally many of 0 .. 39 in each of 2 layers, not"
                        + " [[0, 1], [40, 1]]");
        int[] all = IntStream.range(0, 40).toArray();
        assertThatThrownBy(() -> WidthPruning.keep(model, new int[][] {all, all, all}, arena))
                .hasMessageEndingWith("...");
    }
}
