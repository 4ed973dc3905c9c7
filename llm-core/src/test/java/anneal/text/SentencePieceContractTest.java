package anneal.text;

/** A SentencePiece model that drops blanks at the ends and doubled ones. */
class SentencePieceContractTest extends TokenizerContract {
    private static final Tokenizer TOKENIZER = golden("sentencepiece-bpe/tokenizer.model");

    @Override
    Tokenizer tokenizer() {
        return TOKENIZER;
    }

    /** The blank of the vocabulary is a blank in text, too. */
    @Override
    String normalised(String text) {
        return text.replaceAll("^ +| +$", "").replaceAll(" +", " ").replace('\u2581', ' ');
    }

    @Override
    boolean coversText(String text) {
        return false;
    }
}
