package anneal.text;

import com.fasterxml.jackson.core.JsonLocation;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** Reads Hugging Face's tokenizer.json. What is not understood is an error that names file and key. */
final class TokenizerJson {
    static final ObjectMapper MAPPER = JsonMapper.builder()
            .enable(JsonParser.Feature.STRICT_DUPLICATE_DETECTION)
            .build();

    private TokenizerJson() {}

    /** The JSON of a file. */
    static JsonNode parse(Path file) {
        byte[] bytes;
        try {
            bytes = Files.readAllBytes(file);
        } catch (NoSuchFileException e) {
            throw new UncheckedIOException(file + ": no such file", e);
        } catch (IOException e) {
            throw new UncheckedIOException(file + ": cannot be read: " + e.getMessage(), e);
        }
        try {
            JsonNode node = MAPPER.readTree(bytes);
            if (node == null || node.isMissingNode()) {
                throw new IllegalArgumentException(file + ": is empty, not JSON");
            }
            return node;
        } catch (JsonProcessingException e) {
            JsonLocation at = e.getLocation();
            throw new IllegalArgumentException(
                    file + ": not valid JSON at line " + (at == null ? 0 : at.getLineNr()) + ", column "
                            + (at == null ? 0 : at.getColumnNr()) + ": " + e.getOriginalMessage(),
                    e);
        } catch (IOException e) {
            throw new UncheckedIOException(file.toString(), e);
        }
    }

    /** @param extra added tokens that other files of the folder declare; they win over those of the same spelling */
    static TokenizerParts read(Path file, List<AddedToken> extra) {
        JsonNode root = parse(file);
        JsonFields f = JsonFields.of(file.toString(), root);
        JsonFields model = f.object("model").orElseThrow(() -> f.error("model", "is missing"));
        String type = model.text("type", "BPE");
        if (!type.equals("BPE")) {
            throw model.error("type", "\"" + type + "\" is not supported: only BPE is");
        }
        Vocabulary vocabulary = vocabulary(model);
        int[] merges = merges(model, vocabulary);
        Map<String, AddedToken> added = new java.util.LinkedHashMap<>();
        if (root.hasNonNull("added_tokens")) {
            for (JsonFields t : f.objects("added_tokens")) {
                AddedToken token = added(t, t.number("id"));
                if (added.put(token.content(), token) != null) {
                    throw t.error("content", "\"" + token.content() + "\" is added twice");
                }
            }
        }
        extra.forEach(t -> added.put(t.content(), t));
        ObjectNode json = (ObjectNode) root; // nobody else holds it
        json.remove("added_tokens");
        ((ObjectNode) json.get("model")).remove(List.of("vocab", "merges"));
        return assemble(file.toString(), json, vocabulary, merges, List.copyOf(added.values()));
    }

    /** One added token; {@code id} stands inside the object or is the key it hangs under. */
    static AddedToken added(JsonFields t, int id) {
        AddedToken token = new AddedToken(
                id,
                t.text("content"),
                t.flag("single_word", false),
                t.flag("lstrip", false),
                t.flag("rstrip", false),
                t.flag("normalized", !t.flag("special", false)),
                t.flag("special", false));
        t.ignore("id", "__type").done();
        return token;
    }

    private static Vocabulary vocabulary(JsonFields model) {
        JsonFields vocab = model.object("vocab").orElseThrow(() -> model.error("vocab", "is missing"));
        Map<String, Integer> ids = new HashMap<>();
        for (String token : vocab.keys()) {
            ids.put(token, vocab.number(token));
        }
        return Vocabulary.of(ids, model.file());
    }

    /** Merges as {@code ["a", "b"]} or, in older files, {@code "a b"}. */
    private static int[] merges(JsonFields model, Vocabulary vocabulary) {
        JsonNode list = model.node("merges");
        if (!list.isArray()) {
            throw model.error("merges", "must be an array, not " + JsonFields.kind(list));
        }
        int[] out = new int[2 * list.size()];
        int n = 0;
        for (JsonNode merge : list) {
            String key = "merges[" + n / 2 + "]";
            String left;
            String right;
            if (merge.isTextual() && merge.textValue().indexOf(' ') > 0) {
                String s = merge.textValue();
                left = s.substring(0, s.indexOf(' '));
                right = s.substring(s.indexOf(' ') + 1);
            } else if (merge.isArray()
                    && merge.size() == 2
                    && merge.get(0).isTextual()
                    && merge.get(1).isTextual()) {
                left = merge.get(0).textValue();
                right = merge.get(1).textValue();
            } else {
                throw model.error(key, "must be two tokens, not " + JsonFields.kind(merge));
            }
            out[n++] = known(model.file(), "model." + key, left, vocabulary);
            out[n++] = known(model.file(), "model." + key, right, vocabulary);
            known(model.file(), "model." + key, left + right, vocabulary);
        }
        return out;
    }

    /** The id of a token that a merge speaks of. */
    static int known(String file, String key, String token, Vocabulary vocabulary) {
        int id = vocabulary.id(token);
        if (id < 0) {
            throw new IllegalArgumentException(
                    file + ": " + key + " refers to token \"" + token + "\", which is not in the vocabulary");
        }
        return id;
    }

    /**
     * Puts a tokenizer together.
     *
     * @param file named in errors
     * @param json tokenizer.json without vocabulary, merges and added tokens
     * @param modelVocabulary the tokens of the model alone
     * @param merges left and right ids in rank order
     */
    static TokenizerParts assemble(
            String file, ObjectNode json, Vocabulary modelVocabulary, int[] merges, List<AddedToken> added) {
        JsonFields f = JsonFields.of(file, json);
        JsonFields model = f.object("model").orElseThrow();
        Normalizer normalizer = TokenizerComponents.optional(f, "normalizer", TokenizerComponents::normalizer, null);
        PreTokenizer pre = TokenizerComponents.optional(f, "pre_tokenizer", TokenizerComponents::preTokenizer, null);
        PostProcessor post = TokenizerComponents.optional(
                f, "post_processor", TokenizerComponents::postProcessor, PostProcessor.NONE);
        TokenDecoder.Rules decoder = TokenizerComponents.optional(
                f, "decoder", TokenizerComponents::decoder, TokenizerComponents.noDecoder());
        f.text("version", "1.0");
        f.ignore("truncation", "padding").done(); // the caller's business, per call
        BpeModel bpe = model(model, modelVocabulary, merges, added, isByteLevel(pre));
        Vocabulary vocabulary = modelVocabulary.with(added, file);
        checkIds(file, post.before(), vocabulary);
        checkIds(file, post.after(), vocabulary);
        return new TokenizerParts(
                json, vocabulary, bpe, merges, added, normalizer, pre, post, decoder, TokenizerParts.Markers.NONE);
    }

    private static void checkIds(String file, int[] ids, Vocabulary vocabulary) {
        for (int id : ids) {
            if (id < 0 || id >= vocabulary.size()) {
                throw new IllegalArgumentException(file + ": post_processor adds id " + id
                        + ", which is outside the vocabulary of " + vocabulary.size());
            }
        }
    }

    private static boolean isByteLevel(PreTokenizer p) {
        return p instanceof PreTokenizer.ByteLevel
                || p instanceof PreTokenizer.Sequence s && isByteLevel(s.steps().getLast());
    }

    private static BpeModel model(
            JsonFields f, Vocabulary vocabulary, int[] merges, List<AddedToken> added, boolean byteLevel) {
        f.text("type", "BPE");
        for (String key : List.of("continuing_subword_prefix", "end_of_word_suffix")) {
            if (!f.text(key, "").isEmpty()) {
                throw f.error(key, "\"" + f.text(key) + "\" is not supported");
            }
        }
        // Dropout is for training a model on varied cuts; encoding for use never drops merges.
        f.ignore("dropout");
        String unknown = f.text("unk_token", null);
        BpeModel.Rules rules = new BpeModel.Rules(
                byteLevel,
                f.flag("byte_fallback", false),
                unknown == null ? -1 : known(f.file(), "model.unk_token", unknown, vocabulary.with(added, f.file())),
                f.flag("fuse_unk", false),
                f.flag("ignore_merges", false));
        f.done();
        MergeTable table = new MergeTable(merges.length / 2);
        boolean cuts = true;
        for (int i = 0; i < merges.length; i += 2) {
            String left = vocabulary.token(merges[i]);
            String right = vocabulary.token(merges[i + 1]);
            table.add(merges[i], merges[i + 1], i / 2, vocabulary.id(left.concat(right)));
            cuts &= !reachesAcross(left, right);
        }
        return new BpeModel(
                vocabulary,
                table,
                rules,
                Map.of(),
                rules.wholeWords() ? wholeWords(vocabulary, added) : Map.of(),
                cuts);
    }

    /** True if the merge joins something that is no blank with a token that begins with one. */
    static boolean reachesAcross(String left, String right) {
        return right.charAt(0) == SentencePieceNormalizer.BLANK
                && left.chars().anyMatch(c -> c != SentencePieceNormalizer.BLANK);
    }

    /** All tokens but the special ones: plain text must not become one of those. */
    private static Map<String, Integer> wholeWords(Vocabulary vocabulary, List<AddedToken> added) {
        Set<String> special = new HashSet<>();
        for (AddedToken t : added) {
            if (t.special()) {
                special.add(t.content());
            }
        }
        Map<String, Integer> words = HashMap.newHashMap(vocabulary.size());
        for (int id = 0; id < vocabulary.size(); id++) {
            String token = vocabulary.token(id);
            if (token != null && !special.contains(token)) {
                words.put(token, id);
            }
        }
        return words;
    }

    /** The same tokenizer with other tokens put before and after. */
    static TokenizerParts withMarkers(TokenizerParts p, int[] before, int[] after) {
        List<JsonNode> pieces = new ArrayList<>();
        ObjectNode special = MAPPER.createObjectNode();
        for (int id : before) {
            pieces.add(specialPiece(p, id, special));
        }
        ObjectNode text = MAPPER.createObjectNode();
        text.putObject("Sequence").put("id", "A").put("type_id", 0);
        pieces.add(text);
        for (int id : after) {
            pieces.add(specialPiece(p, id, special));
        }
        ObjectNode template = MAPPER.createObjectNode().put("type", "TemplateProcessing");
        template.putArray("single").addAll(pieces);
        var pair = template.putArray("pair").addAll(pieces);
        for (JsonNode piece : pieces) {
            ObjectNode second = piece.deepCopy();
            ObjectNode inner = (ObjectNode) second.elements().next();
            inner.put("type_id", 1);
            if (second.has("Sequence")) {
                inner.put("id", "B");
            }
            pair.add(second);
        }
        template.set("special_tokens", special);
        ObjectNode json = p.json().deepCopy();
        json.set("post_processor", template);
        return new TokenizerParts(
                json,
                p.vocabulary(),
                p.model(),
                p.merges(),
                p.added(),
                p.normalizer(),
                p.preTokenizer(),
                new PostProcessor(before, after, p.postProcessor().trim()),
                p.decoder(),
                p.markers());
    }

    private static ObjectNode specialPiece(TokenizerParts p, int id, ObjectNode special) {
        String token = p.vocabulary().token(id);
        ObjectNode entry = special.putObject(token).put("id", token);
        entry.putArray("ids").add(id);
        entry.putArray("tokens").add(token);
        ObjectNode piece = MAPPER.createObjectNode();
        piece.putObject("SpecialToken").put("id", token).put("type_id", 0);
        return piece;
    }
}
