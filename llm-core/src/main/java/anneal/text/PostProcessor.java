package anneal.text;

/**
 * What is done to the ids after merging: tokens put before and after, spans trimmed of blanks.
 *
 * @param before ids put in front when special tokens are asked for
 * @param after ids put behind
 * @param trim how spans are trimmed
 */
record PostProcessor(int[] before, int[] after, Trim trim) {
    /** Nothing is done. */
    static final PostProcessor NONE = new PostProcessor(new int[0], new int[0], Trim.NONE);

    /** How spans are trimmed of the blanks that their tokens hold. */
    enum Trim {
        NONE,
        /** All blanks. */
        BLANKS,
        /** All but the one blank that the pre-tokenizer may have put in front of the text. */
        BLANKS_BUT_PREFIX
    }

    Encoding apply(TokenBuffer tokens, Vocabulary vocabulary, boolean addSpecial) {
        if (trim != Trim.NONE) {
            trim(tokens, vocabulary);
        }
        if (!addSpecial || before.length + after.length == 0) {
            return tokens.build();
        }
        TokenBuffer out = new TokenBuffer(before.length + tokens.size + after.length);
        for (int id : before) {
            out.add(id, 0, 0);
        }
        for (int i = 0; i < tokens.size; i++) {
            out.add(tokens.ids[i], tokens.starts[i], tokens.ends[i]);
        }
        for (int id : after) {
            out.add(id, 0, 0);
        }
        return out.build();
    }

    private void trim(TokenBuffer tokens, Vocabulary vocabulary) {
        for (int i = 0; i < tokens.size; i++) {
            String token = vocabulary.token(tokens.ids[i]);
            int n = token.length();
            int leading = 0;
            while (leading < n && isBlank(token.charAt(leading))) {
                leading++;
            }
            int trailing = 0;
            while (trailing < n && isBlank(token.charAt(n - 1 - trailing))) {
                trailing++;
            }
            if (leading > 0 && trim == Trim.BLANKS_BUT_PREFIX && (i == 0 || tokens.starts[i] == 0)) {
                leading--;
            }
            tokens.starts[i] = Math.min(tokens.starts[i] + leading, tokens.ends[i]);
            // Of a token that is all blanks nothing is left, whatever its span (a blank put in front has another's).
            tokens.ends[i] = trailing == n ? tokens.starts[i] : Math.max(tokens.ends[i] - trailing, tokens.starts[i]);
        }
    }

    private static boolean isBlank(char c) {
        return c == ByteAlphabet.charOf(' ') || CharClass.isWhitespace(c);
    }
}
