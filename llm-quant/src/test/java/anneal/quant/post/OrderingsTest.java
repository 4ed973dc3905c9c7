package anneal.quant.post;

import static org.assertj.core.api.Assertions.assertThat;

import anneal.nn.Module;
import anneal.quant.calibrate.Calibration;
import anneal.quant.calibrate.Junction;
import anneal.tensor.Memory;
import anneal.tensor.Rng;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.Map;
import java.util.function.Consumer;
import java.util.function.Predicate;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What the papers report, on data where it must hold. Each test prints its numbers. */
class OrderingsTest {
    private static final int IN = 128, OUT = 96, ROWS = 512;

    private static void planted(Consumer<Arena> test) {
        try (Arena arena = Arena.ofShared();
                var _ = Memory.scope();
                var _ = Tape.pause()) {
            test.accept(arena);
        }
    }

    /** Error on fresh rows of the same kind, not those of calibration. */
    private static double error(PostTraining method, Arena arena, float outlier) {
        Planted.One model = new Planted.One(Planted.normal(arena, new Rng(1), 0.1, OUT, IN));
        var before = model.layer.weight().matrix();
        Tensor x = Planted.correlated(arena, new Rng(2), 2 * ROWS, IN);
        if (outlier > 1) {
            Planted.outlier(x, 5, outlier);
            Planted.outlier(x, 40, outlier / 2);
        }
        float[] all = x.toArray();
        Tensor seen = Tensor.of(Arrays.copyOf(all, ROWS * IN), ROWS, IN);
        Tensor fresh = Tensor.of(Arrays.copyOfRange(all, ROWS * IN, 2 * ROWS * IN), ROWS, IN);
        method.apply(model, () -> model.layer.forward(seen));
        return new LayerReport.Measured(before, fresh, model.layer.weight()).error();
    }

    @ParameterizedTest
    @ValueSource(ints = {4, 3})
    void gptqBeatsRtn(int bits) {
        planted(arena -> {
            Grid grid = Grid.bits(bits).groups(32);
            double rtn = error(new Rtn(grid), arena, 1), gptq = error(new Gptq(grid), arena, 1);
            double ordered = error(new Gptq(grid).actOrdered(), arena, 8);
            double rtnOutliers = error(new Rtn(grid), arena, 8);
            System.out.printf(
                    "%d bits g32: rtn %.4f, gptq %.4f; with outliers: rtn %.4f, gptq act-order %.4f%n",
                    bits, rtn, gptq, rtnOutliers, ordered);
            assertThat(gptq).isLessThan(0.8 * rtn);
            assertThat(ordered).isLessThan(0.8 * rtnOutliers);
        });
    }

    @ParameterizedTest
    @ValueSource(ints = {4, 3})
    void awqBeatsRtnWhereChannelsDiffer(int bits) {
        try (Arena arena = Arena.ofShared()) {
            float[] original = GoldenDecoder.load("llama", arena).hidden();
            GoldenDecoder a = outliers(arena, 30), b = outliers(arena, 30);
            float[] before = a.hidden();
            assertThat(Planted.relative(before, original))
                    .as("planted outliers do not change the model")
                    .isLessThan(2e-6);
            Grid grid = Grid.bits(bits).groups(16);
            new Rtn(grid).apply(a.model().root(), a::forward);
            PostReport report = new Awq(grid).apply(b.model().root(), b::forward);
            double rtn = Planted.relative(a.hidden(), before), awq = Planted.relative(b.hidden(), before);
            System.out.printf("%d bits g16, outlier channels, hidden states: rtn %.4f, awq %.4f%n", bits, rtn, awq);
            assertThat(awq).isLessThan(0.8 * rtn);
            assertThat(report.layers())
                    .anyMatch(l -> l.note().startsWith("ratio 0.") && !l.note().equals("ratio 0.00"));
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {4, 3})
    void finerGroupsAreBetter(int bits) {
        planted(arena -> {
            double tensor = error(new Rtn(Grid.bits(bits).perTensor()), arena, 1);
            double row = error(new Rtn(Grid.bits(bits)), arena, 1);
            double group = error(new Rtn(Grid.bits(bits).groups(32)), arena, 1);
            System.out.printf("%d bits: per tensor %.4f, per row %.4f, groups of 32 %.4f%n", bits, tensor, row, group);
            assertThat(group).isLessThan(row);
            assertThat(row).isLessThan(tensor);
        });
    }

    @Test
    void withOutlierChannelsNaiveIntegersCollapseAndSmoothOnesDoNot() {
        try (Arena arena = Arena.ofShared()) {
            for (ActivationScale how : ActivationScale.values()) {
                GoldenDecoder naive = outliers(arena, 300), smooth = outliers(arena, 300);
                float[] before = naive.hidden();
                naiveIntegers(naive.model().root(), p -> true, naive::forward, how);
                PostReport report = new SmoothQuant(0.5, Map.of(), true, true, how)
                        .apply(smooth.model().root(), smooth::forward);
                double bad = Planted.relative(naive.hidden(), before), good = Planted.relative(smooth.hidden(), before);
                System.out.printf("W8A8 %-10s outlier channels: naive %.4f, smoothquant %.4f%n", how, bad, good);
                assertThat(bad).isGreaterThan(0.15);
                assertThat(good).isLessThan(0.05);
                assertThat(report.layers()).allMatch(l -> l.format().equals("W8A8"));
            }
        }
    }

    /** A decoder whose norms give two channels so many times the size, which their readers take back: the same function. */
    private static GoldenDecoder outliers(Arena arena, float by) {
        GoldenDecoder d = GoldenDecoder.load("llama", arena);
        Junction.find(d.model().root(), false).forEach(j -> {
            float[] s = new float[j.source().channels()];
            Arrays.fill(s, 1);
            s[3] = s[17] = 1 / by;
            j.fold(s);
        });
        return d;
    }

    /** Both operands in 8 bits, nothing smoothed. */
    static void naiveIntegers(Module root, Predicate<String> which, Runnable forward, ActivationScale how) {
        Calibration seen = Calibration.capture(root, which, Calibration.Options.SAMPLES, forward);
        Folds folds = new Folds(ChosenLayers.of(root, which), seen);
        folds.quantise(
                "naive",
                Map.of(),
                (linear, x) -> new W8A8Linear(
                        Rounding.nearest(linear.weight().matrix(), Grid.bits(8).symmetrical()),
                        how,
                        how == ActivationScale.STATIC ? folds.maxAbs(linear.path()) : 0));
    }

    @Test
    void distillationBeatsRoundingAlone() {
        try (Arena arena = Arena.ofShared()) {
            GoldenDecoder plain = GoldenDecoder.load("llama", arena), distilled = GoldenDecoder.load("llama", arena);
            float[] before = plain.hidden();
            new ZeroQuant(4, 3, 16, null).apply(plain.model().root(), plain::forward);
            PostReport report = new ZeroQuant(4, 3, 16, new LayerDistillation(40, 2e-3))
                    .apply(distilled.model().root(), distilled::forward);
            double without = Planted.relative(plain.hidden(), before),
                    with = Planted.relative(distilled.hidden(), before);
            System.out.printf("W4/3A8 g16, hidden states: without lkd %.4f, with %.4f%n%s", without, with, report);
            assertThat(with).isLessThan(0.8 * without);
            assertThat(distilled.model().root().trainable()).isEmpty();
        }
    }

    @Test
    void reportsAddUp() {
        planted(arena -> {
            Planted.One model = new Planted.One(Planted.normal(arena, new Rng(1), 0.1, OUT, IN));
            Tensor x = Planted.correlated(arena, new Rng(2), ROWS, IN);
            PostReport report = new Rtn(Grid.bits(3).groups(32)).apply(model, () -> model.layer.forward(x));
            assertThat(report.bytesBefore()).isEqualTo(4L * OUT * IN);
            // 3 bits a code, 4 bytes a scale and one a zero for each group
            assertThat(report.bytesAfter()).isEqualTo(OUT * (IN * 3 / 8 + IN / 32 * 5));
            var json = anneal.io.Json.parse(report.perplexity(10, 11).json(), "report");
            assertThat(json.string("method")).isEqualTo("rtn INT3 g32");
            assertThat(json.number("perplexity_after")).isEqualTo(11);
            assertThat(json.objects("layers").getFirst().number("error")).isEqualTo(report.meanError());
            assertThat(report.perplexity(10, 11).toString())
                    .contains("layer", "INT3 g32", "49152", "perplexity 10.0000 -> 11.0000");
        });
    }
}
