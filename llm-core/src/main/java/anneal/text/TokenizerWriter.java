package anneal.text;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Comparator;
import java.util.OptionalInt;

/** Writes tokenizer.json and tokenizer_config.json. */
final class TokenizerWriter {
    private TokenizerWriter() {}

    static void write(TokenizerParts p, Path dir) {
        try {
            Files.createDirectories(dir);
            replace(dir.resolve("tokenizer.json"), TokenizerJson.MAPPER.writeValueAsBytes(tokenizerJson(p)));
            replace(
                    dir.resolve("tokenizer_config.json"),
                    TokenizerJson.MAPPER.writerWithDefaultPrettyPrinter().writeValueAsBytes(config(p)));
        } catch (IOException e) {
            throw new UncheckedIOException(dir + ": tokenizer cannot be written: " + e.getMessage(), e);
        }
    }

    /** Whole or not at all. */
    private static void replace(Path file, byte[] bytes) throws IOException {
        Path part = file.resolveSibling(file.getFileName() + ".part");
        try {
            Files.write(part, bytes);
            Files.move(part, file, StandardCopyOption.REPLACE_EXISTING, StandardCopyOption.ATOMIC_MOVE);
        } finally {
            Files.deleteIfExists(part);
        }
    }

    private static ObjectNode tokenizerJson(TokenizerParts p) {
        ObjectNode json = p.json().deepCopy();
        ObjectNode model = (ObjectNode) json.remove("model");
        ArrayNode added = TokenizerJson.MAPPER.createArrayNode();
        boolean pieces = p.normalizer() instanceof Normalizer.SentencePiece;
        p.added().stream()
                .sorted(Comparator.comparingInt(AddedToken::id))
                .forEach(t -> added.addObject()
                        .put("id", t.id())
                        .put("content", t.content())
                        .put("single_word", t.singleWord())
                        .put("lstrip", t.lstrip())
                        .put("rstrip", t.rstrip())
                        // Pieces are spelled as in normalised text, which a tokenizer.json would normalise again.
                        .put("normalized", t.normalized() && !pieces)
                        .put("special", t.special()));
        ObjectNode out = TokenizerJson.MAPPER.createObjectNode();
        out.put("version", "1.0").putNull("truncation").putNull("padding");
        out.set("added_tokens", added);
        json.fields().forEachRemaining(e -> out.set(e.getKey(), e.getValue()));
        ObjectNode vocab = model.putObject("vocab");
        Vocabulary v = p.model().vocabulary;
        for (int id = 0; id < v.size(); id++) {
            if (v.token(id) != null) {
                vocab.put(v.token(id), id);
            }
        }
        ArrayNode merges = model.putArray("merges");
        for (int i = 0; i < p.merges().length; i += 2) {
            merges.addArray().add(v.token(p.merges()[i])).add(v.token(p.merges()[i + 1]));
        }
        out.set("model", model);
        return out;
    }

    private static ObjectNode config(TokenizerParts p) {
        ObjectNode config = TokenizerJson.MAPPER.createObjectNode();
        config.put("tokenizer_class", "PreTrainedTokenizerFast");
        config.put("clean_up_tokenization_spaces", false);
        role(config, "bos_token", p.markers().bos(), p);
        role(config, "eos_token", p.markers().eos(), p);
        role(config, "pad_token", p.markers().pad(), p);
        role(config, "unk_token", p.markers().unknown(), p);
        return config;
    }

    private static void role(ObjectNode config, String key, OptionalInt id, TokenizerParts p) {
        id.ifPresent(i -> config.put(key, p.vocabulary().token(i)));
    }
}
