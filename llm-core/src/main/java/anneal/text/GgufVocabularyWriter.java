package anneal.text;

import anneal.text.SentencePieceModel.Type;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;

/** A tokenizer as the {@code tokenizer.ggml.*} metadata of a GGUF file. */
final class GgufVocabularyWriter {
    private static final String PREFIX = "tokenizer.ggml.";

    private final TokenizerParts p;
    private final Map<String, Object> out = new LinkedHashMap<>();

    private GgufVocabularyWriter(TokenizerParts p) {
        this.p = p;
    }

    static Map<String, Object> write(TokenizerParts p) {
        GgufVocabularyWriter w = new GgufVocabularyWriter(p);
        if (p.model().rules.byteLevel()) {
            w.byteLevel();
        } else {
            w.sentencePiece();
        }
        w.markers();
        return w.out;
    }

    private void put(String key, Object value) {
        out.put(PREFIX + key, value);
    }

    private void byteLevel() {
        put("model", "gpt2");
        put("pre", pre());
        tokens();
        Vocabulary v = p.model().vocabulary;
        String[] merges = new String[p.merges().length / 2];
        for (int i = 0; i < merges.length; i++) {
            merges[i] = v.token(p.merges()[2 * i]) + " " + v.token(p.merges()[2 * i + 1]);
        }
        put("merges", merges);
    }

    /** llama.cpp's name for how this tokenizer cuts words. */
    private String pre() {
        List<PreTokenizer> steps =
                p.preTokenizer() instanceof PreTokenizer.Sequence s ? s.steps() : List.of(p.preTokenizer());
        boolean wholeWords = p.model().rules.wholeWords();
        boolean nfc = p.normalizer() instanceof Normalizer.UnicodeForm f && f.form() == java.text.Normalizer.Form.NFC;
        if (p.normalizer() == null || nfc) {
            PreTokenizer byGpt2 = new PreTokenizer.ByteLevel(false, true);
            PreTokenizer after = new PreTokenizer.ByteLevel(false, false);
            if (!nfc && !wholeWords && steps.equals(List.of(byGpt2))) {
                return "gpt-2";
            }
            if (!nfc && !wholeWords && steps.equals(List.of(new PreTokenizer.Digits(true), byGpt2))) {
                return "smollm";
            }
            if (!nfc && steps.equals(List.of(new PreTokenizer.Scan(WordPattern.LLAMA3), after))) {
                return wholeWords ? "llama-bpe" : "dbrx";
            }
            if (!wholeWords && steps.equals(List.of(new PreTokenizer.Scan(WordPattern.QWEN2), after))) {
                return nfc ? "qwen2" : "stablelm2";
            }
        }
        throw new IllegalArgumentException("GGUF: " + PREFIX
                + "pre has no name for this tokenizer's normalizer and pre_tokenizer: save it as tokenizer.json");
    }

    private void sentencePiece() {
        put("model", "llama");
        put("pre", "default");
        tokens();
        put("scores", p.scores() != null ? p.scores().clone() : scoresByRank());
        boolean prefix;
        boolean removeExtra = false;
        if (p.normalizer() instanceof Normalizer.SentencePiece n && n.rules().map() == null) {
            prefix = n.rules().prefix() != PreTokenizer.Metaspace.Scheme.NEVER;
            removeExtra = n.rules().removeExtraBlanks();
        } else if (p.preTokenizer() instanceof PreTokenizer.Metaspace m && p.normalizer() == null) {
            prefix = m.scheme() != PreTokenizer.Metaspace.Scheme.NEVER;
        } else if (p.preTokenizer() == null && p.normalizer() instanceof Normalizer.Sequence s && onlyBlanks(s)) {
            prefix = s.steps().getFirst() instanceof Normalizer.Prepend;
        } else {
            throw new IllegalArgumentException("GGUF: a llama vocabulary cannot state this tokenizer's normalizer and"
                    + " pre_tokenizer: save it as tokenizer.json");
        }
        put("add_space_prefix", prefix);
        put("remove_extra_whitespaces", removeExtra);
    }

    /** Nothing but blanks written as U+2581, with or without one in front. */
    private static boolean onlyBlanks(Normalizer.Sequence s) {
        String blank = String.valueOf(SentencePieceNormalizer.BLANK);
        return s.steps().stream()
                .allMatch(n -> n instanceof Normalizer.Prepend q && q.prefix().equals(blank)
                        || n instanceof Normalizer.Replace r
                                && r.content().equals(blank)
                                && r.pattern().pattern().equals(java.util.regex.Pattern.quote(" ")));
    }

    /** The earlier a token is merged, the higher its score; what is never merged comes last. */
    private float[] scoresByRank() {
        Vocabulary v = p.model().vocabulary;
        float[] scores = new float[p.vocabulary().size()];
        int n = p.merges().length / 2;
        Arrays.fill(scores, -n - 1);
        for (int i = n - 1; i >= 0; i--) {
            scores[v.id(v.token(p.merges()[2 * i]) + v.token(p.merges()[2 * i + 1]))] = -i;
        }
        return scores;
    }

    private void tokens() {
        int n = p.vocabulary().size();
        String[] tokens = new String[n];
        int[] types = new int[n];
        for (int id = 0; id < n; id++) {
            String token = p.vocabulary().token(id);
            // A gap in the ids still needs a row; it is one that no text gives.
            tokens[id] = token == null ? "[PAD" + id + "]" : token;
            boolean isByte = !p.model().rules.byteLevel() && token != null && BpeModel.byteOf(token) >= 0;
            types[id] = number(token == null ? Type.UNUSED : isByte ? Type.BYTE : Type.NORMAL);
        }
        for (AddedToken t : p.added()) {
            types[t.id()] = number(t.special() ? Type.CONTROL : Type.USER_DEFINED);
        }
        p.markers().unknown().ifPresent(id -> {
            if (!p.model().rules.byteLevel()) {
                types[id] = number(Type.UNKNOWN);
            }
        });
        put("tokens", tokens);
        put("token_type", types);
    }

    private static int number(Type type) {
        return type.ordinal() + 1;
    }

    private void markers() {
        int[] before = p.postProcessor().before();
        int[] after = p.postProcessor().after();
        // A bare tokenizer.json does not name its begin and end; what it puts round a text is those.
        OptionalInt bos = p.markers().bos().isEmpty() && before.length == 1
                ? OptionalInt.of(before[0])
                : p.markers().bos();
        OptionalInt eos = p.markers().eos().isEmpty() && after.length == 1
                ? OptionalInt.of(after[0])
                : p.markers().eos();
        marker("bos_token_id", bos);
        marker("eos_token_id", eos);
        marker("padding_token_id", p.markers().pad());
        marker("unknown_token_id", p.markers().unknown());
        put("add_bos_token", adds("before", before, bos));
        put("add_eos_token", adds("after", after, eos));
    }

    private void marker(String key, OptionalInt id) {
        id.ifPresent(i -> put(key, i));
    }

    private static boolean adds(String where, int[] ids, OptionalInt marker) {
        if (ids.length == 0) {
            return false;
        }
        if (ids.length == 1 && marker.isPresent() && ids[0] == marker.getAsInt()) {
            return true;
        }
        throw new IllegalArgumentException("GGUF: the tokenizer puts ids " + Arrays.toString(ids) + " " + where
                + " a text, which GGUF can say of its begin and end tokens only");
    }
}
