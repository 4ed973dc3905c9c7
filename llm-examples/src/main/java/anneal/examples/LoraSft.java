package anneal.examples;

import anneal.NextToken;
import anneal.Pretrained;
import anneal.data.Batches;
import anneal.data.Jsonl;
import anneal.peft.Adapters;
import anneal.peft.Lora;
import anneal.train.AdamW;
import anneal.train.Schedule;
import anneal.train.TrainConfig;
import anneal.train.Trainer;
import java.nio.file.Path;

/** Fine-tunes a model on conversations with LoRA: {@code LoraSft MODEL DATA OUTPUT}. */
public final class LoraSft {
    private LoraSft() {}

    /** Writes the adapter in PEFT's files. */
    public static void main(String[] args) {
        tune(Path.of(args[0]), Path.of(args[1]), Path.of(args[2]));
    }

    static void tune(Path model, Path file, Path output) {
        try (Pretrained lm = Pretrained.load(model)) {
            Adapters adapters = Lora.rank(16)
                    .alpha(32)
                    .dropout(0.05)
                    .on("all-linear")
                    .attach(lm.model().root());
            Batches data =
                    Jsonl.chats(file).encode(lm.chat()).pack(1024).batches(8).shuffled(42);
            TrainConfig config = TrainConfig.builder()
                    .epochs(1)
                    .accumulate(4)
                    .schedule(new Schedule.Cosine(2e-4, 50))
                    .build();
            try (Trainer trainer = new Trainer(adapters, new AdamW(), config)) {
                trainer.onStep(System.out::println);
                trainer.fit(data, new NextToken(lm.model()));
            }
            adapters.save(output);
        }
    }

    /** Writes base and adapter as one model. */
    static void merge(Path model, Path adapter, Path folder) {
        try (Pretrained lm = Pretrained.load(model)) {
            Adapters.load(lm.model().root(), adapter).merge();
            lm.save(folder);
        }
    }
}
