package anneal.text;

import java.util.List;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Rewrites text before it is cut into words, keeping every unit's span of the original.
 *
 * <p>Spans follow Hugging Face tokenizers: a character that replaces another takes its span, one that is inserted takes
 * the span of the character before it, and where several become one the span is that of the first.
 */
sealed interface Normalizer {
    /** The rewritten text; the argument itself if nothing changes. */
    AlignedText apply(AlignedText text);

    /** How {@code token}, an added token that is looked for in normalised text, is spelled there. */
    default String spelling(String token) {
        return apply(AlignedText.of(token)).toString();
    }

    /** One after the other. */
    record Sequence(List<Normalizer> steps) implements Normalizer {
        @Override
        public AlignedText apply(AlignedText text) {
            AlignedText t = text;
            for (Normalizer step : steps) {
                t = step.apply(t);
            }
            return t;
        }
    }

    /** NFC, NFD, NFKC or NFKD. */
    record UnicodeForm(java.text.Normalizer.Form form) implements Normalizer {
        @Override
        public AlignedText apply(AlignedText text) {
            return UnicodeForms.apply(text, form);
        }
    }

    /** SentencePiece's own normalisation, character map and blanks together. */
    record SentencePiece(SentencePieceNormalizer rules) implements Normalizer {
        @Override
        public AlignedText apply(AlignedText text) {
            return rules.apply(text);
        }

        /** Pieces of a SentencePiece vocabulary are spelled in normalised text already. */
        @Override
        public String spelling(String token) {
            return token;
        }
    }

    /** Puts {@code prefix} before text that is not empty. */
    record Prepend(String prefix) implements Normalizer {
        @Override
        public AlignedText apply(AlignedText text) {
            return text.isEmpty() || prefix.isEmpty() ? text : prepend(text, text.from, text.to, prefix);
        }

        /** The prefix takes the span of the first character. */
        static AlignedText prepend(AlignedText text, int from, int to, String prefix) {
            AlignedText.Builder out = new AlignedText.Builder(to - from + prefix.length());
            int last = from + Character.charCount(Character.codePointAt(text.chars, from, to)) - 1;
            out.add(prefix, text.start(from), text.end(last));
            out.copy(text, from, to);
            return out.build();
        }
    }

    /** Every match of {@code pattern} becomes {@code content}. */
    record Replace(Pattern pattern, String content) implements Normalizer {
        @Override
        public AlignedText apply(AlignedText text) {
            Matcher m = pattern.matcher(java.nio.CharBuffer.wrap(text.chars, text.from, text.to - text.from));
            AlignedText.Builder out = null;
            int done = text.from;
            while (m.find()) {
                int from = text.from + m.start();
                int to = text.from + m.end();
                if (from == to) {
                    continue;
                }
                if (out == null) {
                    out = new AlignedText.Builder(text.to - text.from);
                }
                out.copy(text, done, from);
                int last = Character.codePointBefore(text.chars, to, from);
                out.add(content, text.start(to - Character.charCount(last)), text.end(to - 1));
                done = to;
            }
            if (out == null) {
                return text;
            }
            out.copy(text, done, text.to);
            return out.build();
        }
    }

    /** Blanks at the ends are dropped. */
    record Strip(boolean left, boolean right) implements Normalizer {
        @Override
        public AlignedText apply(AlignedText text) {
            int from = text.from;
            int to = text.to;
            while (left && from < to && CharClass.isWhitespace(text.chars[from])) {
                from++;
            }
            while (right && to > from && CharClass.isWhitespace(text.chars[to - 1])) {
                to--;
            }
            return text.part(from, to);
        }
    }

    /** Combining marks are dropped (after NFD: accents). */
    record StripAccents() implements Normalizer {
        @Override
        public AlignedText apply(AlignedText text) {
            AlignedText.Builder out = new AlignedText.Builder(text.to - text.from);
            for (int i = text.from; i < text.to; ) {
                int c = text.codePointAt(i);
                int next = i + Character.charCount(c);
                if (!isMark(c)) {
                    out.copy(text, i, next);
                }
                i = next;
            }
            return out.size() == text.to - text.from ? text : out.build();
        }

        private static boolean isMark(int c) {
            int type = Character.getType(c);
            return type == Character.NON_SPACING_MARK
                    || type == Character.COMBINING_SPACING_MARK
                    || type == Character.ENCLOSING_MARK;
        }
    }

    /** Each character by itself in lower case (no rule looks at its neighbours). */
    record Lowercase() implements Normalizer {
        @Override
        public AlignedText apply(AlignedText text) {
            AlignedText.Builder out = new AlignedText.Builder(text.to - text.from);
            for (int i = text.from; i < text.to; ) {
                int c = text.codePointAt(i);
                int next = i + Character.charCount(c);
                int start = text.start(i);
                int end = text.end(next - 1);
                if (c < 0x80) {
                    out.add(c >= 'A' && c <= 'Z' ? (char) (c + 32) : (char) c, start, end);
                } else {
                    out.add(Character.toString(c).toLowerCase(Locale.ROOT), start, end);
                }
                i = next;
            }
            return out.build();
        }
    }
}
