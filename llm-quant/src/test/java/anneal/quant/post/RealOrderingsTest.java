package anneal.quant.post;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import anneal.nn.Linear;
import anneal.quant.Fp4;
import anneal.quant.GgufBlocks;
import anneal.quant.GroupInt;
import anneal.quant.Nf4;
import anneal.quant.QuantFormat;
import anneal.quant.QuantReport;
import anneal.quant.Quantizer;
import anneal.quant.calibrate.Layers;
import java.io.IOException;
import java.util.Locale;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * What the papers report, on a real model and real text; each test prints its numbers. The usual run quantises the first blocks and
 * measures some hundred tokens; {@code -Danneal.orderings=all} is that of docs/benchmarks.md.
 *
 * <p>The model's file holds Q4_1 (16 values for each 32 weights), so Q4_1 of these floats loses next to nothing and says nothing; groups here
 * are of 64 weights or more.
 */
@Tag("slow")
class RealOrderingsTest {
    private static RealModel model;
    private static double floats;

    @BeforeAll
    static void open() throws IOException {
        model = new RealModel();
        floats = model.perplexity("f32", () -> {});
    }

    @AfterAll
    static void close() {
        if (model != null) {
            model.close();
        }
    }

    /** Only down projections have rows of whole K blocks: 1536 is a multiple of 256, 576 is not. */
    @Test
    void storageFormats() {
        assertThatThrownBy(() -> Quantizer.format(GgufBlocks.Q4_K).apply(model.root()))
                .hasMessageContaining("rows of 576 numbers are no whole blocks of 256, which Q4_K wants");
        double q8 = down(GgufBlocks.Q8_0), q4k = down(GgufBlocks.Q4_K);
        double group = down(new GroupInt(4, 64, true)), row = down(new GroupInt(4, GroupInt.ROW, true));
        assertThat(q8).isCloseTo(floats, within(2e-3 * floats));
        assertThat(q8).isLessThan(q4k);
        assertThat(q4k).isLessThan(group);
        assertThat(group).isLessThan(row);
    }

    private static double down(QuantFormat format) {
        Quantizer q = Quantizer.format(format).except("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj");
        return model.perplexity("down projections " + format.name(), () -> q.apply(model.root()));
    }

    @ParameterizedTest
    @ValueSource(ints = {4, 3})
    void gptqAndAwqBeatRtnAndFinerGroupsCoarser(int bits) {
        Grid grid = Grid.bits(bits).groups(64);
        double tensor = rtn(Grid.bits(bits).perTensor()), row = rtn(Grid.bits(bits)), rtn = rtn(grid);
        double gptq = model.perplexity("gptq " + grid, new Gptq(grid));
        double ordered = model.perplexity("gptq act-order " + grid, new Gptq(grid).actOrdered());
        double awq = model.perplexity("awq " + grid, new Awq(grid));
        assertThat(rtn).isLessThan(row);
        assertThat(row).isLessThan(tensor);
        assertThat(gptq).isLessThan(rtn);
        assertThat(ordered).isLessThan(rtn);
        assertThat(awq).isLessThan(rtn);
    }

    private static double rtn(Grid grid) {
        return model.perplexity("rtn " + grid, new Rtn(grid));
    }

    /**
     * Compared with integers without planted outliers, not with floats: a static scale loses much on the inputs of down projections,
     * which have outliers of their own and no norm before them.
     */
    @ParameterizedTest
    @EnumSource(
            value = ActivationScale.class,
            names = {"PER_TOKEN", "STATIC"})
    void withOutlierChannelsNaiveIntegersCollapseAndSmoothOnesDoNot(ActivationScale how) {
        double plain = naive("W8A8 " + how, 1, how), naive = naive("W8A8 " + how + ", outliers, naive", 300, how);
        double smooth = model.perplexity("W8A8 " + how + ", outliers, smoothquant", () -> {
            model.plantOutliers(300);
            new SmoothQuant(0.5, Map.of(), true, false, how).apply(model.root(), model.chosen(), model::forward);
        });
        assertThat(naive).isGreaterThan(2 * plain);
        assertThat(smooth).isLessThan(1.1 * plain);
    }

    private static double naive(String name, float outliers, ActivationScale how) {
        return model.perplexity(name, () -> {
            model.plantOutliers(outliers);
            OrderingsTest.naiveIntegers(model.root(), model.chosen(), model::forward, how);
        });
    }

    @Test
    void distillationBeatsRoundingAlone() {
        double without = model.perplexity("zeroquant W4/3A8 g64", new ZeroQuant(4, 3, 64, null));
        double with =
                model.perplexity("zeroquant W4/3A8 g64, lkd", new ZeroQuant(4, 3, 64, new LayerDistillation(4, 1e-4)));
        assertThat(with).isLessThan(without);
    }

    /** QLoRA's claims hold; a symmetric int4 is nearer than FP4 too, as its 15 steps are even and those of FP4 are not. */
    @Test
    void reconstruction() {
        double nf4 = error(new Nf4(64)), nested = error(new Nf4(64, true));
        double fp4 = error(new Fp4(64, false)), int4 = error(new GroupInt(4, 64, true));
        assertThat(nf4).isLessThan(fp4);
        assertThat(nf4).isLessThan(int4);
        assertThat(int4).isLessThan(fp4);
        assertThat(nested).isCloseTo(nf4, within(0.01 * nf4));
        double plain = whole(new Nf4(64)), doubled = whole(new Nf4(64, true));
        assertThat(doubled).isCloseTo(plain, within(0.01 * plain));
        assertThat(plain).isLessThan(whole(new Fp4(64, false))).isLessThan(whole(new GroupInt(4, 64, true)));
    }

    private static double whole(QuantFormat format) {
        return model.perplexity(format.name(), () -> Quantizer.format(format).apply(model.root()));
    }

    /** Mean of |w - q| / |w| over the layers. */
    private static double error(QuantFormat format) {
        QuantReport report = Quantizer.format(format).apply(model.root());
        double mean = report.layers().stream()
                .mapToDouble(QuantReport.Layer::relativeError)
                .average()
                .orElseThrow();
        System.out.printf(Locale.ROOT, "real %-44s relative error %.5f%n", format.name(), mean);
        model.reset();
        return mean;
    }

    @Test
    void everythingIsBackAfterwards() {
        assertThat(Layers.of(model.root(), p -> true).values().stream().map(Linear::weight))
                .allMatch(w -> w.format().equals("F32"));
        assertThat(model.perplexity("f32 again", () -> {})).isEqualTo(floats);
    }
}
