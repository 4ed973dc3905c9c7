package anneal.peft;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import anneal.ArenaFixture;
import anneal.io.Json;
import anneal.nn.DenseWeight;
import anneal.nn.Embedding;
import anneal.nn.Linear;
import anneal.nn.Module;
import anneal.tensor.Tensor;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;

/** Options and refusals of LN tuning, BitFit, the last layers and trainable tokens. */
class CopyMethodsTest extends ArenaFixture {
    private TinyModel model() {
        return new TinyModel(arena, 2);
    }

    private static final class NoBias extends Module {
        NoBias() {
            child("q_proj", new Linear(new DenseWeight(Tensor.zeros(2, 2)), null));
        }
    }

    @Test
    void trainsWhatIsAskedForAndNothingElse() {
        assertThat(names(LnTuning.everywhere()))
                .containsExactly(
                        "model.layers.0.input_layernorm.ln_tuning_layers.weight",
                        "model.layers.1.input_layernorm.ln_tuning_layers.weight",
                        "model.norm.ln_tuning_layers.weight",
                        "model.norm.ln_tuning_layers.bias");
        assertThat(names(LnTuning.at("input_layernorm").layers(1).build()))
                .containsExactly("model.layers.1.input_layernorm.ln_tuning_layers.weight");
        assertThat(names(BitFit.everywhere()))
                .containsExactly(
                        "model.layers.0.self_attn.q_proj.bias",
                        "model.layers.0.mlp.up_proj.bias",
                        "model.layers.1.self_attn.q_proj.bias",
                        "model.layers.1.mlp.up_proj.bias",
                        "model.norm.bias");
        assertThat(names(BitFit.at("up_proj", "norm").build()))
                .containsExactly(
                        "model.layers.0.mlp.up_proj.bias", "model.layers.1.mlp.up_proj.bias", "model.norm.bias");
        assertThat(names(LastLayers.of(1)))
                .containsExactly(
                        "model.layers.1.self_attn.q_proj.weight",
                        "model.layers.1.self_attn.q_proj.bias",
                        "model.layers.1.self_attn.v_proj.weight",
                        "model.layers.1.mlp.up_proj.weight",
                        "model.layers.1.mlp.up_proj.bias",
                        "model.layers.1.mlp.down_proj.weight",
                        "model.layers.1.input_layernorm.weight");
        assertThat(names(LastLayers.of(2))).hasSize(14).noneMatch(n -> n.startsWith("lm_head"));
        assertThat(names(LastLayers.of(2).andHead())).hasSize(17).contains("lm_head.weight", "model.norm.bias");
        assertThat(names(TrainableTokens.of(3))).containsExactly("model.embed_tokens.trainable_tokens_delta");
    }

    private Set<String> names(Method method) {
        return method.attach(model()).parameters().keySet();
    }

    @Test
    void onlyTheNamedTokensMove() {
        TinyModel m = model();
        Adapters adapters = TrainableTokens.of(0).attach(m);
        float[] base = AdapterContract.logits(m);
        AdapterContract.disturb(adapters);
        float[] changed = AdapterContract.logits(m);
        int v = TinyModel.V;
        for (int row = 0; row < 5; row++) { // the model reads 3, 0, 8, 3, 5
            boolean same = Arrays.equals(base, row * v, row * v + v, changed, row * v, row * v + v);
            assertThat(same).as("row %d", row).isEqualTo(row != 1);
        }
        TinyModel other = model();
        new TrainableTokens(List.of(0), null, true, null).attach(other);
        assertThat(AdapterContract.logits(other)).isNotEqualTo(base);
    }

    @Test
    void tiedTokensAreOneMatrixAfterMerging() {
        TinyModel m = new TinyModel(arena, 2, true);
        Adapters adapters = TrainableTokens.of(5, 3).attach(m);
        adapters.save(dir);
        assertThat(Json.read(dir.resolve("adapter_config.json")).map().get("target_modules"))
                .isEqualTo("model.embed_tokens");
        adapters.merge();
        assertThat(m.find(Linear.class).get("lm_head").weight())
                .isSameAs(m.find(Embedding.class).get("model.embed_tokens").weight());
        adapters.unmerge();
        assertThat(Adapters.load(new TinyModel(arena, 2, true), dir).paths()).containsExactly("model.embed_tokens");
        assertThatThrownBy(() -> Adapters.load(model(), dir)) // not tied: the second name has no place
                .hasMessageContaining("base_model.model.lm_head.trainable_tokens_delta [2, 12] has no place");
    }

    @Test
    void saysWhatCannotBeTrained() {
        refused(
                () -> BitFit.everywhere().attach(new NoBias()),
                "BitFit: the model has no biases to train, as those of the LLaMA family have none; LnTuning trains about as few"
                        + " parameters");
        refused(
                () -> BitFit.at("up_proj", "v_proj").attach(model()),
                "BitFit: no module with a bias fits v_proj; there are norm, q_proj, up_proj");
        refused(() -> BitFit.at("x").onMatching("nothing").build().attach(model()), BOTH);
        refused(() -> LnTuning.everywhere().attach(new NoBias()), "LnTuning: the model has no norms");
        refused(
                () -> LnTuning.at("ln_1").attach(model()),
                "targets: no norm fits ln_1; there are input_layernorm, norm");
        refused(() -> LastLayers.of(0), "LastLayers: count 0 must be at least 1");
        refused(() -> LastLayers.of(3).attach(model()), "LastLayers: count 3 is more than the model's 2 blocks");
        refused(
                () -> LastLayers.of(1).andHead().attach(new TinyModel(arena, 2, true)),
                "LastLayers: lm_head is the same matrix as model.embed_tokens, which is frozen; train the blocks alone");
        refused(() -> TrainableTokens.of(), "TrainableTokens: give the ids of the tokens to train");
        refused(() -> TrainableTokens.of(1, 1), "TrainableTokens: ids [1, 1] must be different");
        refused(
                () -> TrainableTokens.of(1, 9).attach(model()),
                "TrainableTokens: id 9 is outside the 9 tokens of model.embed_tokens");
        refused(
                () -> TrainableTokens.of(1).attach(new NoBias()),
                "TrainableTokens: there must be one embedding to change, not []");
        refused(
                () -> new TrainableTokens(List.of(1), Targets.named("wte"), false, null).attach(model()),
                "targets: no embedding fits wte; there are embed_tokens");
    }

    @Test
    void aSecondCopyOfOneModuleIsRefused() {
        TinyModel m = model();
        LnTuning.everywhere().attach(m);
        refused(
                () -> LnTuning.at("norm").attach(m),
                "attach: model.norm already has an adapter; several adapters in one model are an AdapterSet");
    }

    private static final String BOTH =
            "Targets: give layer names or a regular expression, for example on(\"all-linear\") or on(\"q_proj\", \"v_proj\")";
}
