package anneal.text;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import anneal.Golden;
import anneal.io.Gguf;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;

/** Vocabularies inside GGUF files, against the ids that llama.cpp and transformers give. */
class GgufVocabularyTest {
    private static Map<String, Object> metadata(Path file) {
        return Gguf.open(file, Arena.ofAuto()).metadata();
    }

    @Test
    void givesTheIdsThatLlamaCppExpects() throws IOException {
        int cases = 0;
        List<Path> files;
        try (Stream<Path> s = Files.list(Golden.shared("data/tokenizers"))) {
            files = s.filter(f -> f.toString().endsWith(".gguf"))
                    .filter(f -> Files.exists(Path.of(f + ".inp")))
                    .toList();
        }
        for (Path file : files) {
            Tokenizer t = Tokenizers.fromGguf(metadata(file));
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
                Map<String, Object> metadata = new HashMap<>(metadata(Golden.shared(m.group())));
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
        Assumptions.assumeTrue(cases > 0, "no folder of text/ speaks of a GGUF file");
        Golden.report("text/GGUF vocabularies", cases, 0);
    }

    @Test
    void opensEveryVocabulary() throws IOException {
        try (Stream<Path> s = Files.list(Golden.shared("data/tokenizers"))) {
            for (Path file : s.filter(f -> f.toString().endsWith(".gguf")).toList()) {
                Tokenizer t = Tokenizers.fromGguf(metadata(file));
                String text = "Hello, world! 你好 123";
                assertThat(t.decode(t.encode(text))).as(file.toString()).isEqualTo(text);
            }
        }
    }

    /** What is written as metadata reads back as the same tokenizer: on texts of all kinds, and as a model file. */
    @Test
    void everyGoldenVocabularyCanBeWrittenAsMetadata() throws IOException {
        ObjectMapper json = new ObjectMapper();
        for (String name : List.of(
                "gpt2-style/tokenizer.json",
                "llama3-style/tokenizer.json",
                "qwen-style/tokenizer.json",
                "sentencepiece-bpe/tokenizer.model")) {
            Tokenizer t = TokenizerContract.golden(name);
            Tokenizer again = Tokenizers.fromGguf(Tokenizers.toGguf(t));
            assertThat(again.vocabSize()).isEqualTo(t.vocabSize());
            Path vectors = Golden.root().resolve("text").resolve(name).resolveSibling("vectors.json");
            for (JsonNode v : json.readTree(vectors.toFile())) {
                String text = v.get("text").asText();
                Encoding e = t.encode(text, Tokenizer.Options.PLAIN);
                Encoding f = again.encode(text, Tokenizer.Options.PLAIN);
                assertThat(f.ids()).as(name + " " + text).isEqualTo(e.ids());
                assertThat(f.starts()).as(name + " " + text).isEqualTo(e.starts());
                assertThat(again.decode(f.ids())).as(name + " " + text).isEqualTo(t.decode(e.ids()));
            }
        }
    }

    @Test
    void namesTheDigitsOfSmolLm() {
        Map<String, Object> metadata = small();
        metadata.put("tokenizer.ggml.pre", "smollm");
        Tokenizer t = Tokenizers.fromGguf(metadata);
        assertThat(t.encode("a12").length).isEqualTo(3);
        assertThat(Tokenizers.toGguf(t)).containsEntry("tokenizer.ggml.pre", "smollm");
        metadata.put("tokenizer.ggml.pre", "gpt-2");
        assertThat(Tokenizers.fromGguf(metadata).encode("a12").length).isEqualTo(2);
    }

    /** Arrays may be Java arrays: bytes, the merge "1 2" and a control token. */
    private static Map<String, Object> small() {
        String[] tokens = new String[258];
        int[] types = new int[258];
        for (int b = 0; b < 256; b++) {
            tokens[b] = String.valueOf(ByteAlphabet.charOf(b));
            types[b] = 1;
        }
        tokens[256] = "12";
        types[256] = 1;
        tokens[257] = "<|end|>";
        types[257] = 3;
        Map<String, Object> metadata = new HashMap<>();
        metadata.put("tokenizer.ggml.model", "gpt2");
        metadata.put("tokenizer.ggml.tokens", tokens);
        metadata.put("tokenizer.ggml.token_type", types);
        metadata.put("tokenizer.ggml.merges", List.of("1 2"));
        metadata.put("tokenizer.ggml.eos_token_id", 257L);
        return metadata;
    }

    @Test
    void saysWhatIsWrongWithMetadata() {
        wrong("model", null, "GGUF metadata: tokenizer.ggml.model is missing: the file holds no tokenizer");
        wrong(
                "model",
                "bert",
                "GGUF metadata: tokenizer.ggml.model \"bert\" is not supported: only gpt2 and llama are");
        wrong("pre", "tekken", "GGUF metadata: tokenizer.ggml.pre \"tekken\" is not supported");
        wrong("tokens", null, "GGUF metadata: tokenizer.ggml.tokens is missing");
        wrong("tokens", List.of(1, 2), "GGUF metadata: tokenizer.ggml.tokens must be an array of strings");
        wrong("token_type", List.of(1), "GGUF metadata: tokenizer.ggml.token_type has 1 entries for 258 tokens");
        wrong(
                "merges",
                List.of("1 2", "x yy"),
                "GGUF metadata: tokenizer.ggml.merges[1] refers to token \"yy\", which is not in the vocabulary");
        wrong("merges", List.of("12"), "GGUF metadata: tokenizer.ggml.merges has \"12\" at 0, which is not two tokens");
        wrong("eos_token_id", 258, "GGUF metadata: tokenizer.ggml.eos_token_id 258 is outside the vocabulary of 258");
        wrong("add_bos_token", 1, "GGUF metadata: tokenizer.ggml.add_bos_token must be true or false, not 1");
    }

    private static void wrong(String key, Object value, String message) {
        Map<String, Object> metadata = small();
        metadata.put("tokenizer.ggml." + key, value);
        assertThatThrownBy(() -> Tokenizers.fromGguf(metadata))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage(message);
    }
}
