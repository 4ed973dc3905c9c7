package anneal.text;

/** GPT-2's words. */
class Gpt2StyleContractTest extends TokenizerContract {
    private static final Tokenizer TOKENIZER = golden("gpt2-style/tokenizer.json");

    @Override
    Tokenizer tokenizer() {
        return TOKENIZER;
    }
}
