package anneal.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import anneal.TinyModel;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class LabelledDatasetTest {
    @TempDir
    private Path dir;

    /** {@code count} texts, the i-th with the label i mod 3 and about i words. */
    private static LabelledDataset dataset(int count) {
        List<LabelledText> texts = IntStream.range(0, count)
                .mapToObj(i -> new LabelledText("t:" + i, "sky ".repeat(i + 1), "" + i % 3))
                .toList();
        return LabelledDataset.of(texts, List.of("0", "1", "2"), TinyModel.tokenizer());
    }

    private static List<Integer> labels(Iterator<LabelledBatch> batches) {
        List<Integer> labels = new ArrayList<>();
        batches.forEachRemaining(b -> {
            for (int label : b.labels()) {
                labels.add(label);
            }
        });
        return labels;
    }

    @Test
    void labelsAreNumberedBySizeOrByName() throws IOException {
        Path file = Files.writeString(
                dir.resolve("a.json"),
                "[{\"text\": \"a\", \"label\": 10, \"id\": 1}, {\"text\": \"b\", \"label\": \"9\"}, {\"text\": \"c\", \"label\": -1}]");
        List<LabelledText> texts = LabelledText.read(file);
        assertThat(texts.getFirst()).isEqualTo(new LabelledText("a.json:1", "a", "10"));
        assertThat(LabelledText.labels(texts)).containsExactly("-1", "9", "10");
        List<LabelledText> named = List.of(new LabelledText("x", "a", "9"), new LabelledText("y", "b", "10a"));
        assertThat(LabelledText.labels(named)).containsExactly("10a", "9");
    }

    @Test
    void batchesHaveEveryTextOnceAnEpochInAnOrderOfTheSeed() {
        LabelledDataset data = dataset(10);
        assertThat(labels(data.batches(4, 0).apply(0))).containsExactly(0, 1, 2, 0, 1, 2, 0, 1, 2, 0);
        List<Integer> first = labels(data.shuffled(4, 0, 7).apply(0)),
                second = labels(data.shuffled(4, 0, 7).apply(1));
        assertThat(first).isNotEqualTo(second).containsExactlyInAnyOrderElementsOf(second);
        assertThat(labels(data.shuffled(4, 0, 7).apply(0))).isEqualTo(first);
        Iterator<LabelledBatch> batches = data.batches(4, 0).apply(0);
        assertThat(batches.next().batch()).isEqualTo(4);
        assertThat(batches.next().length()).isEqualTo(batches.next().length() - 2 * perWord());
        assertThat(data.count(0)).isEqualTo(4);
    }

    /** Tokens of one more word. */
    private static int perWord() {
        return (int) (dataset(2).tokens() - 2 * dataset(1).tokens());
    }

    @Test
    void aSplitHoldsEachTextOnOneSide() {
        LabelledDataset.Split split = dataset(10).split(0.3, 1);
        assertThat(split.validation().size()).isEqualTo(3);
        assertThat(split.train().size()).isEqualTo(7);
        assertThat(split.train().tokens() + split.validation().tokens())
                .isEqualTo(dataset(10).tokens());
        assertThatThrownBy(() -> dataset(1).split(0.5, 1)).hasMessageContaining("leave a text on each side");
    }

    @Test
    void longTextsAreRefusedOrCut() {
        assertThatThrownBy(() -> dataset(5).requireAtMost(2))
                .hasMessageContainingAll("t:", "more than the maximum length 2");
        LabelledDataset cut = dataset(5).truncate(2);
        assertThat(cut.requireAtMost(2).tokens()).isLessThanOrEqualTo(10);
    }
}
