package anneal.text;

import anneal.io.AtomicFile;
import anneal.io.Json;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;

/** Writes tokenizer.json and tokenizer_config.json. */
final class TokenizerWriter {
    private TokenizerWriter() {}

    static void write(TokenizerParts p, Path dir) {
        try {
            Files.createDirectories(dir);
            byte[] json = Json.line(tokenizerJson(p)).getBytes(StandardCharsets.UTF_8);
            AtomicFile.write(dir.resolve("tokenizer.json"), json);
        } catch (IOException e) {
            throw new UncheckedIOException(dir + ": tokenizer cannot be written: " + e.getMessage(), e);
        }
        Json.write(dir.resolve("tokenizer_config.json"), config(p));
    }

    private static Map<String, Object> tokenizerJson(TokenizerParts p) {
        boolean pieces = p.normalizer() instanceof Normalizer.SentencePiece;
        List<Object> added = new ArrayList<>();
        for (AddedToken t : p.added().stream()
                .sorted(Comparator.comparingInt(AddedToken::id))
                .toList()) {
            added.add(JsonFields.object(
                    "id",
                    t.id(),
                    "content",
                    t.content(),
                    "single_word",
                    t.singleWord(),
                    "lstrip",
                    t.lstrip(),
                    "rstrip",
                    t.rstrip(),
                    // Pieces are spelled as in normalised text, which a tokenizer.json would normalise again.
                    "normalized",
                    t.normalized() && !pieces,
                    "special",
                    t.special()));
        }
        Map<String, Object> out =
                JsonFields.object("version", "1.0", "truncation", null, "padding", null, "added_tokens", added);
        p.json().forEach(out::putIfAbsent);
        out.put("model", model(p));
        return out;
    }

    @SuppressWarnings("unchecked")
    private static Map<String, Object> model(TokenizerParts p) {
        Map<String, Object> model =
                new LinkedHashMap<>((Map<String, Object>) p.json().get("model"));
        Vocabulary v = p.model().vocabulary;
        Map<String, Object> vocab = new LinkedHashMap<>();
        for (int id = 0; id < v.size(); id++) {
            if (v.token(id) != null) {
                vocab.put(v.token(id), id);
            }
        }
        List<Object> merges = new ArrayList<>(p.merges().length / 2);
        for (int i = 0; i < p.merges().length; i += 2) {
            merges.add(List.of(v.token(p.merges()[i]), v.token(p.merges()[i + 1])));
        }
        model.put("vocab", vocab);
        model.put("merges", merges);
        return model;
    }

    private static Map<String, Object> config(TokenizerParts p) {
        Map<String, Object> config =
                JsonFields.object("tokenizer_class", "PreTrainedTokenizerFast", "clean_up_tokenization_spaces", false);
        role(config, "bos_token", p.markers().bos(), p);
        role(config, "eos_token", p.markers().eos(), p);
        role(config, "pad_token", p.markers().pad(), p);
        role(config, "unk_token", p.markers().unknown(), p);
        return config;
    }

    private static void role(Map<String, Object> config, String key, OptionalInt id, TokenizerParts p) {
        id.ifPresent(i -> config.put(key, p.vocabulary().token(i)));
    }
}
