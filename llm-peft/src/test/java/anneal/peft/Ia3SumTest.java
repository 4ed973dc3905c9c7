package anneal.peft;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import anneal.ArenaFixture;
import anneal.peft.Combination.Kind;
import java.util.LinkedHashMap;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Weighted sums of IA3 adapters. */
class Ia3SumTest extends ArenaFixture {
    private static final String K = "model.layers.0.self_attn.v_proj.ia3_l",
            DOWN = "model.layers.1.mlp.down_proj.ia3_l";

    private TinyModel model;
    private AdapterSet set;

    @BeforeEach
    void open() {
        model = new TinyModel(arena, 2);
        set = new AdapterSet(model);
        set.add(
                "both",
                Ia3.at("v_proj", "down_proj").feedForward("down_proj").random().build(),
                1);
        set.add("keys", Ia3.at("v_proj").random().build(), 2);
    }

    private float[] numbers(String adapter, String name) {
        return set.get(adapter).parameters().get(name).toArray();
    }

    private float[] logits(String name) {
        set.use(name);
        return AdapterContract.logits(model);
    }

    @Test
    void oneAdapterWithWeightOneIsThatAdapter() {
        for (String name : new String[] {"both", "keys"}) {
            set.combine("copy of " + name, Combination.of(Kind.LINEAR), Map.of(name, 1.0));
            assertThat(logits("copy of " + name)).containsExactly(logits(name));
        }
    }

    @Test
    void factorsAreSummedAndAreOneWhereThereAreNone() {
        set.combine("sum", Combination.of(Kind.LINEAR), Map.of("both", 0.25, "keys", 0.75));
        float[] k = numbers("sum", K), a = numbers("both", K), b = numbers("keys", K);
        for (int i = 0; i < k.length; i++) {
            assertThat(k[i]).isEqualTo((float) (0.25 * a[i] + 0.75 * b[i]));
        }
        float[] down = numbers("sum", DOWN), one = numbers("both", DOWN);
        for (int i = 0; i < down.length; i++) {
            assertThat(down[i]).isEqualTo((float) (0.25 * one[i] + 0.75));
        }
    }

    @Test
    void refusesWhatHasNoSum() {
        assertThatThrownBy(() -> set.combine("x", Combination.of(Kind.SVD), Map.of("both", 1.0)))
                .hasMessage("combine: IA3 adapters have one weighted sum, LINEAR, not SVD");
        set.add("lora", Lora.rank(2).on("q_proj").build(), 3);
        Map<String, Double> mixed = new LinkedHashMap<>(Map.of("both", 1.0));
        mixed.put("lora", 1.0);
        assertThatThrownBy(() -> set.combine("x", Combination.of(Kind.LINEAR), mixed))
                .hasMessage("combine: lora is Lora; only IA3 adapters can be combined with IA3");
        set.add("outputs", Ia3.at("down_proj").build(), 4);
        assertThatThrownBy(() -> set.combine("x", Combination.of(Kind.LINEAR), Map.of("both", 1.0, "outputs", 1.0)))
                .hasMessage("combine: both scales the input of model.layers.0.mlp.down_proj and outputs its output:"
                        + " the two cannot be added");
    }
}
