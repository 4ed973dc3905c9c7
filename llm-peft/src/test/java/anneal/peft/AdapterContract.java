package anneal.peft;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import anneal.nn.Linear;
import anneal.nn.Module;
import anneal.tensor.Memory;
import anneal.tensor.Ops;
import anneal.tensor.Rng;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What adapters of every method must do; a new method is a subclass of a few getters. */
abstract class AdapterContract {
    /** Fresh adapters on the model. */
    abstract Adapters attach(Module root);

    /** True if trained biases of the base stay when the adapters are disabled. */
    boolean biasesStay() {
        return false;
    }

    /** True if base and fresh adapter are the model up to rounding only, because the adapter gave layers another matrix. */
    boolean changesBase() {
        return false;
    }

    /** True if the method's gradient of this parameter is meant to be the derivative: not if something counts as constant. */
    boolean isDerivative(String parameter) {
        return true;
    }

    /** True if a whole layer's adapter may be left out while training; then its parameters get no gradient. */
    boolean dropsModules() {
        return false;
    }

    @TempDir
    Path dir;

    private Arena arena;
    TinyModel model;

    @BeforeEach
    void open() {
        arena = Arena.ofShared();
        model = another();
    }

    @AfterEach
    void close() {
        Tape.clear();
        arena.close();
    }

    /** A model to attach to; the same each time. */
    TinyModel model(Arena memory) {
        return new TinyModel(memory, 2);
    }

    final TinyModel another() {
        return model(arena);
    }

    static float[] logits(TinyModel m) {
        try (var _ = Memory.scope();
                var _ = Tape.pause()) {
            return m.forward().toArray();
        }
    }

    /** What training would do: no parameter keeps its fresh value. */
    static void disturb(Adapters adapters) {
        Rng rng = new Rng(9);
        adapters.parameters().values().forEach(p -> {
            float[] values = p.toArray();
            for (int i = 0; i < values.length; i++) {
                values[i] += (float) (0.1 * rng.nextGaussian());
            }
            p.set(values);
        });
    }

    static void assertClose(float[] actual, float[] expected, double tolerance) {
        assertThat(actual).hasSameSizeAs(expected);
        for (int i = 0; i < expected.length; i++) {
            assertThat((double) actual[i])
                    .as("[%d]", i)
                    .isCloseTo(expected[i], within(tolerance * (1 + Math.abs(expected[i]))));
        }
    }

    @Test
    void freshChangesNothing() {
        float[] base = logits(model);
        Adapters adapters = attach(model);
        assertThat(adapters.parameters()).isNotEmpty();
        if (changesBase()) {
            assertClose(logits(model), base, 5e-6);
        } else {
            assertThat(logits(model)).containsExactly(base);
        }
        disturb(adapters);
        assertThat(logits(model)).isNotEqualTo(base);
    }

    @Test
    void disabledIsTheBaseBitForBit() {
        float[] base = logits(model);
        Adapters adapters = attach(model);
        disturb(adapters);
        float[] adapted = logits(model);
        try (var _ = adapters.disabled()) {
            try (var _ = adapters.disabled()) {
                if (biasesStay()) {
                    assertThat(logits(model)).isNotEqualTo(base).isNotEqualTo(adapted);
                } else {
                    assertThat(logits(model)).containsExactly(base);
                }
            }
            assertThat(logits(model)).isNotEqualTo(adapted);
        }
        assertThat(logits(model)).containsExactly(adapted);
        adapters.detach();
        assertThat(logits(model)).isNotEqualTo(adapted);
    }

    @Test
    void mergedIsApplied() {
        Adapters adapters = attach(model);
        disturb(adapters);
        float[] adapted = logits(model);
        adapters.merge();
        assertThat(adapters.merged()).isTrue();
        assertClose(logits(model), adapted, 2e-5);
        model.find(Linear.class).forEach((path, linear) -> {
            if (adapters.paths().contains(path)) {
                assertThat(linear.weight().format()).isEqualTo("F32");
                assertThat(linear.weight().parameter()).as(path).isPresent();
            }
        });
        adapters.unmerge();
        assertThat(logits(model)).containsExactly(adapted);
    }

    @Test
    void refusesWhatCannotBeDoneNow() {
        Adapters adapters = attach(model);
        assertThatThrownBy(adapters::unmerge).hasMessage("unmerge: the adapters are not merged");
        try (var _ = adapters.disabled()) {
            assertThatThrownBy(adapters::merge).hasMessage("merge: the adapters are disabled");
        }
        adapters.merge();
        assertThatThrownBy(adapters::merge).hasMessage("merge: the adapters are merged already");
        assertThatThrownBy(adapters::disabled)
                .hasMessage("disabled: the adapters are merged into the weights; call unmerge first");
        adapters.unmerge();
        assertThatThrownBy(() -> attach(model))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("attach: " + adapters.paths().getFirst()
                        + " already has an adapter; several adapters in one model are an AdapterSet");
    }

    @Test
    void savedIsLoadedBitForBit() throws IOException {
        Adapters adapters = attach(model);
        disturb(adapters);
        adapters.save(dir.resolve("a"));
        TinyModel other = another();
        Adapters loaded = Adapters.load(other, dir.resolve("a"));
        assertThat(logits(other)).containsExactly(logits(model));
        assertThat(loaded.parameters().keySet()).isEqualTo(adapters.parameters().keySet());
        assertThat(other.parameters().values()).noneMatch(Tensor::tracked);
        loaded.save(dir.resolve("b"));
        for (String name : new String[] {"adapter_config.json", "adapter_model.safetensors"}) {
            assertThat(Files.readAllBytes(dir.resolve("b").resolve(name)))
                    .as(name)
                    .containsExactly(Files.readAllBytes(dir.resolve("a").resolve(name)));
        }
    }

    @Test
    void onlyTheAdapterIsTrainedAndItsGradientIsRight() {
        Adapters adapters = attach(model);
        disturb(adapters);
        try (var _ = Memory.scope()) {
            Tape.backward(objective());
        }
        Map<String, Tensor> base = new LinkedHashMap<>(model.parameters());
        base.values().removeAll(adapters.parameters().values());
        assertThat(base.values()).noneMatch(Tensor::tracked).noneMatch(Tensor::hasGrad);
        adapters.parameters().forEach((name, p) -> {
            assertThat(p.hasGrad() || dropsModules()).as(name).isTrue();
            for (long i = 0; i < p.size(); i += Math.max(1, p.size() / 7)) {
                if (!isDerivative(name)) {
                    continue;
                }
                double numeric = (objectiveWith(p, i, 1e-3f) - objectiveWith(p, i, -1e-3f)) / 2e-3;
                double analytic = p.grad().get(i);
                assertThat(analytic).as("%s[%d]", name, i).isCloseTo(numeric, within(0.2 + 2e-2 * Math.abs(numeric)));
            }
        });
    }

    /** With the same dropout mask each time. */
    private Tensor objective() {
        Tape.noise().restore(4);
        return Ops.sum(Ops.logSoftmax(model.forward()));
    }

    private double objectiveWith(Tensor p, long i, float change) {
        float[] before = p.toArray(), values = before.clone();
        values[(int) i] += change;
        p.set(values);
        try (var _ = Memory.scope()) {
            return objective().item();
        } finally {
            Tape.clear();
            p.set(before);
        }
    }
}
