package anneal.quant.post;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import anneal.kernels.F32Matrix;
import anneal.nn.LayerWatch;
import anneal.nn.Stored;
import anneal.nn.Weight;
import anneal.nn.WeightReader;
import anneal.quant.QuantFormat;
import anneal.quant.Quantizer;
import anneal.quant.calibrate.Calibration;
import anneal.quant.calibrate.Junction;
import anneal.tensor.DType;
import anneal.tensor.Memory;
import anneal.tensor.Rng;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Scales that move before a format rounds, layers of different bits, and integer layers in folders. */
class FoldedAndMixedTest {
    /** A decoder whose norms give two channels 30 times the size, which their readers take back: the same function. */
    private static GoldenDecoder outliers(Arena arena) {
        GoldenDecoder d = GoldenDecoder.load("llama", arena);
        Junction.find(d.model().root(), false).forEach(j -> {
            float[] s = new float[j.source().channels()];
            Arrays.fill(s, 1);
            s[3] = s[17] = 1f / 30;
            j.fold(s);
        });
        return d;
    }

    @ParameterizedTest
    @ValueSource(strings = {"nf4", "nf4-b32", "fp4", "int4-g16", "int4-g16-asym"})
    void whatIsFoldedFirstLosesLess(String name) {
        QuantFormat format = QuantFormat.of(name);
        try (Arena arena = Arena.ofShared()) {
            GoldenDecoder plain = outliers(arena), awq = outliers(arena), smooth = outliers(arena);
            float[] before = plain.hidden();
            Quantizer.format(format).apply(plain.model().root());
            Map<String, String> ratios = Awq.fold(
                    awq.model().root(), w -> format.quantize(w, arena).matrix(), awq::forward, LayerWatch.NONE);
            assertThat(Planted.relative(awq.hidden(), before))
                    .as("still the same function")
                    .isLessThan(5e-6);
            Quantizer.format(format).apply(awq.model().root());
            Calibration seen =
                    Calibration.capture(smooth.model().root(), p -> true, Calibration.Options.SAMPLES, smooth::forward);
            Map<String, String> alphas =
                    SmoothQuant.o1().build().smooth(smooth.model().root(), seen);
            Quantizer.format(format).apply(smooth.model().root());
            double alone = Planted.relative(plain.hidden(), before);
            double afterAwq = Planted.relative(awq.hidden(), before);
            double afterSmooth = Planted.relative(smooth.hidden(), before);
            System.out.printf(
                    "%s, outlier channels, hidden states: alone %.4f, awq %.4f, smoothquant %.4f%n",
                    name, alone, afterAwq, afterSmooth);
            assertThat(afterAwq).isLessThan(0.8 * alone);
            assertThat(afterSmooth).isLessThan(0.9 * alone);
            assertThat(ratios.values()).anyMatch(r -> !r.equals("ratio 0.00"));
            assertThat(alphas.values()).containsOnly("alpha 0.50");
        }
    }

    @Test
    void fewBitsForTheLeastSensitiveLoseLessThanForTheOthers() {
        try (Arena arena = Arena.ofShared()) {
            GoldenDecoder least = outliers(arena), most = outliers(arena), all = outliers(arena);
            float[] before = least.hidden();
            PostReport report = new ZeroQuant(new BitWidths.LeastSensitive(8, 3, 0.5), 16, null)
                    .apply(least.model().root(), least::forward);
            List<String> others = report.layers().stream()
                    .filter(l -> l.format().startsWith("W8"))
                    .map(l -> "^" + Pattern.quote(l.path()) + "$")
                    .toList();
            new ZeroQuant(new BitWidths.Matching(8, 3, others), 16, null)
                    .apply(most.model().root(), most::forward);
            new ZeroQuant(new BitWidths.LeastSensitive(8, 3, 1), 16, null)
                    .apply(all.model().root(), all::forward);
            double few = Planted.relative(least.hidden(), before), many = Planted.relative(most.hidden(), before);
            double whole = Planted.relative(all.hidden(), before);
            System.out.printf("W3/8A8 g16: least sensitive half %.4f, the others %.4f, all %.4f%n", few, many, whole);
            assertThat(few).isLessThan(0.8 * many);
            assertThat(whole).isGreaterThan(few);
            assertThat(report.method()).isEqualTo("zeroquant W8/3A8");
            long numbers =
                    report.layers().stream().mapToLong(l -> l.bytesBefore() / 4).sum();
            long inFew = report.layers().stream()
                    .filter(l -> l.format().startsWith("W3"))
                    .mapToLong(l -> l.bytesBefore() / 4)
                    .sum();
            assertThat(inFew).isPositive().isLessThanOrEqualTo(numbers / 2);
        }
    }

    // ---------------------------------------------------------------- compressed-tensors

    private static WeightReader reader(Map<String, Object> config) {
        return WeightReader.all().stream()
                .filter(r -> r.method().equals("compressed-tensors"))
                .findFirst()
                .orElseThrow()
                .configured(config);
    }

    private static W8A8Linear weight(Arena arena, ActivationScale how) {
        Tensor w = Planted.normal(arena, new Rng(1), 1, 12, 32);
        return new W8A8Linear(
                Rounding.nearest(new F32Matrix(w.buf(), 12, 32), Grid.bits(8).symmetrical()),
                how,
                how == ActivationScale.STATIC ? 2.7f : 0);
    }

    @ParameterizedTest
    @EnumSource(ActivationScale.class)
    void whatIsReadComputesWhatWasWritten(ActivationScale how) {
        try (Arena arena = Arena.ofShared();
                Memory.Scope scope = Memory.scope()) {
            W8A8Linear written = weight(arena, how);
            var form = written.folderForm().orElseThrow();
            Map<String, Stored> tensors = new LinkedHashMap<>(form.tensors());
            assertThat(tensors.get("weight").dtype()).isEqualTo(DType.I8);
            assertThat(tensors.containsKey("input_scale")).isEqualTo(how == ActivationScale.STATIC);
            Weight read = reader(form.config(List.of("lm_head")))
                    .read("layer", 12, 32, tensors, arena)
                    .orElseThrow();
            assertThat(tensors).as("all was read").isEmpty();
            Tensor x = Planted.normal(arena, new Rng(2), 1.5, 5, 32);
            assertThat(read.matmulT(x).toArray()).isEqualTo(written.matmulT(x).toArray());
            assertThat(read.format()).isEqualTo("W8A8");
        }
    }

    @Test
    void whatCannotBeReadIsSaid() {
        try (Arena arena = Arena.ofShared()) {
            var form = weight(arena, ActivationScale.STATIC).folderForm().orElseThrow();
            WeightReader reader = reader(form.config(List.of()));
            Map<String, Stored> lacking = new LinkedHashMap<>(form.tensors());
            lacking.remove("input_scale");
            assertThatThrownBy(() -> reader.read("layer", 12, 32, lacking, arena))
                    .hasMessage("layer.input_scale is missing");
            Map<String, Stored> other = new LinkedHashMap<>(form.tensors());
            assertThatThrownBy(() -> reader.read("layer", 12, 48, other, arena))
                    .hasMessage("layer.weight has 384 bytes of I8, not 576 of I8 in rows of a multiple of 8");
            assertThatThrownBy(() -> reader(Map.of("config_groups", Map.of("a", Map.of(), "b", Map.of()))))
                    .hasMessage("compressed-tensors: config_groups has 2 groups, not one");
            Map<String, Object> four = Map.of("num_bits", 4);
            assertThatThrownBy(() -> reader(Map.of("config_groups", Map.of("a", Map.of("weights", four)))))
                    .hasMessage(
                            "compressed-tensors: weights {num_bits=4} cannot be read; what can is num_bits 8, type int,"
                                    + " symmetric, strategy channel");
            assertThat(new ZeroQuant(8, 8, 16, null).widths()).isEqualTo(new BitWidths.FeedForwards(8, 8));
        }
    }

    /** Integers by groups, or of few bits, are packed, with their inputs beside them; one scale for a matrix has no place there. */
    @Test
    void groupsOfIntegersArePacked() {
        try (Arena arena = Arena.ofShared();
                Memory.Scope scope = Memory.scope()) {
            Tensor w = Planted.normal(arena, new Rng(1), 1, 12, 32);
            F32Matrix m = new F32Matrix(w.buf(), 12, 32);
            Tensor x = Planted.normal(arena, new Rng(2), 1.5, 5, 32);
            for (Grid grid : List.of(new Grid(8, 16, true), new Grid(4, Grid.PER_ROW, true), new Grid(3, 8, true))) {
                for (ActivationScale how : ActivationScale.values()) {
                    float largest = how == ActivationScale.STATIC ? 2.7f : 0;
                    W8A8Linear layer = new W8A8Linear(Rounding.nearest(m, grid), how, largest);
                    var form = layer.folderForm().orElseThrow();
                    Map<String, Stored> tensors = new LinkedHashMap<>(form.tensors());
                    Weight read = reader(form.config(List.of()))
                            .read("layer", 12, 32, tensors, arena)
                            .orElseThrow();
                    assertThat(tensors).as("all was read").isEmpty();
                    assertThat(read.matmulT(x).toArray())
                            .isEqualTo(layer.matmulT(x).toArray());
                    assertThat(read.format()).isEqualTo(layer.format());
                }
            }
            Grid one = new Grid(8, Grid.PER_TENSOR, true);
            assertThat(new W8A8Linear(Rounding.nearest(m, one), ActivationScale.PER_TOKEN, 0).folderForm())
                    .isEmpty();
            var bytes = W8A8Linear.of(m, ActivationScale.PER_TOKEN).folderForm().orElseThrow();
            assertThat(bytes.config(List.of())).containsEntry("format", "int-quantized");
        }
    }

    /** What calibration found: the same numbers are read, whatever kernel multiplies them. */
    @Test
    void aUniformGridIsPackedAndReadAsGroups() {
        try (Arena arena = Arena.ofShared()) {
            Tensor w = Planted.normal(arena, new Rng(1), 1, 11, 24);
            F32Matrix m = new F32Matrix(w.buf(), 11, 24);
            for (Grid grid :
                    List.of(Grid.bits(4).groups(8), Grid.bits(4).symmetrical(), Grid.bits(3), new Grid(8, 12, false))) {
                Weight written = new UniformWeight(Rounding.nearest(m, grid));
                var form = written.folderForm().orElseThrow();
                Weight read = reader(form.config(List.of()))
                        .read("layer", 11, 24, new LinkedHashMap<>(form.tensors()), arena)
                        .orElseThrow();
                assertThat(Planted.floats(read.matrix())).as("%s", grid).isEqualTo(Planted.floats(written.matrix()));
            }
            Weight tensor = new UniformWeight(Rounding.nearest(m, Grid.bits(4).perTensor()));
            assertThat(tensor.folderForm()).isEmpty();
        }
    }
}
