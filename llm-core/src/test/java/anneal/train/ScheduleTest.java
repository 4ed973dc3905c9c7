package anneal.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import anneal.Golden;
import anneal.io.Json;
import anneal.io.JsonObject;
import anneal.train.Schedule.Constant;
import anneal.train.Schedule.Cosine;
import anneal.train.Schedule.CosineRestarts;
import anneal.train.Schedule.Curve;
import anneal.train.Schedule.InverseSqrt;
import anneal.train.Schedule.LinearDecay;
import anneal.train.Schedule.Polynomial;
import anneal.train.Schedule.WarmupStableDecay;
import java.nio.file.Path;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;

class ScheduleTest {
    @Test
    void everyStepHasTransformersRate() {
        int cases = 0;
        double worst = 0;
        for (Path file : Golden.files("parts", "schedules.*\\.json")) {
            JsonObject all = Json.read(file);
            for (String name : all.keys()) {
                worst = Math.max(worst, follow(name, all.object(name)));
                cases++;
            }
        }
        Golden.report("parts/schedules", cases, worst);
    }

    private static double follow(String name, JsonObject recorded) {
        JsonObject options = recorded.object("options");
        double[] rates = recorded.numbers("rates");
        Schedule s = schedule(name, options);
        int total = total(options, rates.length);
        double worst = 0;
        for (int i = 0; i < rates.length; i++) {
            assertThat(s.rate(i, total)).as("%s step %d", recorded.where(), i).isCloseTo(rates[i], within(1e-12));
            worst = Math.max(worst, Math.abs(s.rate(i, total) - rates[i]));
        }
        return worst;
    }

    /** The steps of the run; a number of stable steps, if there is one, decides. */
    private static int total(JsonObject o, int otherwise) {
        JsonObject more = more(o);
        return more.has("num_stable_steps")
                ? o.integer("num_warmup_steps", 0) + more.integer("num_stable_steps") + more.integer("num_decay_steps")
                : o.integer("num_training_steps", otherwise);
    }

    private static JsonObject more(JsonObject o) {
        return o.has("scheduler_specific_kwargs")
                ? o.object("scheduler_specific_kwargs")
                : new JsonObject(Map.of(), "options");
    }

    private static Schedule schedule(String name, JsonObject o) {
        int warmup = o.integer("num_warmup_steps", 0);
        JsonObject more = more(o);
        more.requireKnown(Set.of(
                "num_cycles",
                "power",
                "lr_end",
                "timescale",
                "min_lr_rate",
                "min_lr",
                "num_decay_steps",
                "num_stable_steps",
                "min_lr_ratio",
                "warmup_type",
                "decay_type"));
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
            case "cosine_with_min_lr" ->
                new Cosine(
                        1,
                        warmup,
                        more.has("min_lr") ? more.number("min_lr") : more.number("min_lr_rate"),
                        more.number("num_cycles", 0.5));
            case "warmup_stable_decay" ->
                new WarmupStableDecay(
                        1,
                        warmup,
                        more.integer("num_decay_steps"),
                        more.number("min_lr_ratio", 0),
                        curve(more.string("warmup_type", "linear")),
                        curve(more.string("decay_type", "cosine")),
                        more.number("num_cycles", 0.5));
            default -> throw new AssertionError("no schedule for the recorded " + name);
        };
    }

    private static Curve curve(String name) {
        return switch (name) {
            case "linear" -> Curve.LINEAR;
            case "cosine" -> Curve.COSINE;
            case "1-sqrt" -> Curve.ONE_MINUS_SQRT;
            default -> throw new AssertionError("no curve for the recorded " + name);
        };
    }

    /** Rates of transformers 5.24's get_wsd_schedule with 4 steps up, 3 level, 5 down to 0.1, printed to 17 digits. */
    @Test
    void upAndDownAlongEveryCurve() {
        assertRates(
                new WarmupStableDecay(1, 4, 5, 0.1, Curve.COSINE, Curve.LINEAR, 0.5),
                0.1,
                0.2318019484660536,
                0.5499999999999999,
                0.8681980515339464,
                1.0,
                1.0,
                1.0,
                1.0,
                0.8200000000000001,
                0.64,
                0.4600000000000001,
                0.27999999999999997,
                0.1,
                0.1);
        assertRates(
                new WarmupStableDecay(1, 4, 5, 0.1, Curve.ONE_MINUS_SQRT, Curve.ONE_MINUS_SQRT, 0.5),
                0.1,
                0.22057713659400527,
                0.36360389693210715,
                0.55,
                1.0,
                1.0,
                1.0,
                1.0,
                0.5975077640500379,
                0.4307900211696917,
                0.30286299768266495,
                0.19501552810007572,
                0.1,
                0.1);
        assertRates(
                new WarmupStableDecay(1, 4, 5, 0.1, Curve.LINEAR, Curve.COSINE, 1.5),
                0.1,
                0.325,
                0.55,
                0.775,
                1.0,
                1.0,
                1.0,
                1.0,
                0.41094235253127376,
                0.1859423525312736,
                0.9140576474687263,
                0.6890576474687264,
                0.1,
                0.1);
    }

    private static void assertRates(Schedule s, double... rates) {
        for (int i = 0; i < rates.length; i++) {
            assertThat(s.rate(i, 12)).as("%s step %d", s, i).isCloseTo(rates[i], within(1e-15));
        }
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
