package anneal.text;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/** A vocabulary of our own training, saved and opened again. */
class TrainedTokenizerContractTest extends TokenizerContract {
    private static final Tokenizer TOKENIZER = trained();

    private static Tokenizer trained() {
        try {
            Path dir = Files.createTempDirectory("tokenizer");
            Tokenizers.save(
                    new BpeTrainer(400)
                            .pattern(WordPattern.QWEN2)
                            .specialTokens("<|endoftext|>", "<|pad|>")
                            .eos("<|endoftext|>")
                            .pad("<|pad|>")
                            .train(List.of(
                                    "a stitch in time saves nine; 你好, 世界! " + "the more the merrier ".repeat(9))),
                    dir);
            return Tokenizers.load(dir);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    @Override
    Tokenizer tokenizer() {
        return TOKENIZER;
    }
}
