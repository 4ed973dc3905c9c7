package anneal.peft;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import anneal.ArenaFixture;
import anneal.io.Json;
import anneal.nn.Linear;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Modules that are trained and saved whole, beside every method for which PEFT has them. */
class WholeModulesTest extends ArenaFixture {
    private static SavingBuilder<?> method(String name) {
        return switch (name) {
            case "lora" -> Lora.rank(2).on("q_proj");
            case "adalora" -> AdaLora.rank(2).on("q_proj");
            case "ia3" -> Ia3.at("q_proj");
            case "loha" -> LoHa.rank(2).on("q_proj");
            case "lokr" -> LoKr.rank(2).on("q_proj");
            case "vera" -> Vera.rank(2).on("q_proj");
            default -> LnTuning.at("norm");
        };
    }

    @ParameterizedTest
    @ValueSource(strings = {"lora", "adalora", "ia3", "loha", "lokr", "vera", "ln-tuning"})
    void areTrainedSavedMergedAndTakenOut(String name) {
        TinyModel model = new TinyModel(arena, 1);
        float[] base = AdapterContract.logits(model);
        Adapters adapters = method(name).save("lm_head", "up_proj").attach(model);
        assertThat(adapters.parameters())
                .containsKeys("lm_head.weight", "model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.up_proj.bias");
        AdapterContract.assertClose(AdapterContract.logits(model), base, 1e-6);
        AdapterContract.disturb(adapters);
        float[] adapted = AdapterContract.logits(model);
        try (var _ = adapters.disabled()) {
            assertThat(AdapterContract.logits(model)).containsExactly(base);
        }
        adapters.save(dir);
        assertThat(Json.read(dir.resolve("adapter_config.json")).strings("modules_to_save"))
                .containsExactly("lm_head", "up_proj");
        TinyModel other = new TinyModel(arena, 1);
        assertThat(Adapters.load(other, dir).method().modulesToSave()).containsExactly("lm_head", "up_proj");
        assertThat(AdapterContract.logits(other)).containsExactly(adapted);
        assertThat(adapters.merge(model::forward, 1e-4).layers())
                .extracting(MergeReport.Layer::path)
                .contains("lm_head", "model.layers.0.mlp.up_proj");
        AdapterContract.assertClose(AdapterContract.logits(model), adapted, 1e-4);
        adapters.unmerge();
        assertThat(AdapterContract.logits(model)).containsExactly(adapted);
        adapters.detach();
        assertThat(AdapterContract.logits(model)).containsExactly(base);
    }

    @Test
    void biasesBesideVeraStayWhenItIsOut() {
        TinyModel model = new TinyModel(arena, 1);
        Adapters adapters =
                Vera.rank(2).on("q_proj", "up_proj").bias(Bias.TARGETS).attach(model);
        assertThat(adapters.parameters())
                .containsKeys(
                        "model.layers.0.self_attn.q_proj.base_layer.bias",
                        "model.layers.0.mlp.up_proj.base_layer.bias");
        AdapterContract.disturb(adapters);
        float[] adapted = AdapterContract.logits(model);
        adapters.save(dir);
        TinyModel other = new TinyModel(arena, 1);
        Adapters again = Adapters.load(other, dir);
        assertThat(((Vera) again.method()).bias()).isEqualTo(Bias.TARGETS);
        assertThat(AdapterContract.logits(other)).containsExactly(adapted);
        again.detach();
        assertThat(other.find(Linear.class)
                        .get("model.layers.0.mlp.up_proj")
                        .bias()
                        .toArray())
                .containsExactly(adapters.parameters()
                        .get("model.layers.0.mlp.up_proj.base_layer.bias")
                        .toArray());
        assertThat(Vera.rank(2)
                        .on("q_proj")
                        .bias(Bias.ALL)
                        .attach(new TinyModel(arena, 1))
                        .parameters()
                        .keySet())
                .contains("model.layers.0.self_attn.q_proj.base_layer.bias", "model.layers.0.mlp.up_proj.bias");
    }

    @Test
    void twoAdaptersThatTrainTheSameModuleAreNotUsedTogether() {
        TinyModel model = new TinyModel(arena, 1);
        AdapterSet set = new AdapterSet(model);
        set.add("a", Lora.rank(2).on("q_proj").save("lm_head").build(), 0);
        set.add("b", Lora.rank(2).on("v_proj").save("lm_head").build(), 0);
        assertThatThrownBy(() -> set.use("a", "b"))
                .hasMessage("use: a and b each have a lm_head of their own; use one of them");
    }
}
