package anneal.text;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.List;
import java.util.OptionalInt;

/**
 * Everything a {@link PipelineTokenizer} is made of, and what is needed to write it back.
 *
 * @param json the tokenizer.json without vocabulary, merges and added tokens
 * @param vocabulary model tokens and added tokens
 * @param model symbols and merges
 * @param merges the merges in rank order: left id at 2 i, right id at 2 i + 1
 * @param added added tokens
 * @param normalizer or null
 * @param preTokenizer or null
 * @param postProcessor what follows merging
 * @param decoder ids to text
 * @param markers begin, end, padding
 */
record TokenizerParts(
        ObjectNode json,
        Vocabulary vocabulary,
        BpeModel model,
        int[] merges,
        List<AddedToken> added,
        Normalizer normalizer,
        PreTokenizer preTokenizer,
        PostProcessor postProcessor,
        TokenDecoder.Rules decoder,
        Markers markers) {

    /** The ids that begin, end and pad sequences, where there are such; and the unknown token. */
    record Markers(OptionalInt bos, OptionalInt eos, OptionalInt pad, OptionalInt unknown) {
        static final Markers NONE =
                new Markers(OptionalInt.empty(), OptionalInt.empty(), OptionalInt.empty(), OptionalInt.empty());
    }

    TokenizerParts with(Markers newMarkers) {
        return new TokenizerParts(
                json, vocabulary, model, merges, added, normalizer, preTokenizer, postProcessor, decoder, newMarkers);
    }
}
