package anneal.examples;

import anneal.NextToken;
import anneal.Pretrained;
import anneal.cli.RankPlot;
import anneal.data.Batches;
import anneal.data.Jsonl;
import anneal.peft.AdaLora;
import anneal.peft.Adapters;
import anneal.peft.RankReport;
import anneal.train.AdamW;
import anneal.train.Schedule;
import anneal.train.TrainConfig;
import anneal.train.Trainer;
import java.nio.file.Path;

/**
 * Fine-tunes a model with AdaLoRA, prints the rank that each module ended with and draws it: {@code AdaLoraRanks MODEL DATA STEPS
 * OUTPUT}.
 */
public final class AdaLoraRanks {
    private AdaLoraRanks() {}

    /** Writes the adapter in PEFT's files, and ranks.png beside them. */
    public static void main(String[] args) {
        Path output = Path.of(args[3]);
        RankReport report = tune(Path.of(args[0]), Path.of(args[1]), Integer.parseInt(args[2]), output);
        System.out.print(report);
        RankPlot.write(output.resolve("ranks.png"), report);
    }

    static RankReport tune(Path model, Path file, int steps, Path output) {
        try (Pretrained lm = Pretrained.load(model)) {
            Adapters adapters =
                    AdaLora.rank(8).on("all-linear").attach(lm.model().root());
            Batches data = Jsonl.chats(file).encode(lm.chat()).pad().batches(4).shuffled(42);
            TrainConfig config = TrainConfig.builder()
                    .steps(steps)
                    .schedule(new Schedule.Cosine(AdaLora.LEARNING_RATE, steps / 20))
                    .build();
            try (Trainer trainer = new Trainer(adapters, new AdamW(), config)) {
                trainer.onStep(System.out::println);
                trainer.fit(data, new NextToken(lm.model()));
            }
            adapters.save(output);
            return RankReport.of(adapters);
        }
    }
}
