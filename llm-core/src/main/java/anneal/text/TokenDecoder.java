package anneal.text;

import java.nio.charset.StandardCharsets;
import java.util.List;

/**
 * Ids to text. Whole decoding is streaming decoding to the end, so the two agree.
 *
 * <p>Where bytes do not make characters, byte-level vocabularies give U+FFFD for the longest broken beginning, and
 * byte-fallback vocabularies give one for each broken byte and keep the whole characters around it, as SentencePiece
 * does. (Hugging Face's ByteFallback replaces every byte of a run that has a broken one, so that a character already
 * shown would have to be taken back.) Ids outside the vocabulary, such as a model's padding rows, decode to nothing.
 */
final class TokenDecoder {
    /**
     * What is done to token spellings.
     *
     * @param byteLevel spellings are {@link ByteAlphabet}'s
     * @param byteFallback {@code <0x00> .. <0xFF>} are bytes
     * @param edits string replacements within each token, in order
     * @param leading blanks to take from the start of the text
     * @param separator put between tokens
     */
    record Rules(boolean byteLevel, boolean byteFallback, List<Edit> edits, Leading leading, String separator) {
        static final Rules BYTE_LEVEL = new Rules(true, false, List.of(), Leading.NONE, "");
    }

    /** A rewriting of one token. */
    interface Edit {
        String apply(String token);
    }

    /** {@code most} characters {@code c} are dropped from the start of the text, or of each token that starts it. */
    record Leading(char c, int most, Where where) {
        static final Leading NONE = new Leading(' ', 0, Where.TEXT);

        /** Where the characters are dropped. */
        enum Where {
            /** From the start of the text, over as many tokens as it takes. */
            TEXT,
            /** From the start of each token as long as no text has come out. */
            EACH_WHILE_EMPTY,
            /** Everywhere in the first token. */
            FIRST_TOKEN
        }
    }

    private final Rules rules;
    private final AddedTokens added;
    /** The bytes of each token after the edits; null for a gap in the ids. */
    private final byte[][] bytes;

    private final boolean[] isByte;

    TokenDecoder(Rules rules, Vocabulary vocabulary, AddedTokens added) {
        this.rules = rules;
        this.added = added;
        int n = vocabulary.size();
        bytes = new byte[n][];
        isByte = new boolean[n];
        boolean[] literal = new boolean[n];
        for (AddedToken t : added.all()) {
            literal[t.id()] = true;
        }
        for (int id = 0; id < n; id++) {
            String token = vocabulary.token(id);
            if (token != null) {
                bytes[id] = spelling(token, literal[id], id);
            }
        }
    }

    private byte[] spelling(String token, boolean literal, int id) {
        if (!literal && rules.byteFallback) {
            int b = BpeModel.byteOf(token);
            if (b >= 0) {
                isByte[id] = true;
                return new byte[] {(byte) b};
            }
        }
        if (literal && rules.byteLevel) {
            return token.getBytes(StandardCharsets.UTF_8);
        }
        String t = token;
        for (Edit edit : rules.edits) {
            t = edit.apply(t);
        }
        byte[] spelled = rules.byteLevel ? ByteAlphabet.bytes(t) : null;
        return spelled != null ? spelled : t.getBytes(StandardCharsets.UTF_8);
    }

    String decode(int[] ids, boolean skipSpecial) {
        StringBuilder out = new StringBuilder(4 * ids.length);
        State state = new State(skipSpecial);
        for (int id : ids) {
            state.add(id, out);
        }
        state.end(out);
        return out.toString();
    }

    StreamDecoder stream(boolean skipSpecial) {
        State state = new State(skipSpecial);
        StringBuilder out = new StringBuilder();
        return new StreamDecoder() {
            @Override
            public String next(int id) {
                out.setLength(0);
                state.add(id, out);
                return out.toString();
            }

            @Override
            public String finish() {
                out.setLength(0);
                state.end(out);
                return out.toString();
            }
        };
    }

    private final class State {
        private final boolean skipSpecial;
        private final Utf8Assembler assembler = new Utf8Assembler(rules.byteFallback);
        private boolean first = true;
        private boolean empty = true;
        private int leading = rules.leading.most();

        State(boolean skipSpecial) {
            this.skipSpecial = skipSpecial;
        }

        void add(int id, StringBuilder out) {
            byte[] token = id >= 0 && id < bytes.length ? bytes[id] : null;
            if (token == null || skipSpecial && added.isSpecial(id)) {
                return;
            }
            int from = out.length();
            if (!rules.byteLevel && !isByte[id]) {
                assembler.flush(out);
            }
            boolean atStart = empty && out.length() == from;
            if (!first) {
                out.append(rules.separator);
            }
            for (byte b : token) {
                assembler.add(b, out);
            }
            trim(out, from, atStart);
            first = false;
        }

        private void trim(StringBuilder out, int from, boolean atStart) {
            char c = rules.leading.c();
            switch (rules.leading.where()) {
                case TEXT -> {
                    int n = 0;
                    while (leading > 0 && from + n < out.length() && out.charAt(from + n) == c) {
                        n++;
                        leading--;
                    }
                    out.delete(from, from + n);
                    if (out.length() > from) {
                        leading = 0;
                    }
                }
                case EACH_WHILE_EMPTY -> {
                    int n = 0;
                    while (atStart && n < leading && from + n < out.length() && out.charAt(from + n) == c) {
                        n++;
                    }
                    out.delete(from, from + n);
                }
                case FIRST_TOKEN -> {
                    for (int i = out.length() - 1; first && i >= from; i--) {
                        if (out.charAt(i) == c) {
                            out.deleteCharAt(i);
                        }
                    }
                }
            }
            empty &= out.length() == from;
        }

        void end(StringBuilder out) {
            assembler.flush(out);
            first = true;
            empty = true;
            leading = rules.leading.most();
        }
    }
}
