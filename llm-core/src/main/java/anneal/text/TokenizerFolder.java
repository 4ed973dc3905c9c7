package anneal.text;

import anneal.io.Json;
import anneal.io.JsonObject;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import java.util.Set;

/**
 * A tokenizer as a Hugging Face folder holds it: tokenizer.json or tokenizer.model, with what tokenizer_config.json and
 * special_tokens_map.json say about begin, end, padding and further added tokens.
 *
 * <p>As in transformers: the config's {@code added_tokens_decoder} wins over tokenizer.json; the tokens that are named
 * as begin, end, padding or unknown are control tokens, added at the end if the vocabulary lacks them; LLaMA's own
 * tokenizer classes put begin and end where {@code add_bos_token} and {@code add_eos_token} say, whatever the
 * post-processor is. {@code clean_up_tokenization_spaces} is not followed: decoding gives back the text.
 */
final class TokenizerFolder {
    static final String CONFIG = "tokenizer_config.json";
    private static final String SPECIAL = "special_tokens_map.json";
    private static final List<String> ROLES =
            List.of("bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token", "mask_token");
    private static final List<String> LISTS = List.of("additional_special_tokens", "extra_special_tokens");
    private static final Set<String> LLAMA_CLASSES = Set.of(
            "LlamaTokenizer",
            "LlamaTokenizerFast",
            "CodeLlamaTokenizer",
            "CodeLlamaTokenizerFast",
            "GemmaTokenizer",
            "GemmaTokenizerFast");

    private final Path dir;
    private final Path configFile;
    private final JsonObject config;
    private final JsonObject specialMap;
    /** Spellings by role (bos_token, ...). */
    private final Map<String, String> roles = new LinkedHashMap<>();

    private final Map<String, AddedToken> declared = new LinkedHashMap<>();
    private final List<String> special = new ArrayList<>();

    private TokenizerFolder(Path dir) {
        this.dir = dir;
        configFile = dir.resolve(CONFIG);
        config = object(configFile);
        specialMap = object(dir.resolve(SPECIAL));
        readRoles();
        readDeclared();
    }

    /** The file's object, or an empty one if there is no such file. */
    private static JsonObject object(Path file) {
        return Files.exists(file) ? Json.read(file) : new JsonObject(Map.of(), file.toString());
    }

    static TokenizerParts read(Path dir) {
        Path json = dir.resolve("tokenizer.json");
        Path model = dir.resolve("tokenizer.model");
        if (Files.exists(json)) {
            TokenizerFolder f = new TokenizerFolder(dir);
            return f.finish(TokenizerJson.read(json, List.copyOf(f.declared.values())), true);
        }
        if (Files.exists(model)) {
            TokenizerFolder f = new TokenizerFolder(dir);
            return f.finish(
                    readModel(model, f.modelPrefix(), f.flag("add_bos_token", true), f.flag("add_eos_token", false)),
                    false);
        }
        throw new IllegalArgumentException(dir + ": holds neither tokenizer.json nor tokenizer.model");
    }

    /** A SentencePiece file by itself. */
    static TokenizerParts readModel(Path file, PreTokenizer.Metaspace.Scheme prefix, boolean addBegin, boolean addEnd) {
        try {
            SentencePieceModel m = SentencePieceModel.parse(Files.readAllBytes(file), file.toString());
            return SentencePieceBpe.of(m, file.toString(), prefix, addBegin, addEnd);
        } catch (IOException e) {
            throw new UncheckedIOException(file + ": cannot be read: " + e.getMessage(), e);
        }
    }

    /** The newer ("not legacy") behaviour puts a blank before the text only, not after each control token. */
    private PreTokenizer.Metaspace.Scheme modelPrefix() {
        return flag("legacy", true) ? PreTokenizer.Metaspace.Scheme.ALWAYS : PreTokenizer.Metaspace.Scheme.FIRST;
    }

    private void readRoles() {
        for (String role : ROLES) {
            JsonObject from = config.has(role) ? config : specialMap;
            if (from.has(role)) {
                roles.put(role, spelling(from, role, from.get(role)));
            }
        }
        for (String list : LISTS) {
            JsonObject from = config.has(list) ? config : specialMap;
            Object v = from.map().get(list);
            if (v instanceof Map<?, ?> named) { // newer files name them
                named.values().forEach(t -> special.add(spelling(from, list, t)));
            } else if (v != null) {
                from.list(list).forEach(t -> special.add(spelling(from, list, t)));
            }
        }
    }

    /** A token is written as a string or as an object with its content. */
    private static String spelling(JsonObject from, String key, Object v) {
        if ((v instanceof Map<?, ?> m ? m.get("content") : v) instanceof String s && !s.isEmpty()) {
            return s;
        }
        throw from.error(key, "a token or an object with content");
    }

    private void readDeclared() {
        new JsonFields(config).find("added_tokens_decoder").ifPresent(decoder -> {
            for (String key : decoder.keys()) {
                if (!key.matches("[0-9]{1,9}")) {
                    throw decoder.error(key, "named by a token id");
                }
                AddedToken t = TokenizerJson.added(decoder.fields(key), Integer.parseInt(key));
                declared.put(t.content(), t);
            }
        });
    }

    private boolean flag(String key, boolean absent) {
        return config.flag(key, absent);
    }

    private TokenizerParts finish(TokenizerParts parts, boolean fromJson) {
        TokenizerParts p = withSpecial(parts);
        TokenizerParts.Markers old = p.markers();
        var markers = new TokenizerParts.Markers(
                role("bos_token", p, old.bos()),
                role("eos_token", p, old.eos()),
                role("pad_token", p, old.pad()),
                role("unk_token", p, old.unknown()));
        p = p.with(markers);
        String tokenizerClass = config.string("tokenizer_class", "");
        boolean flagged = config.has("add_bos_token") || config.has("add_eos_token");
        if (fromJson && flagged && LLAMA_CLASSES.contains(tokenizerClass)) {
            int[] before = flag("add_bos_token", true) ? required("bos", markers.bos()) : new int[0];
            int[] after = flag("add_eos_token", false) ? required("eos", markers.eos()) : new int[0];
            p = TokenizerJson.withMarkers(p, before, after);
        }
        return p;
    }

    private int[] required(String name, OptionalInt id) {
        if (id.isEmpty()) {
            throw new IllegalArgumentException(
                    configFile + ": add_" + name + "_token is true but there is no " + name + "_token");
        }
        return new int[] {id.getAsInt()};
    }

    private OptionalInt role(String role, TokenizerParts p, OptionalInt otherwise) {
        String token = roles.get(role);
        return token == null ? otherwise : OptionalInt.of(p.vocabulary().id(token));
    }

    /** The named tokens become control tokens; those without an id get the next ones. */
    private TokenizerParts withSpecial(TokenizerParts p) {
        Map<String, AddedToken> added = new LinkedHashMap<>();
        p.added().forEach(t -> added.put(t.content(), t));
        int next = p.vocabulary().size();
        List<String> named = new ArrayList<>(roles.values());
        named.addAll(special);
        boolean changed = false;
        for (String token : named) {
            AddedToken before = added.get(token);
            if (before != null && before.special()) {
                continue;
            }
            int known = p.vocabulary().id(token);
            added.put(token, AddedToken.control(known >= 0 ? known : next++, token));
            changed = true;
        }
        if (!changed) {
            return p;
        }
        return p.with(List.copyOf(added.values()), dir.toString());
    }
}
