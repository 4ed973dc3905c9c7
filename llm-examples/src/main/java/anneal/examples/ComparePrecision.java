package anneal.examples;

import anneal.NextToken;
import anneal.Perplexity;
import anneal.Pretrained;
import anneal.data.Batches;
import anneal.data.Jsonl;
import anneal.kernels.Compute;
import anneal.peft.Adapters;
import anneal.peft.Lora;
import anneal.tensor.Tape;
import anneal.train.AdamW;
import anneal.train.Schedule;
import anneal.train.TrainConfig;
import anneal.train.Trainer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;

/**
 * What lower precision costs in quality: the perplexity of a text in each, and the losses of two LoRA runs on it in f32 and bf16 that
 * start alike and see the same tokens: {@code ComparePrecision MODEL TEXT STEPS LENGTH}, with LENGTH tokens a step.
 */
public final class ComparePrecision {
    /** Tokens that the perplexity is taken of. */
    private static final int TOKENS = 4096;

    private ComparePrecision() {}

    /** Prints three perplexities and six rows of losses. */
    public static void main(String[] args) throws IOException {
        Path model = Path.of(args[0]), text = Path.of(args[1]);
        int steps = Integer.parseInt(args[2]), length = Integer.parseInt(args[3]);
        try (Pretrained lm = Pretrained.load(model)) {
            int[] ids = lm.tokenizer().encode(Files.readString(text));
            ids = Arrays.copyOf(ids, Math.min(TOKENS, ids.length));
            for (Compute compute : Compute.values()) {
                System.out.printf(Locale.ROOT, "perplexity in %-4s  %.4f%n", compute, perplexity(lm, ids, compute));
            }
        }
        List<Double> full = losses(model, text, steps, length, Compute.F32);
        List<Double> half = losses(model, text, steps, length, Compute.BF16);
        System.out.println("step   loss in F32   in BF16   apart   mean since the row before, apart");
        int every = Math.max(1, steps / 6);
        for (int i = every; i <= steps; i += every) {
            double a = full.get(i - 1), b = half.get(i - 1);
            double meanA = mean(full.subList(i - every, i)), meanB = mean(half.subList(i - every, i));
            System.out.printf(
                    Locale.ROOT,
                    "%4d %13.4f %9.4f %+7.3f %% %9.4f %9.4f %+7.3f %%%n",
                    i,
                    a,
                    b,
                    100 * (b / a - 1),
                    meanA,
                    meanB,
                    100 * (meanB / meanA - 1));
        }
    }

    private static double mean(List<Double> losses) {
        return losses.stream().mapToDouble(x -> x).average().orElseThrow();
    }

    /** Perplexity of a text in windows of 64 tokens. */
    static double perplexity(Pretrained lm, int[] ids, Compute compute) {
        try (Tape.Precision precision = Tape.compute(compute)) {
            return Perplexity.of(lm.model(), ids, 64).value();
        }
    }

    /** The loss of each step. */
    static List<Double> losses(Path model, Path text, int steps, int length, Compute compute) {
        try (Pretrained lm = Pretrained.load(model)) {
            Adapters adapters =
                    Lora.rank(16).alpha(32).on("all-linear").attach(lm.model().root());
            Batches batches = Jsonl.read(text)
                    .encode(lm.tokenizer())
                    .wrap(length)
                    .batches(1)
                    .shuffled(42);
            TrainConfig config = TrainConfig.builder()
                    .steps(steps)
                    .schedule(new Schedule.Cosine(2e-4, steps / 10))
                    .logEvery(1)
                    .compute(compute)
                    .build();
            List<Double> losses = new ArrayList<>();
            try (Trainer trainer = new Trainer(adapters, new AdamW(), config)) {
                trainer.onStep(step -> losses.add(step.loss()));
                trainer.fit(batches, new NextToken(lm.model()));
            }
            return losses;
        }
    }
}
