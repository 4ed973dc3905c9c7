package anneal.text;

/** A SentencePiece model that drops blanks at the ends and doubled ones. */
class SentencePieceContractTest extends TokenizerContract {
    private static final Tokenizer TOKENIZER = golden("sentencepiece-bpe/tokenizer.model");

    @Override
    Tokenizer tokenizer() {
        return TOKENIZER;
    }

    /** The vocabulary's blank decodes to a space, wherever it came from. */
    @Override
    String prepared(String text) {
        return text.replace("\u2581", "");
    }

    @Override
    String normalised(String text) {
        return text.replaceAll("\\A +| +\\z", "").replaceAll(" +", " ");
    }

    @Override
    boolean coversText(String text) {
        return false;
    }
}
