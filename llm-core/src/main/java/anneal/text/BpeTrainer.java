package anneal.text;

import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import java.util.SequencedSet;

/**
 * Learns a byte-level BPE vocabulary from text: the most frequent pair of neighbouring tokens becomes a token, again and
 * again. Source: Sennrich, Haddow and Birch, arXiv:1508.07909; ids and order of merges are those of Hugging Face's
 * tokenizers: special tokens first, then the 256 bytes, then one token for each merge, equal counts broken by the lower
 * pair of ids.
 *
 * <p>Deterministic: the result depends on the text and these settings alone.
 *
 * <pre>{@code
 * Tokenizer t = new BpeTrainer(5_000).specialTokens("<|endoftext|>").eos("<|endoftext|>").train(List.of(text));
 * Tokenizers.save(t, dir);
 * }</pre>
 */
public final class BpeTrainer {
    private static final int BYTES = 256;

    private final int vocabSize;
    private long minFrequency;
    private WordPattern pattern = WordPattern.GPT2;
    private final SequencedSet<String> special = new LinkedHashSet<>();
    private String bos;
    private String eos;
    private String pad;

    /** @param vocabSize ids in all, special tokens and the 256 bytes included; fewer if the text has no more pairs */
    public BpeTrainer(int vocabSize) {
        this.vocabSize = vocabSize;
    }

    /** Pairs that occur less often than this are not merged (default: all are). */
    public BpeTrainer minFrequency(long count) {
        if (count < 0) {
            throw new IllegalArgumentException("BpeTrainer: minFrequency " + count + " must not be negative");
        }
        minFrequency = count;
        return this;
    }

    /** How text is cut into words (default {@link WordPattern#GPT2}). */
    public BpeTrainer pattern(WordPattern words) {
        pattern = words;
        return this;
    }

    /** Control tokens; they get the first ids, in order. */
    public BpeTrainer specialTokens(String... tokens) {
        for (String token : tokens) {
            if (token.isEmpty() || !special.add(token)) {
                throw new IllegalArgumentException(
                        "BpeTrainer: special token \"" + token + "\" is empty or named twice");
            }
        }
        return this;
    }

    /** The special token that begins a text. */
    public BpeTrainer bos(String token) {
        bos = token;
        return this;
    }

    /** The special token that ends a text. */
    public BpeTrainer eos(String token) {
        eos = token;
        return this;
    }

    /** The special token that pads. */
    public BpeTrainer pad(String token) {
        pad = token;
        return this;
    }

    /**
     * Learns from texts, each cut by itself.
     *
     * @throws IllegalArgumentException if the vocabulary is too small for the bytes and special tokens, or begin, end or
     *     padding is not one of the special tokens
     */
    public Tokenizer train(Iterable<String> texts) {
        int base = special.size() + BYTES;
        if (vocabSize < base) {
            throw new IllegalArgumentException("BpeTrainer: a vocabulary of " + vocabSize + " is too small: "
                    + special.size() + " special tokens and 256 bytes take " + base);
        }
        OptionalInt bosId = specialId(bos, "bos");
        OptionalInt eosId = specialId(eos, "eos");
        OptionalInt padId = specialId(pad, "pad");
        WordCounts words = new WordCounts(pattern);
        for (String text : texts) {
            words.add(text);
        }
        List<String> tokens = new ArrayList<>(special);
        int[] byteIds = alphabet(tokens);
        int[] merges = new PairMerger(words, byteIds, tokens, minFrequency).learn(vocabSize);

        List<AddedToken> added = new ArrayList<>();
        for (int id = 0; id < special.size(); id++) {
            added.add(AddedToken.control(id, tokens.get(id)));
        }
        TokenizerParts parts = TokenizerJson.assemble(
                "BpeTrainer", json(), Vocabulary.of(tokens.toArray(String[]::new), "BpeTrainer"), merges, added);
        return new PipelineTokenizer(parts.with(new TokenizerParts.Markers(bosId, eosId, padId, OptionalInt.empty())));
    }

    /** Appends the bytes' tokens in the order of their characters; the id of each byte. */
    private static int[] alphabet(List<String> tokens) {
        int[] ids = new int[BYTES];
        for (char c = 0; c < 2 * BYTES; c++) {
            int b = ByteAlphabet.byteOf(c);
            if (b >= 0) {
                ids[b] = tokens.size();
                tokens.add(String.valueOf(c));
            }
        }
        return ids;
    }

    private OptionalInt specialId(String token, String role) {
        if (token == null) {
            return OptionalInt.empty();
        }
        int id = new ArrayList<>(special).indexOf(token);
        if (id < 0) {
            throw new IllegalArgumentException(
                    "BpeTrainer: " + role + " \"" + token + "\" is not one of the special tokens " + special);
        }
        return OptionalInt.of(id);
    }

    private Map<String, Object> json() {
        return ByteLevelJson.of(null, pattern == WordPattern.GPT2 ? List.of() : List.of(pattern.regex()), false);
    }
}
