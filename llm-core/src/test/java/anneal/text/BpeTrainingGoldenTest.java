package anneal.text;

import static org.assertj.core.api.Assertions.assertThat;

import anneal.Golden;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** bpe-training/*.json: the vocabulary and the merges, in order, that tokenizers learns from a text. */
class BpeTrainingGoldenTest {
    private static final ObjectMapper JSON = new ObjectMapper();

    @Test
    void learnsTheSameMergesInTheSameOrder() throws IOException {
        Path dir = Golden.root().resolve("text/bpe-training");
        List<Path> files;
        try (Stream<Path> s = Files.list(dir)) {
            files = s.filter(f -> f.toString().endsWith(".json")).sorted().toList();
        }
        int cases = 0;
        for (Path file : files) {
            JsonNode golden = JSON.readTree(file.toFile());
            String text = Files.readString(dir.resolve(golden.get("text").asText()));
            Tokenizer t = new BpeTrainer(golden.get("vocab_size").asInt()).train(List.of(text));
            assertThat(merges(t)).as(file.toString()).isEqualTo(pairs(golden.get("merges")));
            JsonNode vocab = golden.get("vocab");
            assertThat(t.vocabSize()).as(file.toString()).isEqualTo(vocab.size());
            vocab.properties()
                    .forEach(e -> assertThat(t.token(e.getValue().asInt()))
                            .as(file.toString())
                            .isEqualTo(e.getKey()));
            assertThat(t.decode(t.encode(text))).isEqualTo(text);
            cases++;
        }
        Golden.report("text/bpe-training", cases, 0);
    }

    private static List<String> merges(Tokenizer t) {
        int[] flat = ((PipelineTokenizer) t).parts().merges();
        List<String> out = new ArrayList<>();
        for (int i = 0; i < flat.length; i += 2) {
            out.add(t.token(flat[i]) + " " + t.token(flat[i + 1]));
        }
        return out;
    }

    private static List<String> pairs(JsonNode merges) {
        List<String> out = new ArrayList<>();
        for (JsonNode m : merges) {
            out.add(m.isArray() ? m.get(0).asText() + " " + m.get(1).asText() : m.asText());
        }
        return out;
    }
}
