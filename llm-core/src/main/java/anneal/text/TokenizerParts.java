package anneal.text;

import java.util.List;
import java.util.Map;
import java.util.OptionalInt;

/**
 * Everything a {@link PipelineTokenizer} is made of, and what is needed to write it back.
 *
 * @param json the tokenizer.json without vocabulary, merges and added tokens
 * @param vocabulary model tokens and added tokens
 * @param model symbols and merges
 * @param scores of SentencePiece pieces by id, or null: then only the order of the merges counts
 * @param merges the merges in rank order: left id at 2 i, right id at 2 i + 1
 * @param added added tokens
 * @param normalizer or null
 * @param preTokenizer or null
 * @param postProcessor what follows merging
 * @param decoder ids to text
 * @param markers begin, end, padding
 */
record TokenizerParts(
        Map<String, Object> json,
        Vocabulary vocabulary,
        BpeModel model,
        float[] scores,
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
                json,
                vocabulary,
                model,
                scores,
                merges,
                added,
                normalizer,
                preTokenizer,
                postProcessor,
                decoder,
                newMarkers);
    }

    /** With other added tokens; {@code where} names the file in errors. */
    TokenizerParts with(List<AddedToken> newAdded, String where) {
        return new TokenizerParts(
                json,
                vocabulary.with(newAdded, where),
                model,
                scores,
                merges,
                newAdded,
                normalizer,
                preTokenizer,
                postProcessor,
                decoder,
                markers);
    }

    /** With another post-processor; {@code newJson} says the same. */
    TokenizerParts with(PostProcessor newPostProcessor, Map<String, Object> newJson) {
        return new TokenizerParts(
                newJson,
                vocabulary,
                model,
                scores,
                merges,
                added,
                normalizer,
                preTokenizer,
                newPostProcessor,
                decoder,
                markers);
    }
}
