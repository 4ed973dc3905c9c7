package anneal.peft;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import anneal.ArenaFixture;
import anneal.nn.Linear;
import anneal.tensor.Memory;
import anneal.tensor.Ops;
import anneal.tensor.ShapeException;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.util.Arrays;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class AdapterSetTest extends ArenaFixture {
    private TinyModel model;
    private AdapterSet set;

    @BeforeEach
    void open() {
        model = new TinyModel(arena, 2);
        set = new AdapterSet(model);
    }

    private static Lora lora(int rank, String... names) {
        return Lora.rank(rank).init(Lora.Init.RANDOM).on(names).build();
    }

    private float[] logits() {
        return AdapterContract.logits(model);
    }

    private float[] logits(String... names) {
        set.use(names);
        return logits();
    }

    /** Row i of some logits. */
    private static float[] row(float[] logits, int i) {
        return Arrays.copyOfRange(logits, i * TinyModel.V, (i + 1) * TinyModel.V);
    }

    private void addTwo() {
        set.add("a", lora(3, "q_proj", "down_proj"), 1);
        set.add("b", lora(2, "down_proj", "lm_head"), 2);
    }

    // ---------------------------------------------------------------- use

    @Test
    void eachIsWhatItIsAloneAndNoneIsTheBase() {
        float[] base = logits();
        addTwo();
        assertThat(logits()).as("added is not used yet").containsExactly(base);
        TinyModel other = new TinyModel(arena, 2);
        lora(2, "down_proj", "lm_head").attach(other, 2);
        float[] b = AdapterContract.logits(other);
        assertThat(logits("b")).containsExactly(b);
        float[] both = logits("a", "b");
        assertThat(both).isNotEqualTo(b).isNotEqualTo(logits("a"));
        AdapterContract.assertClose(logits("b", "a"), both, 1e-5); // additions commute
        assertThat(set.used()).containsExactly("b", "a");
        try (var _ = set.disabled()) {
            assertThat(logits()).containsExactly(base);
            assertThatThrownBy(() -> set.use("a"))
                    .isInstanceOf(IllegalStateException.class)
                    .hasMessage("use: a scope of disabled or rows is open; close it first");
        }
        assertThat(set.used()).containsExactly("b", "a");
        assertThat(logits("b")).containsExactly(b);
        assertThat(logits(new String[0])).containsExactly(base);
        assertThat(model.find(Linear.class).values()).allMatch(l -> l.adapter() == anneal.nn.Adapter.NONE);
    }

    @Test
    void deletedIsForgotten() {
        float[] base = logits();
        addTwo();
        float[] a = logits("a");
        set.use("a", "b");
        set.delete("b");
        assertThat(logits()).containsExactly(a);
        set.delete("a");
        assertThat(logits()).containsExactly(base);
        assertThat(set.names()).isEmpty();
        assertThatThrownBy(() -> set.use("a")).hasMessage("there are no adapters named a; there are none");
        set.add("a", lora(4, "v_proj"));
        assertThatThrownBy(() -> set.get("b")).hasMessage("there are no adapters named b; there are a");
    }

    @Test
    void swappedWhileTheModelStays() {
        addTwo();
        float[] both = logits("a", "b"), b = logits("b");
        set.get("a").save(dir.resolve("a"));
        set.get("b").save(dir.resolve("b"));
        set.use("a");
        set.replace("a", dir.resolve("b"));
        assertThat(logits()).as("a is now what b is").containsExactly(b);
        set.replace("a", dir.resolve("a"));
        assertThat(logits("a", "b")).containsExactly(both);
        assertThatThrownBy(() -> set.replace("a", dir.resolve("none"))).hasMessageContaining("adapter_config.json");
        assertThat(logits()).as("as it was").containsExactly(both);
        assertThatThrownBy(() -> set.replace("c", dir.resolve("a")))
                .hasMessage("there are no adapters named c; there are a, b");
    }

    @Test
    void onlyTheUsedAreTrained() {
        addTwo();
        set.use("b");
        try (var _ = Memory.scope()) {
            Tape.backward(Ops.sum(Ops.logSoftmax(model.forward())));
        }
        assertThat(set.get("b").parameters().values()).allMatch(Tensor::hasGrad);
        assertThat(set.get("a").parameters().values()).noneMatch(Tensor::hasGrad);
    }

    @Test
    void mergedIsUsedAndUnmergedIsTheBase() {
        float[] base = logits();
        addTwo();
        float[] both = logits("a", "b");
        set.merge();
        AdapterContract.assertClose(logits(), both, 2e-5);
        assertThatThrownBy(() -> set.use()).hasMessageContaining("merged into the weights; call unmerge first");
        assertThatThrownBy(() -> set.disabled()).hasMessageContaining("merged into the weights; call unmerge first");
        assertThatThrownBy(() -> set.get("a").unmerge())
                .as("b was merged on top")
                .hasMessageContaining("was exchanged since, perhaps by a later merge");
        set.unmerge();
        assertThat(logits()).containsExactly(both);
        assertThat(logits(new String[0])).containsExactly(base);
        assertThatThrownBy(() -> set.unmerge()).hasMessage("unmerge: the adapters are not merged");
        assertThatThrownBy(() -> set.merge()).hasMessage("merge: no adapters are in use");
        assertThatThrownBy(() -> set.get("a").merge()).hasMessage("merge: the adapters are not in the model");
    }

    @Test
    void refusesWhatWouldChangeTheBaseForAll() {
        float[] base = logits();
        Lora biased = Lora.rank(2).on("q_proj").bias(Bias.TARGETS).build();
        assertThatThrownBy(() -> set.add("a", biased))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("add: a changes model.layers.0.self_attn.q_proj.base_layer.bias of the base itself,"
                        + " which stays when it is not used; use it alone, without a set");
        assertThat(set.names()).isEmpty();
        assertThat(logits()).containsExactly(base);
        set.add("a", lora(2, "q_proj"));
        assertThatThrownBy(() -> set.add("a", lora(2, "q_proj"))).hasMessage("add: there are adapters named a already");
        assertThatThrownBy(() -> set.add("__base__", lora(2, "q_proj")))
                .hasMessage("add: \"__base__\" cannot be a name");
        assertThatThrownBy(() -> set.use("a", "a")).hasMessage("use: a, a: a name is given twice");
    }

    // ---------------------------------------------------------------- rows

    @Test
    void eachRowGoesThroughItsOwnAdapters() {
        float[] base = logits();
        addTwo();
        float[] a = logits("a"), b = logits("b");
        set.use("a");
        try (var _ = set.rows("b", "a", AdapterSet.BASE, "b", "a")) {
            float[] mixed = logits();
            float[][] expected = {row(b, 0), row(a, 1), row(base, 2), row(b, 3), row(a, 4)};
            for (int i = 0; i < expected.length; i++) {
                AdapterContract.assertClose(row(mixed, i), expected[i], 1e-5);
            }
            assertThat(row(mixed, 0)).isNotEqualTo(row(a, 0)).isNotEqualTo(row(base, 0));
            try (var _ = set.disabled()) {
                assertThat(logits()).containsExactly(base);
            }
            assertThat(logits()).containsExactly(mixed);
        }
        assertThat(logits()).containsExactly(a);
        try (var _ = set.rows("b", "b", "b", "b", "b")) {
            assertThat(logits()).containsExactly(b);
        }
    }

    @Test
    void gradientsOfRowsReachTheirOwnAdaptersOnly() {
        addTwo();
        float[] alone = gradient("a");
        try (var _ = set.rows("a", "a", "a", "a", "a")) {
            assertThat(gradientNow("a")).containsExactly(alone);
        }
        float[] parts = new float[alone.length];
        String[][] halves = {{"a", "a", "b", "b", "b"}, {"b", "b", "a", "a", "a"}};
        for (String[] half : halves) {
            try (var _ = set.rows(half)) {
                float[] part = gradientNow("a");
                for (int i = 0; i < parts.length; i++) {
                    parts[i] += part[i];
                }
            }
        }
        AdapterContract.assertClose(parts, alone, 1e-4);
    }

    private float[] gradient(String name) {
        set.use(name);
        return gradientNow(name);
    }

    private float[] gradientNow(String name) {
        Tensor p = set.get(name).parameters().get("model.layers.0.self_attn.q_proj.lora_A.weight");
        p.zeroGrad();
        try (var _ = Memory.scope()) {
            Tape.backward(Ops.sum(Ops.logSoftmax(model.forward())));
        }
        return p.grad().toArray();
    }

    @Test
    void saysWhenRowsDoNotFit() {
        addTwo();
        try (var _ = set.rows("a", "b")) {
            assertThatThrownBy(this::logits)
                    .isInstanceOf(ShapeException.class)
                    .hasMessageContaining("rows: [5, 12]")
                    .hasMessageContaining("first dim must be the rows of the batch, for 2 of which adapters are named")
                    .hasMessageContaining("(at model.layers.0.self_attn.q_proj)");
        }
        assertThatThrownBy(() -> set.rows("a", "c")).hasMessage("there are no adapters named c; there are a, b");
        assertThatThrownBy(() -> set.rows()).hasMessage("rows: name the adapters of each row of the batch");
        assertThat(logits()).as("nothing is left open").isNotNull();
        set.use("b");
    }
}
