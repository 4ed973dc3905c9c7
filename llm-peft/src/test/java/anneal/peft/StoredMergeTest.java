package anneal.peft;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import anneal.ArenaFixture;
import anneal.kernels.Matrix;
import anneal.nn.DenseWeight;
import anneal.nn.Linear;
import anneal.nn.StoredWeight;
import anneal.nn.TransposedWeight;
import anneal.nn.Weight;
import anneal.tensor.DType;
import anneal.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Merging into the storage that a layer has. */
class StoredMergeTest extends ArenaFixture {
    private TinyModel model;
    private Supplier<Tensor> probe;

    @BeforeEach
    void open() {
        model = new TinyModel(arena, 2);
        probe = model::forward;
    }

    /** All layers, stored as they lie, in this type. */
    private void store(DType type) {
        model.find(Linear.class).values().forEach(linear -> {
            Matrix numbers = linear.weight().matrix();
            Weight form = new StoredWeight(
                    type.matrix(
                            arena.allocate(type.bytes((long) linear.out() * linear.in())), linear.out(), linear.in()),
                    type);
            linear.weight(form.like(numbers, arena).orElseThrow());
        });
    }

    private Adapters adapters(double size) {
        Adapters adapters = Lora.rank(3)
                .alpha(3 * size)
                .init(Lora.Init.RANDOM)
                .on(Targets.ALL_LINEAR)
                .attach(model);
        return adapters;
    }

    @ParameterizedTest
    @EnumSource(names = {"F32", "F16", "BF16"})
    void everyLayerKeepsItsFormat(DType type) {
        store(type);
        float[] base = AdapterContract.logits(model);
        Adapters adapters = adapters(1);
        float[] applied = AdapterContract.logits(model);
        List<String> told = new ArrayList<>();
        MergeReport report =
                adapters.merge(probe, 0.3, (path, done, total) -> told.add(path + " " + done + "/" + total));
        assertThat(told).hasSize(8).last().isEqualTo(report.layers().getLast().path() + " 8/8");
        model.find(Linear.class)
                .values()
                .forEach(l -> assertThat(l.weight().format()).isEqualTo(type.name()));
        assertThat(report.layers()).hasSize(8).noneMatch(MergeReport.Layer::widened);
        assertThat(report.erased()).isEmpty();
        assertThat(report.warning()).isEmpty();
        double most = 0, effect = 0;
        float[] merged = AdapterContract.logits(model);
        for (int i = 0; i < merged.length; i++) {
            most = Math.max(most, Math.abs((double) merged[i] - applied[i]));
            effect = Math.max(effect, Math.abs((double) applied[i] - base[i]));
        }
        assertThat(report.difference()).isEqualTo(most);
        assertThat(report.effect()).isEqualTo(effect);
        double rounding = report.layers().stream()
                .mapToDouble(MergeReport.Layer::error)
                .max()
                .orElseThrow();
        assertThat(rounding).isLessThan(type == DType.BF16 ? 0.02 : type == DType.F16 ? 0.002 : 1e-9);
        assertThat(report.toString()).contains("merged 8 layers").contains("q_proj " + type.name() + ": rounding is");
        adapters.unmerge();
        assertThat(AdapterContract.logits(model)).containsExactly(applied);
        adapters.detach();
        assertThat(AdapterContract.logits(model)).containsExactly(base);
    }

    @Test
    void aMixtureOfStoragesStaysThatMixture() {
        Class<?>[] before = classes();
        Adapters adapters = adapters(1);
        assertThat(adapters.merge(probe, 1e-3).difference()).isLessThan(1e-4);
        assertThat(classes())
                .containsExactly(before)
                .contains(StoredWeight.class, DenseWeight.class, TransposedWeight.class);
    }

    private Class<?>[] classes() {
        return model.find(Linear.class).values().stream()
                .map(l -> l.weight().getClass())
                .toArray(Class<?>[]::new);
    }

    @Test
    void aFormatThatErasesTheUpdateIsNamed() {
        store(DType.BF16);
        MergeReport report = adapters(1e-4).merge(probe, 1);
        assertThat(report.erased()).as("updates far below a step of bf16").hasSize(8);
        assertThat(report.difference()).isGreaterThan(0.5 * report.effect());
        assertThat(report.warning())
                .get()
                .asString()
                .matches("merge: the storage erases the update of 8 of 8 layers; rounding in parts of it: "
                        + "model\\.layers\\.0\\.\\S+ in BF16 \\(\\d+\\.\\d\\d\\), .* and 5 more");
    }

    @Test
    void aboveTheBoundNothingIsMerged() {
        store(DType.BF16);
        Adapters adapters = adapters(1);
        float[] applied = AdapterContract.logits(model);
        assertThatThrownBy(() -> adapters.merge(probe, 1e-6))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageMatching(
                        "merge: in the storage of the layers a logit of the probe differs by \\S+, above the"
                                + " bound of 1.00e-06; nothing was merged. merge\\(\\) makes floats and loses nothing");
        assertThat(adapters.merged()).isFalse();
        assertThat(AdapterContract.logits(model)).containsExactly(applied);
        assertThatThrownBy(() -> adapters.merge(probe, Double.NaN)).hasMessageContaining("above the bound of NaN");
    }

    @Test
    void whatCannotBeWrittenBecomesFloats() {
        Linear q = model.find(Linear.class).get("model.layers.0.self_attn.q_proj");
        q.weight(new StoredWeight(DType.F64.matrix(arena.allocate(8L * 12 * 12), 12, 12), DType.F64));
        Adapters adapters = Lora.rank(2).init(Lora.Init.RANDOM).on("q_proj").attach(model);
        MergeReport report = adapters.merge(probe, 1e-3);
        assertThat(report.layers().getFirst().widened()).isTrue();
        assertThat(report.layers().getLast().widened()).isFalse();
        assertThat(q.weight().format()).isEqualTo("F32");
        assertThat(report.toString()).contains("q_proj F64 -> F32: rounding is 0.00 of the update");
    }
}
