package anneal.text;

import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;

/**
 * A byte-pair-encoding model: the symbols that a word starts as, and the merges that are applied to them, lowest rank
 * first. Sources: Sennrich, Haddow and Birch, arXiv:1508.07909; byte-level: Radford et al., GPT-2 (2019); merges ranked
 * by piece scores: Kudo and Richardson, arXiv:1808.06226.
 *
 * <p>Immutable; {@link BpeEncoder} holds what changes while encoding.
 */
final class BpeModel {
    /**
     * How words become symbols.
     *
     * @param byteLevel symbols are bytes in {@link ByteAlphabet} spelling; else they are characters
     * @param byteFallback characters that the vocabulary lacks become their bytes' tokens, {@code <0x00> .. <0xFF>}
     * @param unknown id for characters that the vocabulary lacks, or -1: they are dropped
     * @param fuseUnknown neighbouring unknown characters become one token
     * @param wholeWords a word that is a token is that token, whatever the merges say
     */
    record Rules(boolean byteLevel, boolean byteFallback, int unknown, boolean fuseUnknown, boolean wholeWords) {}

    final Vocabulary vocabulary;
    final MergeTable merges;
    final Rules rules;
    /** Id of each byte's token (byte level: its alphabet token; else its fallback token), or -1. */
    final int[] byteIds = new int[256];

    /** True if no byte lacks a token. */
    final boolean hasAllBytes;

    /** True if text may be cut before each U+2581 that follows something else, because no merge reaches across. */
    final boolean cutsAtBlanks;

    private final int[] characters = new int[1 << 16];
    private final Map<Integer, Integer> astral = new HashMap<>();
    private final Map<String, Integer> words;

    /**
     * @param partial ids, at or above the vocabulary's size, of characters that are no token but begin one
     * @param words tokens that {@link Rules#wholeWords} may give
     */
    BpeModel(
            Vocabulary vocabulary,
            MergeTable merges,
            Rules rules,
            Map<String, Integer> partial,
            Map<String, Integer> words,
            boolean cutsAtBlanks) {
        this.vocabulary = vocabulary;
        this.merges = merges;
        this.rules = rules;
        this.words = words;
        Arrays.fill(characters, -1);
        for (int b = 0; b < 256; b++) {
            byteIds[b] = rules.byteLevel
                    ? vocabulary.id(String.valueOf(ByteAlphabet.charOf(b)))
                    : rules.byteFallback ? vocabulary.id(byteToken(b)) : -1;
        }
        hasAllBytes = Arrays.stream(byteIds).allMatch(id -> id >= 0);
        if (!rules.byteLevel) {
            for (int id = 0; id < vocabulary.size(); id++) {
                String t = vocabulary.token(id);
                if (t != null) {
                    character(t, id);
                }
            }
            partial.forEach(this::character);
        }
        this.cutsAtBlanks =
                cutsAtBlanks && !rules.byteLevel && !rules.wholeWords && characters[SentencePieceNormalizer.BLANK] >= 0;
    }

    /** The fallback token of a byte. */
    static String byteToken(int b) {
        return String.format("<0x%02X>", b);
    }

    /** The byte of a fallback token, or -1. */
    static int byteOf(String token) {
        if (token.length() != 6 || !token.startsWith("<0x") || token.charAt(5) != '>') {
            return -1;
        }
        int high = Character.digit(token.charAt(3), 16);
        int low = Character.digit(token.charAt(4), 16);
        return high < 0 || low < 0 ? -1 : high << 4 | low;
    }

    /** The id of a character's token, a partial id, or -1. */
    int character(int codePoint) {
        return codePoint < characters.length ? characters[codePoint] : astral.getOrDefault(codePoint, -1);
    }

    /** The id of the word if it is a token and whole words are tokens, or -1. */
    int wholeWord(char[] chars, int from, int to) {
        if (!rules.wholeWords) {
            return -1;
        }
        String word = new String(chars, from, to - from);
        return words.getOrDefault(rules.byteLevel ? ByteAlphabet.spell(word) : word, -1);
    }

    private void character(String token, int id) {
        if (token.isEmpty()) {
            return;
        }
        int c = token.codePointAt(0);
        if (Character.charCount(c) != token.length()) {
            return;
        }
        if (c < characters.length) {
            characters[c] = id;
        } else {
            astral.put(c, id);
        }
    }
}
