package anneal;

import anneal.model.DecoderConfig;
import anneal.model.Family;
import anneal.text.BpeTrainer;
import anneal.text.ChatTemplate;
import anneal.text.Tokenizer;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/** A random model of two layers with a learnt tokenizer and a chat template, for tests of what stands on whole models. */
public final class TinyModel {
    /** Rows of its embedding. */
    public static final int VOCABULARY = 300;

    /** Positions it has. */
    public static final int CONTEXT = 96;

    private TinyModel() {}

    /** The tokenizer: at most {@link #VOCABULARY} tokens. */
    public static Tokenizer tokenizer() {
        return new BpeTrainer(VOCABULARY)
                .specialTokens("<|endoftext|>", "<|im_start|>", "<|im_end|>")
                .eos("<|im_end|>")
                .train(List.of(
                        "user\nWhat colour is the sky?\nassistant\nThe sky is blue.",
                        "user\nWhat colour is the grass?\nassistant\nThe grass is green.",
                        "user\nWhat is the sum of three and four?\nassistant\nThe sum is seven."));
    }

    /** The model, in memory. */
    public static Pretrained create(long seed) {
        DecoderConfig config = DecoderConfig.builder(Family.LLAMA)
                .vocabSize(VOCABULARY)
                .hiddenSize(32)
                .feedForwardSize(64)
                .layers(2)
                .heads(4, 2, 8)
                .contextLength(CONTEXT)
                .initRange(0.2)
                .build();
        return Pretrained.create(config, tokenizer(), seed).chatTemplate(ChatTemplate.chatml());
    }

    /** Writes the model as a folder. */
    public static Path write(Path folder) {
        try (Pretrained lm = create(7)) {
            lm.save(folder);
        }
        return folder;
    }

    /** Writes {@code count} short conversations, one a line. */
    public static Path conversations(Path file, int count) {
        String[] things = {"sky", "grass", "sea", "sun", "snow", "rose"};
        String[] colours = {"blue", "green", "grey", "gold", "white", "red"};
        StringBuilder lines = new StringBuilder();
        for (int i = 0; i < count; i++) {
            int k = i % things.length;
            lines.append("{\"messages\":[{\"role\":\"user\",\"content\":\"What colour is the ")
                    .append(things[k])
                    .append("?\"},{\"role\":\"assistant\",\"content\":\"")
                    .append("It is ".repeat(1 + i % 2))
                    .append(colours[k])
                    .append(".\"}]}\n");
        }
        try {
            return Files.writeString(file, lines);
        } catch (IOException e) {
            throw new UncheckedIOException(file.toString(), e);
        }
    }
}
