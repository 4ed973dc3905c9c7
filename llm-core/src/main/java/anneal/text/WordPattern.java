package anneal.text;

import java.util.Optional;
import java.util.Set;

/**
 * How text is cut into words before byte-pair merging: the patterns of the published byte-level tokenizers.
 *
 * <p>Each is a regular expression in the tokenizer's file; here it is a hand-written scanner that gives the same cuts
 * (contiguous: where one word ends the next begins) without a regex engine. {@code \s}, {@code \p{L}} and {@code \p{N}}
 * are Unicode's.
 */
public enum WordPattern {
    /** GPT-2: contractions, then runs of letters, of numbers, of anything else, each with one leading space. */
    GPT2("'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+") {
        @Override
        int next(char[] c, int i, int limit) {
            char first = c[i];
            if (first == '\'') {
                int end = contraction(c, i, limit, false);
                if (end > i) {
                    return end;
                }
            }
            int body = first == ' ' && i + 1 < limit ? i + 1 : i;
            int k = CharClass.at(c, body, limit);
            return (k & CharClass.WHITESPACE) == 0
                    ? CharClass.run(c, body, limit, k)
                    : blank(c, i, CharClass.run(c, i, limit, CharClass.WHITESPACE), limit);
        }
    },

    /** LLaMA 3 and cl100k: contractions in any case, numbers in groups of up to three. */
    LLAMA3(
            "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}"
                    + "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
            "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}{1,3}"
                    + "| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+",
            "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}"
                    + "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+") {
        @Override
        int next(char[] c, int i, int limit) {
            return cl100k(c, i, limit, 3);
        }
    },

    /** Qwen 2 and 3: as {@link #LLAMA3}, but every digit is a word of its own. */
    QWEN2("(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}"
            + "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+") {
        @Override
        int next(char[] c, int i, int limit) {
            return cl100k(c, i, limit, 1);
        }
    };

    private final Set<String> spellings;
    private final String regex;

    WordPattern(String... spellings) {
        this.spellings = Set.of(spellings);
        this.regex = spellings[0];
    }

    /** The pattern as tokenizer files spell it. */
    public String regex() {
        return regex;
    }

    /** The pattern that {@code regex} spells, if it is one of the known ones. */
    static Optional<WordPattern> of(String regex) {
        for (WordPattern p : values()) {
            if (p.spellings.contains(regex)) {
                return Optional.of(p);
            }
        }
        return Optional.empty();
    }

    /** The end of the word that starts at {@code i}, which is below {@code limit}, where the text ends. */
    abstract int next(char[] c, int i, int limit);

    private static int cl100k(char[] c, int i, int limit, int maxDigits) {
        char first = c[i];
        if (first == '\'') {
            int end = contraction(c, i, limit, true);
            if (end > i) {
                return end;
            }
        }
        int k = CharClass.at(c, i, limit);
        if (k == CharClass.LETTER) {
            return CharClass.run(c, i, limit, CharClass.LETTER);
        }
        if (k == CharClass.NUMBER) {
            return CharClass.run(c, i, limit, CharClass.NUMBER, maxDigits);
        }
        if (k != CharClass.NEWLINE) { // one character that is no line end may stand before the letters
            int body = i + Character.charCount(Character.codePointAt(c, i, limit));
            if (body < limit && CharClass.at(c, body, limit) == CharClass.LETTER) {
                return CharClass.run(c, body, limit, CharClass.LETTER);
            }
        }
        int body = first == ' ' && i + 1 < limit ? i + 1 : i;
        if (CharClass.at(c, body, limit) == CharClass.OTHER) {
            int end = CharClass.run(c, body, limit, CharClass.OTHER);
            return CharClass.run(c, end, limit, CharClass.NEWLINE);
        }
        int end = CharClass.run(c, i, limit, CharClass.WHITESPACE);
        for (int j = end; j > i; j--) { // \s*[\r\n]+ reaches to the last line end of the run
            if (c[j - 1] == '\n' || c[j - 1] == '\r') {
                return j;
            }
        }
        return blank(c, i, end, limit);
    }

    /** {@code \s+(?!\S)|\s+}: the last blank of a run is left to the word that follows it. */
    private static int blank(char[] c, int i, int end, int limit) {
        return end == limit || end - i == 1 ? end : end - 1;
    }

    /** The end of 's 't 'm 'd 're 've 'll at {@code i}, or {@code i}. */
    private static int contraction(char[] c, int i, int limit, boolean anyCase) {
        if (i + 1 >= limit) {
            return i;
        }
        char a = fold(c[i + 1], anyCase);
        if (a == 's' || a == 't' || a == 'm' || a == 'd') {
            return i + 2;
        }
        if (i + 2 < limit) {
            char b = fold(c[i + 2], anyCase);
            if (b == 'e' && (a == 'r' || a == 'v') || a == 'l' && b == 'l') {
                return i + 3;
            }
        }
        return i;
    }

    private static char fold(char c, boolean anyCase) {
        if (!anyCase) {
            return c;
        }
        // The long s is an s to a case-insensitive pattern.
        return c == '\u017F' ? 's' : c >= 'A' && c <= 'Z' ? (char) (c + 32) : c;
    }
}
