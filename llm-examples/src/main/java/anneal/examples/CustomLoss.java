package anneal.examples;

import anneal.Pretrained;
import anneal.data.Batch;
import anneal.data.Batches;
import anneal.data.Jsonl;
import anneal.model.Tokens;
import anneal.peft.Adapters;
import anneal.peft.Lora;
import anneal.tensor.Ops;
import anneal.tensor.Tensor;
import anneal.train.AdamW;
import anneal.train.Loss;
import anneal.train.Objective;
import anneal.train.Schedule;
import anneal.train.TrainConfig;
import anneal.train.Trainer;
import java.nio.file.Path;

/** A loss that is not in the library, as a lambda: tokens that the model finds hard weigh more. {@code CustomLoss MODEL DATA STEPS} */
public final class CustomLoss {
    private CustomLoss() {}

    /** Trains an adapter with it and prints the last loss. */
    public static void main(String[] args) {
        System.out.println(train(Path.of(args[0]), Path.of(args[1]), Integer.parseInt(args[2])));
    }

    static double train(Path model, Path file, int steps) {
        try (Pretrained lm = Pretrained.load(model)) {
            Adapters adapters =
                    Lora.rank(4).alpha(8).on("all-linear").attach(lm.model().root());
            Objective<Batch> hardest = batch -> {
                Tensor nll = lm.model().nll(tokens(batch), batch.targets());
                return new Loss(Ops.sum(Ops.mul(nll, nll)), batch.trainedTokens());
            };
            Batches data = Jsonl.chats(file).encode(lm.chat()).pad().batches(4).shuffled(0);
            TrainConfig config = TrainConfig.builder()
                    .steps(steps)
                    .schedule(new Schedule.Constant(1e-3, 0))
                    .build();
            double[] last = new double[1];
            try (Trainer trainer = new Trainer(adapters, new AdamW(), config)) {
                trainer.onStep(report -> last[0] = report.loss());
                trainer.fit(data, hardest);
            }
            return last[0];
        }
    }

    private static Tokens tokens(Batch batch) {
        return new Tokens(batch.ids(), batch.batch(), batch.length(), batch.positions(), batch.segments());
    }
}
