package anneal.examples;

import anneal.NextToken;
import anneal.Pretrained;
import anneal.data.Batches;
import anneal.data.Jsonl;
import anneal.model.DecoderConfig;
import anneal.model.Family;
import anneal.text.BpeTrainer;
import anneal.text.Tokenizer;
import anneal.train.AdamW;
import anneal.train.Schedule;
import anneal.train.TrainConfig;
import anneal.train.Trainer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/** Learns a tokenizer and a small GPT-2 from a text file: {@code TrainFromScratch TEXT STEPS OUTPUT}. */
public final class TrainFromScratch {
    private TrainFromScratch() {}

    /** Writes the model as a folder that transformers opens. */
    public static void main(String[] args) throws IOException {
        train(Path.of(args[0]), Integer.parseInt(args[1]), Path.of(args[2]));
    }

    static void train(Path text, int steps, Path output) throws IOException {
        Tokenizer tokenizer = new BpeTrainer(512)
                .specialTokens("<|endoftext|>")
                .eos("<|endoftext|>")
                .train(List.of(Files.readString(text)));
        DecoderConfig config = DecoderConfig.builder(Family.GPT2)
                .vocabSize(tokenizer.vocabSize())
                .hiddenSize(64)
                .feedForwardSize(256)
                .layers(2)
                .heads(4)
                .contextLength(64)
                .build();
        try (Pretrained lm = Pretrained.create(config, tokenizer, 0)) {
            Batches data =
                    Jsonl.read(text).encode(tokenizer).wrap(64).batches(8).shuffled(0);
            TrainConfig run = TrainConfig.builder()
                    .steps(steps)
                    .schedule(new Schedule.Cosine(3e-3, steps / 10))
                    .build();
            try (Trainer trainer = new Trainer(lm.model().parameters(), new AdamW(), run)) {
                trainer.onStep(System.out::println);
                trainer.fit(data, new NextToken(lm.model()));
            }
            lm.save(output);
        }
    }
}
