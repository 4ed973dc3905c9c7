package anneal.text;

/** LLaMA 3's words; words that are tokens stay whole. */
class Llama3StyleContractTest extends TokenizerContract {
    private static final Tokenizer TOKENIZER = golden("llama3-style/tokenizer.json");

    @Override
    Tokenizer tokenizer() {
        return TOKENIZER;
    }
}
