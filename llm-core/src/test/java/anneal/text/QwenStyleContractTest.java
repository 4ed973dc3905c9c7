package anneal.text;

import java.text.Normalizer;

/** Qwen's words, after NFC. */
class QwenStyleContractTest extends TokenizerContract {
    private static final Tokenizer TOKENIZER = golden("qwen-style/tokenizer.json");

    @Override
    Tokenizer tokenizer() {
        return TOKENIZER;
    }

    @Override
    String normalised(String text) {
        return Normalizer.normalize(text, Normalizer.Form.NFC);
    }

    /** A composed character has the span of its base. */
    @Override
    boolean coversText(String text) {
        return Normalizer.isNormalized(text, Normalizer.Form.NFC);
    }
}
