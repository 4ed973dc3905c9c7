package anneal.text;

/** The character classes that pre-tokenisation patterns speak of, by table. */
final class CharClass {
    /** {@code \p{L}}. */
    static final int LETTER = 1;
    /** {@code \p{N}}. */
    static final int NUMBER = 2;
    /** {@code \s} except line ends. */
    static final int SPACE = 4;
    /** {@code [\r\n]}. */
    static final int NEWLINE = 8;
    /** Everything else. */
    static final int OTHER = 16;

    static final int WHITESPACE = SPACE | NEWLINE;

    /** 0 marks a surrogate: its class is that of the code point. */
    private static final byte[] TABLE = new byte[1 << 16];

    static {
        for (int c = 0; c < TABLE.length; c++) {
            TABLE[c] = (byte) (Character.isSurrogate((char) c) ? 0 : classify(c));
        }
    }

    private CharClass() {}

    /** The class of the code point at {@code i}. */
    static int at(char[] chars, int i, int limit) {
        int k = TABLE[chars[i]];
        return k != 0 ? k : classify(Character.codePointAt(chars, i, limit));
    }

    /** The end of the longest run from {@code i} of code points whose class is in {@code mask}. */
    static int run(char[] chars, int i, int limit, int mask) {
        return run(chars, i, limit, mask, Integer.MAX_VALUE);
    }

    /** The same, of at most {@code most} code points. */
    static int run(char[] chars, int i, int limit, int mask, int most) {
        for (int n = 0; i < limit && n < most; n++) {
            int k = TABLE[chars[i]];
            if (k != 0) {
                if ((k & mask) == 0) {
                    return i;
                }
                i++;
            } else {
                int codePoint = Character.codePointAt(chars, i, limit);
                if ((classify(codePoint) & mask) == 0) {
                    return i;
                }
                i += Character.charCount(codePoint);
            }
        }
        return i;
    }

    /** Unicode's White_Space property: what {@code \s} means in tokenizer patterns (no-break spaces included). */
    static boolean isWhitespace(int codePoint) {
        return (classify(codePoint) & WHITESPACE) != 0;
    }

    /** {@code \w}: letters, marks, digits and connectors. */
    static boolean isWord(int codePoint) {
        int type = Character.getType(codePoint);
        return Character.isAlphabetic(codePoint)
                || type == Character.DECIMAL_DIGIT_NUMBER
                || type == Character.CONNECTOR_PUNCTUATION
                || type == Character.NON_SPACING_MARK
                || type == Character.COMBINING_SPACING_MARK
                || type == Character.ENCLOSING_MARK
                || codePoint == 0x200C
                || codePoint == 0x200D;
    }

    private static int classify(int codePoint) {
        if (codePoint == '\r' || codePoint == '\n') {
            return NEWLINE;
        }
        if (codePoint >= '\t' && codePoint <= '\f' || codePoint == ' ' || codePoint == 0x85) {
            return SPACE;
        }
        return switch (Character.getType(codePoint)) {
            case Character.UPPERCASE_LETTER,
                    Character.LOWERCASE_LETTER,
                    Character.TITLECASE_LETTER,
                    Character.MODIFIER_LETTER,
                    Character.OTHER_LETTER -> LETTER;
            case Character.DECIMAL_DIGIT_NUMBER, Character.LETTER_NUMBER, Character.OTHER_NUMBER -> NUMBER;
            case Character.SPACE_SEPARATOR, Character.LINE_SEPARATOR, Character.PARAGRAPH_SEPARATOR -> SPACE;
            default -> OTHER;
        };
    }
}
