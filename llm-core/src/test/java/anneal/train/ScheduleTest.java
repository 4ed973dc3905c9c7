package anneal.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import anneal.Golden;
import anneal.io.Json;
import anneal.io.JsonObject;
import anneal.train.Schedule.Constant;
import anneal.train.Schedule.Cosine;
import anneal.train.Schedule.CosineRestarts;
import anneal.train.Schedule.InverseSqrt;
import anneal.train.Schedule.LinearDecay;
import anneal.train.Schedule.Polynomial;
import anneal.train.Schedule.WarmupStableDecay;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.Test;

class ScheduleTest {
    @Test
    void everyStepHasTransformersRate() {
        Path file = Golden.root().resolve("parts/schedules.json");
        assumeTrue(Files.exists(file), "no schedules in " + Golden.root());
        JsonObject all = Json.read(file);
        int cases = 0;
        double worst = 0;
        for (String name : all.keys()) {
            JsonObject options = all.object(name).object("options");
            double[] rates = all.object(name).numbers("rates");
            Schedule s = schedule(name, options);
            int total = options.integer("num_training_steps", rates.length);
            for (int i = 0; i < rates.length; i++) {
                assertThat(s.rate(i, total)).as("%s step %d", name, i).isCloseTo(rates[i], within(1e-12));
                worst = Math.max(worst, Math.abs(s.rate(i, total) - rates[i]));
            }
            cases++;
        }
        Golden.report("parts/schedules", cases, worst);
    }

    private static Schedule schedule(String name, JsonObject o) {
        int warmup = o.integer("num_warmup_steps", 0);
        JsonObject more = o.has("scheduler_specific_kwargs")
                ? o.object("scheduler_specific_kwargs")
                : new JsonObject(Map.of(), name);
        return switch (name) {
            case "constant", "constant_with_warmup" -> new Constant(1, warmup);
            case "linear" -> new LinearDecay(1, warmup);
            case "cosine" -> new Cosine(1, warmup, 0, more.number("num_cycles", 0.5));
            case "cosine_with_restarts" -> new CosineRestarts(1, warmup, more.integer("num_cycles", 1));
            case "polynomial" -> new Polynomial(1, warmup, more.number("power", 1), more.number("lr_end", 1e-7));
            case "inverse_sqrt" ->
                more.has("timescale")
                        ? new InverseSqrt(1, warmup, more.integer("timescale"))
                        : new InverseSqrt(1, warmup);
            case "cosine_with_min_lr" -> new Cosine(1, warmup, more.number("min_lr_rate"));
            case "warmup_stable_decay" ->
                new WarmupStableDecay(1, warmup, more.integer("num_decay_steps"), more.number("min_lr_ratio", 0));
            default -> throw new AssertionError("no schedule for the recorded " + name);
        };
    }

    @Test
    void thePeakIsAFactor() {
        assertThat(new Cosine(2e-4, 10).rate(10, 100)).isEqualTo(2e-4);
        assertThat(new Cosine(2e-4, 10).rate(5, 100)).isEqualTo(1e-4);
        assertThat(new Polynomial(2e-4, 0, 1, 1e-4).rate(50, 100)).isCloseTo(1.5e-4, within(1e-18));
        assertThat(new WarmupStableDecay(2e-4, 10, 20, 0.5).rate(0, 100)).isEqualTo(1e-4);
    }

    @Test
    void aRunShorterThanItsWarmUpStaysFinite() {
        for (Schedule s : new Schedule[] {
            new LinearDecay(1, 10),
            new Cosine(1, 10),
            new CosineRestarts(1, 10, 2),
            new Polynomial(1, 10, 2, 0.1),
            new WarmupStableDecay(1, 10, 20, 0.1),
            new InverseSqrt(1, 10)
        }) {
            for (int step = 0; step <= 12; step++) {
                assertThat(s.rate(step, 10)).as("%s step %d", s, step).isBetween(0.0, 1.0);
            }
        }
    }

    @Test
    void refusesNumbersThatMakeNoSense() {
        assertThatThrownBy(() -> new Cosine(-1, 0)).hasMessage("Cosine: peak rate -1.0 must be in [0.0, infinity)");
        assertThatThrownBy(() -> new Constant(1, -1)).hasMessage("Constant: warm-up -1.0 must be in [0.0, infinity)");
        assertThatThrownBy(() -> new Polynomial(1, 0, 1, 2)).hasMessage("Polynomial: end 2.0 must be in [0, peak 1.0)");
    }
}
