package anneal.examples;

import anneal.NextToken;
import anneal.Pretrained;
import anneal.data.Batches;
import anneal.data.EncodedDataset;
import anneal.data.Jsonl;
import anneal.model.Decoder;
import anneal.peft.Adapters;
import anneal.peft.Lora;
import anneal.quant.Nf4;
import anneal.quant.QuantReport;
import anneal.quant.Quantizer;
import anneal.tensor.Tensor;
import anneal.train.AdamW8bit;
import anneal.train.Schedule;
import anneal.train.TrainConfig;
import anneal.train.Trainer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;

/**
 * Fine-tunes a model that is held in 4 bits on conversations (QLoRA; Dettmers et al., arXiv:2305.14314): {@code Qlora MODEL DATA EPOCHS
 * OUTPUT}. Rates, dropout and clipping are the paper's for its smallest model.
 */
public final class Qlora {
    private Qlora() {}

    /** Perplexity of the conversations held out. */
    record Outcome(double before, double after) {}

    /** Writes the adapter in PEFT's files, and the model with it merged beside. */
    public static void main(String[] args) throws IOException {
        Path model = Path.of(args[0]), output = Path.of(args[3]);
        Outcome o = tune(model, Path.of(args[1]), Integer.parseInt(args[2]), output.resolve("adapter"));
        System.out.printf(Locale.ROOT, "perplexity held out: %.3f before, %.3f after%n", o.before, o.after);
        merge(model, output.resolve("adapter"), output.resolve("merged"));
    }

    static Outcome tune(Path model, Path file, int epochs, Path output) throws IOException {
        try (Pretrained lm = Pretrained.load(model)) {
            // Data first, as the model's own template has it: a wrong line is found before hours of training.
            EncodedDataset.Split data = Jsonl.chats(file).encode(lm.chat()).split(0.1, 42);
            Batches train = data.train().pack(512).batches(1).shuffled(42);
            Batches heldOut = data.validation().pad().batches(4);

            // The base: 4 bits a number, scales in 8 bits. The head keeps its floats.
            QuantReport report = quantise(lm.model());
            System.out.printf(
                    Locale.ROOT,
                    "base: %,d bytes, %,d before; worst layer lost %.1f %%%n",
                    report.bytesAfter(),
                    report.bytesBefore(),
                    100 * report.worst());

            // What is trained: two thin matrices beside every layer.
            Adapters adapters = Lora.rank(16)
                    .alpha(32)
                    .dropout(0.1)
                    .on("all-linear")
                    .attach(lm.model().root());
            System.out.printf(
                    Locale.ROOT,
                    "trained: %,d parameters%n",
                    adapters.parameters().values().stream()
                            .mapToLong(Tensor::size)
                            .sum());

            // What training needs besides: of each block only its input, moments in bytes, and those in a file.
            lm.model().checkpointing(true);
            TrainConfig config = TrainConfig.builder()
                    .epochs(epochs)
                    .accumulate(8)
                    .schedule(new Schedule.Constant(2e-4, 5))
                    .clipNorm(0.3)
                    .optimizerPages(Files.createDirectories(output))
                    .build();
            NextToken objective = new NextToken(lm.model());
            try (Trainer trainer = new Trainer(adapters, new AdamW8bit(), config)) {
                double before = trainer.evaluate(heldOut.apply(0), objective).perplexity();
                trainer.onStep(System.out::println);
                trainer.fit(train, objective);
                double after = trainer.evaluate(heldOut.apply(0), objective).perplexity();
                adapters.save(output);
                return new Outcome(before, after);
            }
        }
    }

    static QuantReport quantise(Decoder model) {
        return Quantizer.format(new Nf4(64, true)).except(model.head().path()).apply(model);
    }

    /** The adapter belongs to the rounded base, so that is what it is merged into; the sum is floats. */
    static void merge(Path model, Path adapter, Path folder) {
        try (Pretrained lm = Pretrained.load(model)) {
            quantise(lm.model());
            Adapters.load(lm.model().root(), adapter).merge();
            lm.save(folder);
        }
    }
}
