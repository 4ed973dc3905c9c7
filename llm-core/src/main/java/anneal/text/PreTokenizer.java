package anneal.text;

import java.nio.CharBuffer;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Cuts text into the words within which tokens are merged. */
sealed interface PreTokenizer {
    /** Where the words go. */
    interface Words {
        void word(AlignedText text, int from, int to);
    }

    /** Hands the words of {@code text.chars[from .. to)}, which is not empty, to {@code words}, in order. */
    void split(AlignedText text, int from, int to, Words words);

    /** What becomes of the matches of a pattern. */
    enum Behavior {
        /** A match is a word of its own. */
        ISOLATED,
        /** A match is dropped. */
        REMOVED,
        /** A match ends the word before it. */
        MERGED_WITH_PREVIOUS,
        /** A match begins the word after it. */
        MERGED_WITH_NEXT,
        /** Adjacent matches are one word. */
        CONTIGUOUS
    }

    /** One after the other, each inside the words of the one before. */
    record Sequence(List<PreTokenizer> steps) implements PreTokenizer {
        @Override
        public void split(AlignedText text, int from, int to, Words words) {
            Words next = words;
            for (int i = steps.size() - 1; i >= 0; i--) {
                PreTokenizer step = steps.get(i);
                Words after = next;
                next = (t, a, b) -> {
                    if (a < b) {
                        step.split(t, a, b, after);
                    }
                };
            }
            next.word(text, from, to);
        }
    }

    /** A known pattern, by its hand-written scanner. */
    record Scan(WordPattern pattern) implements PreTokenizer {
        @Override
        public void split(AlignedText text, int from, int to, Words words) {
            for (int i = from; i < to; ) {
                int end = pattern.next(text.chars, i, to);
                words.word(text, i, end);
                i = end;
            }
        }
    }

    /** Words of a byte-level vocabulary: may put a blank in front, may cut by GPT-2's pattern. */
    record ByteLevel(boolean addPrefixSpace, boolean useRegex) implements PreTokenizer {
        private static final Scan SCAN = new Scan(WordPattern.GPT2);

        @Override
        public void split(AlignedText text, int from, int to, Words words) {
            AlignedText t = text;
            int a = from;
            int b = to;
            if (addPrefixSpace && text.chars[from] != ' ') {
                t = Normalizer.Prepend.prepend(text, from, to, " ");
                a = t.from;
                b = t.to;
            }
            if (useRegex) {
                SCAN.split(t, a, b, words);
            } else {
                words.word(t, a, b);
            }
        }
    }

    /** Numbers apart from everything else, digit by digit or in runs. */
    record Digits(boolean individual) implements PreTokenizer {
        @Override
        public void split(AlignedText text, int from, int to, Words words) {
            int everythingElse = CharClass.LETTER | CharClass.SPACE | CharClass.NEWLINE | CharClass.OTHER;
            for (int i = from; i < to; ) {
                int end = CharClass.run(text.chars, i, to, everythingElse);
                if (end == i) {
                    end = CharClass.run(text.chars, i, to, CharClass.NUMBER, individual ? 1 : Integer.MAX_VALUE);
                }
                words.word(text, i, end);
                i = end;
            }
        }
    }

    /** SentencePiece's blanks as a pre-tokenizer: U+2581 for each space, one in front, cut before each. */
    record Metaspace(char replacement, Scheme scheme, boolean split) implements PreTokenizer {
        /** Where a blank is put in front. */
        enum Scheme {
            ALWAYS,
            FIRST,
            NEVER
        }

        @Override
        public void split(AlignedText text, int from, int to, Words words) {
            AlignedText.Builder out = new AlignedText.Builder(to - from + 1);
            boolean wanted = scheme == Scheme.ALWAYS || scheme == Scheme.FIRST && text.start(from) == 0;
            if (wanted && text.chars[from] != ' ' && text.chars[from] != replacement) {
                int last = from + Character.charCount(Character.codePointAt(text.chars, from, to)) - 1;
                out.add(replacement, text.start(from), text.end(last));
            }
            for (int i = from; i < to; i++) {
                char c = text.chars[i];
                out.add(c == ' ' ? replacement : c, text.start(i), text.end(i));
            }
            AlignedText t = out.build();
            int start = t.from;
            for (int i = t.from + 1; split && i < t.to; i++) {
                if (t.chars[i] == replacement) {
                    words.word(t, start, i);
                    start = i;
                }
            }
            words.word(t, start, t.to);
        }
    }

    /** Any other pattern, by a regex engine. */
    record Regex(Pattern pattern, Behavior behavior, boolean invert) implements PreTokenizer {
        @Override
        public void split(AlignedText text, int from, int to, Words words) {
            Pieces pieces = new Pieces(text, from, behavior, words);
            Matcher m = pattern.matcher(CharBuffer.wrap(text.chars, from, to - from));
            int done = from;
            while (m.find()) {
                if (m.start() == m.end()) {
                    continue;
                }
                if (from + m.start() > done) {
                    pieces.add(from + m.start(), invert);
                }
                done = from + m.end();
                pieces.add(done, !invert);
            }
            if (done < to) {
                pieces.add(to, invert);
            }
            pieces.end();
        }
    }

    /** Joins matches and gaps to words as a {@link Behavior} says. */
    final class Pieces {
        private final AlignedText text;
        private final Behavior behavior;
        private final Words words;
        private int start;
        private int end;
        private boolean matched;

        private Pieces(AlignedText text, int from, Behavior behavior, Words words) {
            this.text = text;
            this.behavior = behavior;
            this.words = words;
            start = from;
            end = from;
        }

        /** The next piece reaches from where the last one ended to {@code to}. */
        private void add(int to, boolean match) {
            boolean joins = end > start
                    && switch (behavior) {
                        case ISOLATED, REMOVED -> false;
                        case CONTIGUOUS -> match == matched;
                        case MERGED_WITH_PREVIOUS -> match && !matched;
                        case MERGED_WITH_NEXT -> matched && !match;
                    };
            if (!joins) {
                end();
            }
            end = to;
            matched = match;
        }

        private void end() {
            if (end > start && !(matched && behavior == Behavior.REMOVED)) {
                words.word(text, start, end);
            }
            start = end;
        }
    }
}
