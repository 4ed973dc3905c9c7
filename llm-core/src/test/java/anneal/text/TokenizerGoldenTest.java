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
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;

/** Every folder of text/ with a vectors.json: ids, tokens, spans and decoding as the reference libraries give them. */
class TokenizerGoldenTest {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final Tokenizer.Options ALL = new Tokenizer.Options(true, true);

    /** Kinds of vocabulary that this version does not read; a file of any other kind must pass. */
    private static final Set<String> LATER = Set.of("WordPiece", "Unigram");

    private int cases;

    @Test
    void vocabulariesThatStandBesideTheirVectors() throws IOException {
        for (Path dir : folders()) {
            if (Files.exists(dir.resolve("tokenizer.json"))) {
                JsonNode model =
                        JSON.readTree(dir.resolve("tokenizer.json").toFile()).path("model");
                if (!LATER.contains(model.path("type").asText())) {
                    check(dir, Tokenizers.load(dir.resolve("tokenizer.json")));
                }
            } else if (Files.exists(dir.resolve("tokenizer.model"))) {
                if (isBpe(dir.resolve("tokenizer.model"))) {
                    check(dir, Tokenizers.load(dir.resolve("tokenizer.model")));
                }
            }
        }
        Golden.report("text/tokenizers", cases, 0);
    }

    @Test
    void vocabulariesOfTheSharedFolder() throws IOException {
        List<Path> bare = folders().stream()
                .filter(d -> !Files.exists(d.resolve("tokenizer.json")) && !Files.exists(d.resolve("tokenizer.model")))
                .toList();
        Assumptions.assumeFalse(bare.isEmpty(), "every folder of text/ has its vocabulary");
        for (Path dir : bare) {
            List<Path> vocabularies = published(dir);
            assertThat(vocabularies).as("vocabulary for " + dir).isNotEmpty();
            for (Path file : vocabularies) {
                check(dir, Tokenizers.load(file));
            }
        }
        Golden.report("text/published tokenizers", cases, 0);
    }

    private static List<Path> folders() {
        return Golden.cases("text").stream()
                .filter(d -> Files.exists(d.resolve("vectors.json")))
                .toList();
    }

    /** The files that about.json names; without it, the published SentencePiece model of the folder's name. */
    private static List<Path> published(Path dir) throws IOException {
        Path about = dir.resolve("about.json");
        if (!Files.exists(about)) {
            return List.of(Golden.shared("data/tokenizers/" + dir.getFileName() + ".tokenizer.model"));
        }
        List<Path> out = new ArrayList<>();
        String text = JSON.readTree(about.toFile()).path("vocabulary").asText();
        Matcher m = Pattern.compile("\\S+\\.(json|model)").matcher(text);
        while (m.find()) {
            out.add(Golden.shared(m.group()));
        }
        return out;
    }

    /** True if the library reads it; a model of another kind is refused by its kind, nothing else. */
    private static boolean isBpe(Path file) {
        try {
            Tokenizers.load(file);
            return true;
        } catch (IllegalArgumentException e) {
            assertThat(e).hasMessageContaining("trainer_spec.model_type");
            return false;
        }
    }

    private void check(Path dir, Tokenizer t) throws IOException {
        JsonNode vectors = JSON.readTree(dir.resolve("vectors.json").toFile());
        assertThat(vectors.size()).as("vectors in " + dir).isPositive();
        for (JsonNode v : vectors) {
            // Where the reference adds and parses special tokens it says what it gives without adding them, too.
            boolean hasSpecial = v.has("ids_no_special");
            Tokenizer.Options options = hasSpecial ? ALL : Tokenizer.Options.PLAIN;
            String text = v.get("text").asText();
            String name = dir.getFileName() + " " + v.get("text");
            Encoding e = t.encode(text, options);
            int[] ids = ints(v.get("ids"));
            assertThat(e.ids()).as(name).containsExactly(ids);
            if (hasSpecial) {
                int[] plain = ints(v.get("ids_no_special"));
                assertThat(t.encode(text, Tokenizer.Options.TEMPLATE).ids())
                        .as(name)
                        .containsExactly(plain);
                assertThat(t.decode(plain, false))
                        .as(name)
                        .isEqualTo(v.get("decoded").asText());
                assertThat(t.decode(ids, true))
                        .as(name)
                        .isEqualTo(v.get("decoded_skip_special").asText());
            } else {
                assertThat(t.decode(ids, false))
                        .as(name)
                        .isEqualTo(v.get("decoded").asText());
            }
            if (v.has("tokens")) {
                for (int i = 0; i < ids.length; i++) {
                    assertThat(t.token(ids[i]))
                            .as(name)
                            .isEqualTo(v.get("tokens").get(i).asText());
                }
            }
            if (v.has("offsets")) {
                for (int i = 0; i < ids.length; i++) {
                    JsonNode o = v.get("offsets").get(i);
                    assertThat(text.codePointCount(0, e.starts()[i]))
                            .as(name + " start of token " + i)
                            .isEqualTo(o.get(0).asInt());
                    assertThat(text.codePointCount(0, e.ends()[i]))
                            .as(name + " end of token " + i)
                            .isEqualTo(o.get(1).asInt());
                }
            }
            cases++;
        }
    }

    static int[] ints(JsonNode array) {
        int[] out = new int[array.size()];
        for (int i = 0; i < out.length; i++) {
            out[i] = array.get(i).asInt();
        }
        return out;
    }
}
