package anneal.text;

import anneal.io.Json;
import anneal.io.JsonObject;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.IntStream;

/** Reads Hugging Face's tokenizer.json. What is not understood is an error that names file and key. */
final class TokenizerJson {
    private TokenizerJson() {}

    /** @param extra added tokens that other files of the folder declare; they win over those of the same spelling */
    static TokenizerParts read(Path file, List<AddedToken> extra) {
        JsonFields f = new JsonFields(Json.read(file));
        JsonFields model = f.fields("model");
        if (!model.text("type", "BPE").equals("BPE")) {
            throw model.error("type", "BPE, the only kind that is supported,");
        }
        Vocabulary vocabulary = vocabulary(model);
        int[] merges = merges(model, vocabulary);
        Map<String, AddedToken> added = new LinkedHashMap<>();
        if (f.has("added_tokens")) {
            for (JsonFields t : f.each("added_tokens")) {
                AddedToken token = added(t, t.number("id"));
                if (added.put(token.content(), token) != null) {
                    throw t.error("content", "added once only");
                }
            }
        }
        for (AddedToken t : extra) {
            AddedToken before = added.put(t.content(), t);
            if (before != null && before.id() != t.id()) {
                throw new IllegalArgumentException(file + ": added token \"" + t.content() + "\" has id " + before.id()
                        + " but " + TokenizerFolder.CONFIG + " gives it " + t.id());
            }
        }
        Map<String, Object> json = new LinkedHashMap<>();
        for (String key : f.keys()) {
            if (!key.equals("added_tokens")) {
                json.put(key, key.equals("model") ? settings(model) : f.has(key) ? f.get(key) : null);
            }
        }
        return assemble(file.toString(), json, vocabulary, merges, List.copyOf(added.values()));
    }

    /** The model without its tokens. */
    private static Map<String, Object> settings(JsonFields model) {
        Map<String, Object> out = new LinkedHashMap<>();
        for (String key : model.keys()) {
            if (!key.equals("vocab") && !key.equals("merges")) {
                out.put(key, model.has(key) ? model.get(key) : null);
            }
        }
        return out;
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
        JsonFields vocab = model.fields("vocab");
        Map<String, Integer> ids = HashMap.newHashMap(vocab.keys().size());
        for (String token : vocab.keys()) {
            ids.put(token, vocab.number(token));
        }
        return Vocabulary.of(ids, vocab.where());
    }

    /** Merges as {@code ["a", "b"]} or, in older files, {@code "a b"}. */
    private static int[] merges(JsonFields model, Vocabulary vocabulary) {
        List<Object> list = model.list("merges");
        int[] out = new int[2 * list.size()];
        for (int i = 0; i < list.size(); i++) {
            String key = "merges[" + i + "]";
            String left;
            String right;
            if (list.get(i) instanceof String s && s.indexOf(' ') > 0) {
                left = s.substring(0, s.indexOf(' '));
                right = s.substring(s.indexOf(' ') + 1);
            } else if (list.get(i) instanceof List<?> pair
                    && pair.size() == 2
                    && pair.get(0) instanceof String a
                    && pair.get(1) instanceof String b) {
                left = a;
                right = b;
            } else {
                throw new IllegalArgumentException(
                        model.where() + ": " + key + " must be two tokens but is " + list.get(i));
            }
            out[2 * i] = known(model.where(), key, left, vocabulary);
            out[2 * i + 1] = known(model.where(), key, right, vocabulary);
            known(model.where(), key, left + right, vocabulary);
        }
        return out;
    }

    /** The id of a token that a merge speaks of. */
    static int known(String where, String key, String token, Vocabulary vocabulary) {
        int id = vocabulary.id(token);
        if (id < 0) {
            throw new IllegalArgumentException(
                    where + ": " + key + " refers to token \"" + token + "\", which is not in the vocabulary");
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
            String file, Map<String, Object> json, Vocabulary modelVocabulary, int[] merges, List<AddedToken> added) {
        JsonFields f = new JsonFields(new JsonObject(json, file));
        JsonFields model = f.fields("model");
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
                json,
                vocabulary,
                bpe,
                null,
                merges,
                added,
                normalizer,
                pre,
                post,
                decoder,
                TokenizerParts.Markers.NONE);
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
                throw f.error(key, "absent (it is not supported)");
            }
        }
        // Dropout is for training a model on varied cuts; encoding for use never drops merges.
        f.ignore("dropout");
        String unknown = f.text("unk_token", null);
        BpeModel.Rules rules = new BpeModel.Rules(
                byteLevel,
                f.flag("byte_fallback", false),
                unknown == null ? -1 : known(f.where(), "unk_token", unknown, vocabulary.with(added, f.where())),
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
        Map<String, Object> special = new LinkedHashMap<>();
        for (int id :
                IntStream.concat(Arrays.stream(before), Arrays.stream(after)).toArray()) {
            String token = p.vocabulary().token(id);
            special.put(token, JsonFields.object("id", token, "ids", List.of(id), "tokens", List.of(token)));
        }
        List<Object> pair = template(p, before, "A", 0, after);
        pair.addAll(template(p, before, "B", 1, after));
        Map<String, Object> json = new LinkedHashMap<>(p.json());
        json.put(
                "post_processor",
                JsonFields.object(
                        "type",
                        "TemplateProcessing",
                        "single",
                        template(p, before, "A", 0, after),
                        "pair",
                        pair,
                        "special_tokens",
                        special));
        return p.with(new PostProcessor(before, after, p.postProcessor().trim()), json);
    }

    private static List<Object> template(TokenizerParts p, int[] before, String sequence, int type, int[] after) {
        List<Object> out = new ArrayList<>();
        for (int id : before) {
            out.add(piece("SpecialToken", p.vocabulary().token(id), type));
        }
        out.add(piece("Sequence", sequence, type));
        for (int id : after) {
            out.add(piece("SpecialToken", p.vocabulary().token(id), type));
        }
        return out;
    }

    private static Map<String, Object> piece(String kind, String id, int type) {
        return JsonFields.object(kind, JsonFields.object("id", id, "type_id", type));
    }
}
