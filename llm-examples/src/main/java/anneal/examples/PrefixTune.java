package anneal.examples;

import anneal.NextToken;
import anneal.Pretrained;
import anneal.data.Batches;
import anneal.data.Jsonl;
import anneal.generate.Sampling;
import anneal.peft.Adapters;
import anneal.peft.PrefixTuning;
import anneal.tensor.Tensor;
import anneal.text.Message;
import anneal.train.AdamW;
import anneal.train.Schedule;
import anneal.train.TrainConfig;
import anneal.train.Trainer;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;

/**
 * Steers a frozen model by keys and values in front of every attention (Li and Liang, arXiv:2101.00190), and shows what it answers with
 * and without them: {@code PrefixTune MODEL DATA STEPS QUESTION OUTPUT}.
 */
public final class PrefixTune {
    private PrefixTune() {}

    /** Loss of the data without a prefix, with a fresh one and with a trained one. */
    record Losses(double without, double fresh, double trained) {}

    /** Writes the prefix in PEFT's files. */
    public static void main(String[] args) {
        Path output = Path.of(args[4]);
        Losses losses = tune(Path.of(args[0]), Path.of(args[1]), Integer.parseInt(args[2]), output);
        System.out.printf(
                Locale.ROOT,
                "loss: %.3f without a prefix, %.3f with a fresh one, %.3f with the trained one%n",
                losses.without,
                losses.fresh,
                losses.trained);
        ask(Path.of(args[0]), output, args[3]);
    }

    static Losses tune(Path model, Path file, int steps, Path output) {
        try (Pretrained lm = Pretrained.load(model)) {
            // Not packed: a prefix belongs to one text.
            Batches data = Jsonl.chats(file).encode(lm.chat()).pad().batches(4).shuffled(42);
            Adapters prefix = PrefixTuning.tokens(10).attach(lm.model().root());
            System.out.printf(
                    Locale.ROOT,
                    "trained: %,d numbers; the context has room for %d tokens besides%n",
                    prefix.parameters().values().stream()
                            .mapToLong(Tensor::size)
                            .sum(),
                    lm.model().contextLength());
            TrainConfig config = TrainConfig.builder()
                    .steps(steps)
                    .schedule(new Schedule.Cosine(PrefixTuning.LEARNING_RATE, steps / 20))
                    .build();
            NextToken objective = new NextToken(lm.model());
            try (Trainer trainer = new Trainer(prefix, new AdamW(), config)) {
                double without;
                try (var _ = prefix.disabled()) {
                    without = trainer.evaluate(data.apply(0), objective).loss();
                }
                double fresh = trainer.evaluate(data.apply(0), objective).loss();
                trainer.onStep(System.out::println);
                trainer.fit(data, objective);
                prefix.save(output);
                return new Losses(
                        without,
                        fresh,
                        trainer.evaluate(data.apply(0), objective).loss());
            }
        }
    }

    /** No weight has changed: without the prefix the model is what it was. */
    private static void ask(Path model, Path folder, String question) {
        try (Pretrained lm = Pretrained.load(model)) {
            List<Message> messages = List.of(Message.user(question));
            System.out.println("without: " + lm.answer(messages, Sampling.greedy(40)));
            Adapters.load(lm.model().root(), folder);
            System.out.println("with:    " + lm.answer(messages, Sampling.greedy(40)));
        }
    }
}
