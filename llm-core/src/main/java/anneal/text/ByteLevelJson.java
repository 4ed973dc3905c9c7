package anneal.text;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.List;

/** The tokenizer.json of a byte-level BPE, without vocabulary, merges and added tokens. */
final class ByteLevelJson {
    private ByteLevelJson() {}

    /**
     * @param normalizer type of the normaliser, or null
     * @param cuts patterns that cut words, one inside the other; none: GPT-2's
     * @param wholeWords words that are tokens stay whole
     */
    static ObjectNode of(String normalizer, List<String> cuts, boolean wholeWords) {
        ObjectNode json = shell(normalizer, wholeWords);
        ObjectNode byteLevel = byteLevel(false, cuts.isEmpty());
        if (cuts.isEmpty()) {
            json.set("pre_tokenizer", byteLevel);
        } else {
            ArrayNode steps = sequence(json);
            for (String regex : cuts) {
                ObjectNode step = steps.addObject().put("type", "Split");
                step.putObject("pattern").put("Regex", regex);
                step.put("behavior", "Isolated").put("invert", false);
            }
            steps.add(byteLevel);
        }
        return json;
    }

    /** Each digit apart, then GPT-2's words. */
    static ObjectNode digitsApart() {
        ObjectNode json = shell(null, false);
        ArrayNode steps = sequence(json);
        steps.addObject().put("type", "Digits").put("individual_digits", true);
        steps.add(byteLevel(false, true));
        return json;
    }

    private static ArrayNode sequence(ObjectNode json) {
        return json.putObject("pre_tokenizer").put("type", "Sequence").putArray("pretokenizers");
    }

    private static ObjectNode shell(String normalizer, boolean wholeWords) {
        ObjectNode json = TokenizerJson.MAPPER.createObjectNode();
        if (normalizer == null) {
            json.putNull("normalizer");
        } else {
            json.putObject("normalizer").put("type", normalizer);
        }
        json.putNull("post_processor");
        json.set("decoder", byteLevel(true, true));
        json.putObject("model")
                .put("type", "BPE")
                .putNull("dropout")
                .putNull("unk_token")
                .putNull("continuing_subword_prefix")
                .putNull("end_of_word_suffix")
                .put("fuse_unk", false)
                .put("byte_fallback", false)
                .put("ignore_merges", wholeWords);
        return json;
    }

    private static ObjectNode byteLevel(boolean prefix, boolean regex) {
        return TokenizerJson.MAPPER
                .createObjectNode()
                .put("type", "ByteLevel")
                .put("add_prefix_space", prefix)
                .put("trim_offsets", true)
                .put("use_regex", regex);
    }
}
