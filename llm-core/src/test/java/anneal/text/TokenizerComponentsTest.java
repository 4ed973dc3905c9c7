package anneal.text;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/** Each component of tokenizer.json against Hugging Face tokenizers (src/test/python/make_tokenizer_components.py). */
class TokenizerComponentsTest {
    private static final ObjectMapper JSON = new ObjectMapper();

    @TempDir
    private Path dir;

    @TestFactory
    List<DynamicTest> agreesWithTokenizers() throws IOException {
        JsonNode all;
        try (InputStream in = getClass().getResourceAsStream("/tokenizers/components.json")) {
            all = JSON.readTree(in);
        }
        List<DynamicTest> tests = new ArrayList<>();
        for (JsonNode c : all.get("cases")) {
            ObjectNode tokenizer = c.get("tokenizer").deepCopy();
            ObjectNode model = (ObjectNode) tokenizer.get("model");
            model.setAll((ObjectNode) all.get("models").get(c.get("model").asText()));
            tests.add(DynamicTest.dynamicTest(c.get("name").asText(), () -> check(c, tokenizer)));
        }
        assertThat(tests).isNotEmpty();
        return tests;
    }

    private void check(JsonNode c, ObjectNode json) throws IOException {
        Path file = Files.writeString(dir.resolve("tokenizer.json"), json.toString());
        Tokenizer t = Tokenizers.load(file);
        for (JsonNode v : c.get("vectors")) {
            String text = v.get("text").asText();
            Encoding e = t.encode(text, new Tokenizer.Options(true, true));
            int[] ids = TokenizerGoldenTest.ints(v.get("ids"));
            assertThat(e.ids()).as(v.get("text").toString()).containsExactly(ids);
            for (int i = 0; i < ids.length && v.has("offsets"); i++) {
                String where = v.get("text") + " token " + i;
                JsonNode span = v.get("offsets").get(i);
                assertThat(text.codePointCount(0, e.starts()[i]))
                        .as("start, " + where)
                        .isEqualTo(span.get(0).asInt());
                assertThat(text.codePointCount(0, e.ends()[i]))
                        .as("end, " + where)
                        .isEqualTo(span.get(1).asInt());
            }
            assertThat(t.decode(ids, false))
                    .as(v.get("text").toString())
                    .isEqualTo(v.get("decoded").asText());
            assertThat(t.decode(ids, true))
                    .as(v.get("text").toString())
                    .isEqualTo(v.get("decoded_skip_special").asText());
        }
    }
}
