package anneal.peft;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import anneal.ArenaFixture;
import anneal.nn.Linear;
import anneal.tensor.Tensor;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class ExtractionTest extends ArenaFixture {
    private TinyModel base;
    private TinyModel tuned;

    @BeforeEach
    void open() {
        base = new TinyModel(arena, 2);
        tuned = new TinyModel(arena, 2);
    }

    /** Adds an update of rank 3 to these layers of the tuned model. */
    private float[] tune(String... names) {
        Lora.rank(3).alpha(6).init(Lora.Init.RANDOM).on(names).attach(tuned, 4).merge();
        return AdapterContract.logits(tuned);
    }

    @Test
    void anUpdateOfLowRankIsFoundWithItsRank() {
        float[] expected = tune("q_proj", "down_proj");
        Extraction.Result result = Extraction.energy(0.999_999).of(base, tuned);
        AdapterContract.assertClose(AdapterContract.logits(base), expected, 1e-4);
        assertThat(result.layers()).hasSize(8);
        for (Extraction.Layer layer : result.layers()) {
            boolean changed = layer.path().endsWith("q_proj") || layer.path().endsWith("down_proj");
            assertThat(layer.rank()).as(layer.path()).isEqualTo(changed ? 3 : 0);
            assertThat(layer.energy()).isCloseTo(1, within(1e-5));
        }
        assertThat(result.left()).isEmpty();
        result.adapters().save(dir.resolve("x"));
        TinyModel other = new TinyModel(arena, 2);
        Adapters.load(other, dir.resolve("x"));
        assertThat(AdapterContract.logits(other)).containsExactly(AdapterContract.logits(base));
    }

    /** The error is what the left-out singular values say, and falls with the rank. */
    @Test
    void qualityIsReportedForEachLayer() {
        tune("q_proj");
        double before = 1;
        for (int r = 1; r <= 3; r++) {
            Extraction.Result result =
                    Extraction.rank(r).on(Targets.named("q_proj")).of(new TinyModel(arena, 2), tuned);
            Extraction.Layer layer = result.layers().getFirst();
            assertThat(layer.rank()).isEqualTo(r);
            assertThat(layer.error())
                    .isCloseTo(Math.sqrt(Math.max(0, 1 - layer.energy())), within(1e-9))
                    .isLessThan(before);
            before = layer.error();
        }
        assertThat(before).isLessThan(1e-5);
        assertThat(Extraction.rank(1).of(base, tuned).toString())
                .contains("model.layers.0.self_attn.q_proj: rank 1 keeps 0.")
                .contains("model.layers.0.self_attn.v_proj: rank 0 keeps 1.0000");
    }

    @Test
    void namesWhatIsNotInTheAdapter() {
        tune("q_proj", "lm_head");
        Tensor bias = tuned.find(Linear.class).get("model.layers.1.mlp.up_proj").bias();
        float[] values = bias.toArray();
        values[3] += 1;
        bias.set(values);
        Extraction.Result result = Extraction.rank(3).of(base, tuned);
        assertThat(result.left()).containsExactly("lm_head.weight", "model.layers.1.mlp.up_proj.bias");
        assertThat(result.toString())
                .contains("not in the adapter, though different: lm_head.weight, model.layers.1.mlp.up_proj.bias");
    }

    @Test
    void refusesModelsThatDoNotFit() {
        assertThatThrownBy(() -> Extraction.rank(2).of(base, tuned))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("extract: the models are equal in every layer that was asked for");
        assertThatThrownBy(() -> Extraction.rank(2).of(base, new TinyModel(arena, 1)))
                .hasMessageStartingWith("extract: the tuned model is not of the base's shape: model.layers.1.")
                .hasMessageContaining("is missing");
        assertThatThrownBy(() -> Extraction.rank(0)).hasMessage("Extraction: rank 0 must be at least 1");
        assertThatThrownBy(() -> Extraction.energy(1.5)).hasMessage("Extraction: energy 1.5 must be in (0, 1]");
    }
}
