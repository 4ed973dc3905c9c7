package anneal.text;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** The tokenizer.json of a byte-level BPE, without vocabulary, merges and added tokens. */
final class ByteLevelJson {
    private ByteLevelJson() {}

    /**
     * @param normalizer type of the normaliser, or null
     * @param cuts patterns that cut words, one inside the other; none: GPT-2's
     * @param wholeWords words that are tokens stay whole
     */
    static Map<String, Object> of(String normalizer, List<String> cuts, boolean wholeWords) {
        List<Object> steps = new ArrayList<>();
        for (String regex : cuts) {
            Map<String, Object> pattern = JsonFields.object("Regex", regex);
            steps.add(JsonFields.object("type", "Split", "pattern", pattern, "behavior", "Isolated", "invert", false));
        }
        Map<String, Object> byteLevel = byteLevel(false, cuts.isEmpty());
        steps.add(byteLevel);
        return shell(normalizer, cuts.isEmpty() ? byteLevel : sequence(steps), wholeWords);
    }

    /** Each digit apart, then GPT-2's words. */
    static Map<String, Object> digitsApart() {
        Map<String, Object> digits = JsonFields.object("type", "Digits", "individual_digits", true);
        return shell(null, sequence(List.of(digits, byteLevel(false, true))), false);
    }

    private static Map<String, Object> sequence(List<Object> steps) {
        return JsonFields.object("type", "Sequence", "pretokenizers", steps);
    }

    private static Map<String, Object> shell(String normalizer, Map<String, Object> preTokenizer, boolean wholeWords) {
        return JsonFields.object(
                "normalizer",
                normalizer == null ? null : JsonFields.object("type", normalizer),
                "pre_tokenizer",
                preTokenizer,
                "post_processor",
                null,
                "decoder",
                byteLevel(true, true),
                "model",
                model(null, false, false, wholeWords));
    }

    /** The model's settings. */
    static Map<String, Object> model(String unknown, boolean fuseUnknown, boolean byteFallback, boolean wholeWords) {
        return JsonFields.object(
                "type",
                "BPE",
                "dropout",
                null,
                "unk_token",
                unknown,
                "continuing_subword_prefix",
                null,
                "end_of_word_suffix",
                null,
                "fuse_unk",
                fuseUnknown,
                "byte_fallback",
                byteFallback,
                "ignore_merges",
                wholeWords);
    }

    private static Map<String, Object> byteLevel(boolean prefix, boolean regex) {
        return JsonFields.object(
                "type", "ByteLevel", "add_prefix_space", prefix, "trim_offsets", true, "use_regex", regex);
    }
}
