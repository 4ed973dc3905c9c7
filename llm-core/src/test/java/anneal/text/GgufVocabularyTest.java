package anneal.text;

import static org.assertj.core.api.Assertions.assertThat;

import anneal.Golden;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;

/** Vocabularies inside GGUF files, against the ids that llama.cpp and transformers give. */
class GgufVocabularyTest {
    private static Path shared() {
        Optional<Path> shared = Golden.shared();
        Assumptions.assumeTrue(shared.isPresent(), "needs -Danneal.shared: published vocabularies are not shipped");
        return shared.get();
    }

    @Test
    void givesTheIdsThatLlamaCppExpects() throws IOException {
        int cases = 0;
        List<Path> files;
        try (Stream<Path> s = Files.list(shared().resolve("data/tokenizers"))) {
            files = s.filter(f -> f.toString().endsWith(".gguf"))
                    .filter(f -> Files.exists(Path.of(f + ".inp")))
                    .toList();
        }
        for (Path file : files) {
            Tokenizer t = Tokenizers.fromGguf(GgufMetadata.read(file));
            String[] texts = Files.readString(Path.of(file + ".inp")).split("\n__ggml_vocab_test__\n", -1);
            String[] lines = Files.readString(Path.of(file + ".out")).split("\n", -1);
            for (int i = 0; i < texts.length; i++) {
                int[] ids = lines[i].isBlank()
                        ? new int[0]
                        : Arrays.stream(lines[i].trim().split(" +"))
                                .mapToInt(Integer::parseInt)
                                .toArray();
                assertThat(t.encode(texts[i]))
                        .as(file.getFileName() + " " + texts[i])
                        .containsExactly(ids);
                assertThat(t.decode(ids)).isEqualTo(texts[i]);
                cases++;
            }
        }
        Golden.report("text/llama.cpp vocabularies", cases, 0);
    }

    /** The reference read the vocabulary with the pre-tokenizer that about.json states, not with the file's own. */
    @Test
    void givesTheIdsOfTheVectorsThatWereMadeFromAGgufFile() throws IOException {
        Path shared = shared();
        ObjectMapper json = new ObjectMapper();
        int cases = 0;
        for (Path dir : Golden.cases("text")) {
            Path about = dir.resolve("about.json");
            if (!Files.exists(about)) {
                continue;
            }
            JsonNode facts = json.readTree(about.toFile());
            Matcher m = Pattern.compile("\\S+\\.gguf")
                    .matcher(facts.path("vocabulary").asText());
            while (m.find()) {
                assertThat(facts.at("/pre_tokenizer/type").asText()).isEqualTo("ByteLevel");
                Map<String, Object> metadata = new HashMap<>(GgufMetadata.read(shared.resolve(m.group())));
                metadata.put("tokenizer.ggml.pre", "gpt-2");
                Tokenizer t = Tokenizers.fromGguf(metadata);
                for (JsonNode v : json.readTree(dir.resolve("vectors.json").toFile())) {
                    assertThat(t.encode(v.get("text").asText(), Tokenizer.Options.TEMPLATE)
                                    .ids())
                            .as(v.get("text").toString())
                            .containsExactly(TokenizerGoldenTest.ints(v.get("ids_no_special")));
                    cases++;
                }
            }
        }
        Golden.report("text/GGUF vocabularies", cases, 0);
    }

    @Test
    void opensEveryVocabulary() throws IOException {
        try (Stream<Path> s = Files.list(shared().resolve("data/tokenizers"))) {
            for (Path file : s.filter(f -> f.toString().endsWith(".gguf")).toList()) {
                Tokenizer t = Tokenizers.fromGguf(GgufMetadata.read(file));
                String text = "Hello, world! 你好 123";
                assertThat(t.decode(t.encode(text))).as(file.toString()).isEqualTo(text);
            }
        }
    }
}
