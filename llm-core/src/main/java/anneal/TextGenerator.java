package anneal;

import anneal.generate.Generation;
import anneal.generate.Generator;
import anneal.generate.Sampling;
import anneal.generate.StopStrings;
import anneal.text.StreamDecoder;
import anneal.text.Tokenizer;
import java.util.List;
import java.util.function.Consumer;

/** Text in, text out: a {@link Generator} between an encoder and a decoder that never gives out half a character. */
public final class TextGenerator {
    private final Generator generator;
    private final Tokenizer tokenizer;
    private final List<String> stops;

    /** A generator of text that also ends at any of these strings, which are not part of the text. */
    public TextGenerator(Generator generator, Tokenizer tokenizer, List<String> stops) {
        this.generator = generator;
        this.tokenizer = tokenizer;
        this.stops = List.copyOf(stops);
    }

    /**
     * What was written.
     *
     * @param text without special tokens and without the stop string
     * @param generation the tokens it was decoded from, those of a stop string included
     */
    public record Text(String text, Generation generation) {}

    /** Writes on from a text, encoded as a document (with a begin token if the tokenizer has one). */
    public Text generate(String prompt, Sampling sampling) {
        return stream(tokenizer.encode(prompt, Tokenizer.Options.DOCUMENT).ids(), sampling, piece -> {});
    }

    /** Writes on from tokens, for example of a chat, and gives each piece of text to a listener as it comes. */
    public Text stream(int[] prompt, Sampling sampling, Consumer<String> listener) {
        StreamDecoder decoder = tokenizer.stream(true);
        StopStrings stop = new StopStrings(stops);
        StringBuilder all = new StringBuilder();
        Generation generation = generator.stream(prompt, sampling, token -> {
            give(stop.feed(decoder.next(token)), all, listener);
            return !stop.stopped();
        });
        if (!stop.stopped()) {
            give(stop.feed(decoder.finish()), all, listener);
            give(stop.finish(), all, listener);
        }
        return new Text(all.toString(), generation);
    }

    private static void give(String piece, StringBuilder all, Consumer<String> listener) {
        if (!piece.isEmpty()) {
            all.append(piece);
            listener.accept(piece);
        }
    }
}
