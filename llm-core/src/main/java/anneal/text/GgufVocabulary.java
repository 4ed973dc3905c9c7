package anneal.text;

import anneal.text.SentencePieceModel.Piece;
import anneal.text.SentencePieceModel.Type;
import java.lang.reflect.Array;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;

/**
 * The vocabulary inside a GGUF file: keys {@code tokenizer.ggml.*}. Kinds {@code gpt2} (byte-level BPE) and {@code llama}
 * (SentencePiece-style BPE); words are cut as llama.cpp cuts them for the same {@code tokenizer.ggml.pre}.
 *
 * <p>Qwen 2's normal form NFC, which the file does not mention, is applied, as that model's own tokenizer does.
 */
final class GgufVocabulary {
    private static final String PREFIX = "tokenizer.ggml.";
    private static final String WHERE = "GGUF metadata";

    /** llama.cpp's cuts for files that do not name theirs, applied one inside the other. */
    private static final List<String> DEFAULT_CUTS = List.of(
            "[\\p{P}\\$\\+<=>\\^~\\|]+",
            "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)",
            "\\p{N}+",
            "[0-9][0-9][0-9]");

    private final Map<String, ?> metadata;

    private GgufVocabulary(Map<String, ?> metadata) {
        this.metadata = metadata;
    }

    static TokenizerParts read(Map<String, ?> metadata) {
        GgufVocabulary g = new GgufVocabulary(metadata);
        String model = g.text("model", null);
        if (model == null) {
            throw error("model", "is missing: the file holds no tokenizer");
        }
        return switch (model) {
            case "gpt2" -> g.byteLevel();
            case "llama" -> g.sentencePiece();
            default -> throw error("model", "\"" + model + "\" is not supported: only gpt2 and llama are");
        };
    }

    private TokenizerParts byteLevel() {
        String[] tokens = strings("tokens");
        Type[] types = types(tokens.length);
        Vocabulary all = Vocabulary.of(tokens, WHERE);
        List<AddedToken> added = new ArrayList<>();
        for (int id = 0; id < tokens.length; id++) {
            switch (types[id]) {
                case CONTROL, UNKNOWN -> added.add(AddedToken.control(id, tokens[id]));
                case USER_DEFINED -> added.add(new AddedToken(id, tokens[id], false, false, false, false, false));
                case NORMAL, UNUSED, BYTE -> {}
            }
        }
        String[] merges = strings("merges");
        int[] pairs = new int[2 * merges.length];
        for (int i = 0; i < merges.length; i++) {
            int blank = merges[i].indexOf(' ', 1);
            if (blank < 0) {
                throw error("merges", "has \"" + merges[i] + "\" at " + i + ", which is not two tokens");
            }
            String key = PREFIX + "merges[" + i + "]";
            String left = merges[i].substring(0, blank);
            String right = merges[i].substring(blank + 1);
            pairs[2 * i] = TokenizerJson.known(WHERE, key, left, all);
            pairs[2 * i + 1] = TokenizerJson.known(WHERE, key, right, all);
            TokenizerJson.known(WHERE, key, left + right, all);
        }
        String pre = text("pre", "default");
        TokenizerParts parts = TokenizerJson.assemble(WHERE, json(pre), all, pairs, added);
        return finish(parts, isLlama3(pre), false);
    }

    private static boolean isLlama3(String pre) {
        return List.of("llama3", "llama-v3", "llama-bpe", "falcon3").contains(pre);
    }

    /** The tokenizer.json that says the same. */
    private static Map<String, Object> json(String pre) {
        return switch (pre) {
            case "gpt-2", "phi-2", "mpt", "olmo", "jais" -> ByteLevelJson.of(null, List.of(), false);
            case "smollm", "starcoder", "refact", "command-r", "codeshell", "exaone" -> ByteLevelJson.digitsApart();
            case "llama3", "llama-v3", "llama-bpe", "falcon3" ->
                ByteLevelJson.of(null, List.of(WordPattern.LLAMA3.regex()), true);
            case "dbrx", "smaug-bpe" -> ByteLevelJson.of(null, List.of(WordPattern.LLAMA3.regex()), false);
            case "qwen2", "deepseek-r1-qwen" -> ByteLevelJson.of("NFC", List.of(WordPattern.QWEN2.regex()), false);
            case "stablelm2" -> ByteLevelJson.of(null, List.of(WordPattern.QWEN2.regex()), false);
            case "default" -> ByteLevelJson.of(null, DEFAULT_CUTS, false);
            default -> throw error("pre", "\"" + pre + "\" is not supported");
        };
    }

    private TokenizerParts sentencePiece() {
        String[] tokens = strings("tokens");
        Type[] types = types(tokens.length);
        float[] scores = floats("scores", tokens.length);
        List<Piece> pieces = new ArrayList<>(tokens.length);
        boolean bytes = false;
        for (int id = 0; id < tokens.length; id++) {
            pieces.add(new Piece(tokens[id], scores[id], types[id]));
            bytes |= types[id] == Type.BYTE;
        }
        var normalizer = new SentencePieceNormalizer(
                null,
                flag("add_space_prefix", true)
                        ? PreTokenizer.Metaspace.Scheme.ALWAYS
                        : PreTokenizer.Metaspace.Scheme.NEVER,
                flag("remove_extra_whitespaces", false),
                true);
        OptionalInt unknown = id("unknown_token_id", tokens.length);
        for (int id = 0; id < tokens.length && unknown.isEmpty(); id++) {
            unknown = types[id] == Type.UNKNOWN ? OptionalInt.of(id) : unknown;
        }
        var spec = new SentencePieceBpe.Spec(
                WHERE,
                pieces,
                normalizer,
                new byte[0],
                bytes,
                false,
                false,
                new TokenizerParts.Markers(OptionalInt.empty(), OptionalInt.empty(), OptionalInt.empty(), unknown));
        return finish(SentencePieceBpe.build(spec), true, false);
    }

    /** Begin, end and padding; {@code bosByDefault} and {@code eosByDefault} hold where the file does not say. */
    private TokenizerParts finish(TokenizerParts parts, boolean bosByDefault, boolean eosByDefault) {
        int n = parts.vocabulary().size();
        OptionalInt unknown = id("unknown_token_id", n);
        var markers = new TokenizerParts.Markers(
                id("bos_token_id", n),
                id("eos_token_id", n),
                id("padding_token_id", n),
                unknown.isPresent() ? unknown : parts.markers().unknown());
        int[] before =
                flag("add_bos_token", bosByDefault) ? markers.bos().stream().toArray() : new int[0];
        int[] after =
                flag("add_eos_token", eosByDefault) ? markers.eos().stream().toArray() : new int[0];
        TokenizerParts p = before.length + after.length == 0 ? parts : TokenizerJson.withMarkers(parts, before, after);
        return p.with(markers);
    }

    private Type[] types(int n) {
        Object v = metadata.get(PREFIX + "token_type");
        Type[] types = new Type[n];
        java.util.Arrays.fill(types, Type.NORMAL);
        if (v == null) {
            return types;
        }
        List<Object> list = list("token_type", v);
        requireLength("token_type", list.size(), n);
        for (int i = 0; i < n; i++) {
            types[i] = Type.of(number("token_type", list.get(i)).longValue(), WHERE + ": " + PREFIX + "token_type");
        }
        return types;
    }

    private float[] floats(String key, int n) {
        List<Object> list = list(key, required(key));
        requireLength(key, list.size(), n);
        float[] out = new float[n];
        for (int i = 0; i < n; i++) {
            out[i] = number(key, list.get(i)).floatValue();
        }
        return out;
    }

    private static void requireLength(String key, int length, int n) {
        if (length != n) {
            throw error(key, "has " + length + " entries for " + n + " tokens");
        }
    }

    private String[] strings(String key) {
        List<Object> list = list(key, required(key));
        String[] out = new String[list.size()];
        for (int i = 0; i < out.length; i++) {
            if (!(list.get(i) instanceof String s)) {
                throw error(key, "must be an array of strings");
            }
            out[i] = s;
        }
        return out;
    }

    private Object required(String key) {
        Object v = metadata.get(PREFIX + key);
        if (v == null) {
            throw error(key, "is missing");
        }
        return v;
    }

    /** A list or any kind of array as a list. */
    private static List<Object> list(String key, Object v) {
        if (v instanceof List<?> l) {
            return List.copyOf(l);
        }
        if (!v.getClass().isArray()) {
            throw error(key, "must be an array, not " + v.getClass().getSimpleName());
        }
        int n = Array.getLength(v);
        List<Object> out = new ArrayList<>(n);
        for (int i = 0; i < n; i++) {
            out.add(Array.get(v, i));
        }
        return out;
    }

    private String text(String key, String otherwise) {
        Object v = metadata.get(PREFIX + key);
        if (v != null && !(v instanceof String)) {
            throw error(key, "must be a string, not " + v);
        }
        return v == null ? otherwise : (String) v;
    }

    private boolean flag(String key, boolean otherwise) {
        Object v = metadata.get(PREFIX + key);
        if (v != null && !(v instanceof Boolean)) {
            throw error(key, "must be true or false, not " + v);
        }
        return v == null ? otherwise : (Boolean) v;
    }

    private OptionalInt id(String key, int n) {
        Object v = metadata.get(PREFIX + key);
        if (v == null) {
            return OptionalInt.empty();
        }
        long id = number(key, v).longValue();
        if (id < 0 || id >= n) {
            throw error(key, id + " is outside the vocabulary of " + n);
        }
        return OptionalInt.of((int) id);
    }

    private static Number number(String key, Object v) {
        if (!(v instanceof Number n)) {
            throw error(key, "must be a number, not " + v);
        }
        return n;
    }

    private static IllegalArgumentException error(String key, String what) {
        return new IllegalArgumentException(WHERE + ": " + PREFIX + key + " " + what);
    }
}
