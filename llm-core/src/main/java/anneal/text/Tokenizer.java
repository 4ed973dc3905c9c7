package anneal.text;

import java.util.OptionalInt;

/**
 * Text to token ids and back.
 *
 * <p>Special tokens (end of text, chat markers) that stand in the text are plain text unless the caller asks for them
 * to be read as tokens: what a user types must not be able to end a turn.
 */
public interface Tokenizer {
    /** How text is to be read. */
    record Options(boolean addSpecial, boolean parseSpecial) {
        /** Plain text: nothing added, nothing parsed. */
        public static final Options PLAIN = new Options(false, false);
        /** A rendered chat template: its markers are tokens; the template itself writes begin and end. */
        public static final Options TEMPLATE = new Options(false, true);
        /** What the tokenizer's own post-processor adds (begin, end) is added; markers are not parsed. */
        public static final Options DOCUMENT = new Options(true, false);
    }

    /** The ids of {@code text} with, for each, the span of text it stands for. */
    Encoding encode(String text, Options options);

    /** The ids of plain text: nothing added, no special token parsed. */
    default int[] encode(String text) {
        return encode(text, Options.PLAIN).ids();
    }

    /** The text of {@code ids}; special tokens are left out if {@code skipSpecial}. */
    String decode(int[] ids, boolean skipSpecial);

    /** The text of {@code ids}, special tokens left out. */
    default String decode(int[] ids) {
        return decode(ids, true);
    }

    /** A decoder that is fed id by id and never gives out half a character. */
    StreamDecoder stream(boolean skipSpecial);

    /** Number of ids, added tokens included: all ids are in 0 .. vocabSize - 1. */
    int vocabSize();

    /** The token's own spelling in the vocabulary file. */
    String token(int id);

    /** The id of a token by its spelling in the vocabulary file. */
    OptionalInt id(String token);

    /** True for control tokens: skipped by decoding, not parsed from plain text. */
    boolean isSpecial(int id);

    /** Begin of sequence, if the vocabulary declares one. */
    OptionalInt bos();

    /** End of sequence, if the vocabulary declares one. */
    OptionalInt eos();

    /** Padding, if the vocabulary declares one (it may be the same id as {@link #eos()}). */
    OptionalInt pad();
}
