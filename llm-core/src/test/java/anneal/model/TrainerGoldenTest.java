package anneal.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import anneal.Golden;
import anneal.NextToken;
import anneal.data.Batch;
import anneal.io.JsonObject;
import anneal.kernels.Compute;
import anneal.train.AdamW;
import anneal.train.ParameterGroup;
import anneal.train.Schedule;
import anneal.train.StepReport;
import anneal.train.TrainConfig;
import anneal.train.Trainer;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/** The recorded training runs of golden/models, through the trainer: losses, gradient norms and rates of every step. */
class TrainerGoldenTest {
    @Test
    void theTrainerRepeatsTheRecordedRuns() {
        int cases = 0;
        double worst = 0;
        for (Path folder : GoldenModel.folders()) {
            try (Arena arena = Arena.ofShared()) {
                GoldenModel g = GoldenModel.read(folder, arena);
                for (String run : g.facts().keys()) {
                    if (run.startsWith("adamw")) {
                        worst = Math.max(worst, repeat(g, run, g.facts().object(run)));
                        cases++;
                    }
                }
            }
        }
        Golden.report("models training runs", cases, worst);
    }

    private static double repeat(GoldenModel g, String run, JsonObject recorded) {
        double[] losses = recorded.numbers("losses"), rates = recorded.numbers("learning_rates");
        double[] norms = recorded.numbers("gradient_norms_before_clipping");
        List<StepReport> reports = run(g, run, recorded, Compute.F32);
        double worst = 0;
        for (int i = 0; i < losses.length; i++) {
            String what = g.name() + " " + run + " step " + i;
            assertThat(reports.get(i).loss()).as(what).isCloseTo(losses[i], within(1e-4));
            assertThat(reports.get(i).gradNorm()).as(what).isCloseTo(norms[i], within(1e-3));
            assertThat(reports.get(i).rate()).as(what).isCloseTo(rates[i], within(1e-12));
            worst = Math.max(worst, Math.abs(reports.get(i).loss() - losses[i]));
        }
        return worst;
    }

    /** Makes the steps of a recorded run. */
    static List<StepReport> run(GoldenModel g, String run, JsonObject recorded, Compute compute) {
        List<StepReport> reports = new ArrayList<>();
        TrainConfig config = TrainConfig.builder()
                .steps(recorded.numbers("losses").length)
                .schedule(schedule(run, recorded.numbers("learning_rates")))
                .compute(compute)
                .groups(ParameterGroup.DECAY_ALL)
                .clipNorm(1)
                .logEvery(1)
                .build();
        try (Arena arena = Arena.ofShared()) {
            Decoder model = ModelFiles.load(g.folder(), arena).train(arena);
            try (Trainer trainer = new Trainer(model.parameters(), new AdamW(0.01), config)) {
                Batch batch = batch(g);
                trainer.onStep(reports::add).fit(epoch -> List.of(batch).iterator(), new NextToken(model));
            }
        }
        return reports;
    }

    private static Schedule schedule(String run, double[] rates) {
        int warmup = 0;
        while (warmup + 1 < rates.length && rates[warmup + 1] > rates[warmup]) {
            warmup++;
        }
        double peak = rates[warmup];
        return run.contains("cosine") ? new Schedule.Cosine(peak, warmup) : new Schedule.Constant(peak, warmup);
    }

    private static Batch batch(GoldenModel g) {
        int n = g.batch() * g.length();
        int[] positions = new int[n];
        for (int i = 0; i < n; i++) {
            positions[i] = i % g.length();
        }
        return new Batch(
                g.ints("input_ids"), g.targets(), new int[n], positions, g.batch(), g.length(), List.of(g.name()));
    }
}
