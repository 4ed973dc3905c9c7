package anneal.peft;

import static anneal.peft.PrefixTuningTest.refused;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import anneal.ArenaFixture;
import anneal.io.Json;
import anneal.io.JsonObject;
import anneal.model.Decoder;
import anneal.model.Family;
import anneal.nn.SubLayer;
import anneal.tensor.Memory;
import anneal.tensor.Tape;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;

class BottleneckTest extends ArenaFixture {
    private Decoder model() {
        return SocketContract.model(Family.LLAMA, arena);
    }

    private static Bottleneck.Builder usual() {
        return Bottleneck.houlsby().reduction(4);
    }

    private float[] logits(Bottleneck.Builder options) {
        Decoder model = model();
        AdapterContract.disturb(options.attach(model, 5));
        return SocketContract.logits(model, 3, 7, 1);
    }

    @Test
    void everyOptionChangesSomething() {
        float[] plain = logits(usual());
        assertThat(logits(usual().name("x").base("a", "b", "c"))).containsExactly(plain);
        List<Bottleneck.Builder> others = List.of(
                usual().places(true, false),
                usual().places(false, true),
                usual().reduction(3),
                usual().nonLinearity("relu"),
                usual().input(Bottleneck.Input.SUM),
                usual().input(Bottleneck.Input.RESIDUAL),
                usual().norms(true, false),
                usual().norms(false, true),
                usual().scaling(2),
                usual().init(Bottleneck.Init.MAM_ADAPTER),
                usual().init(Bottleneck.Init.HOULSBY),
                usual().leaveOut(1));
        for (int i = 0; i < others.size(); i++) {
            assertThat(logits(others.get(i))).as("variant %d", i).isNotEqualTo(plain);
        }
    }

    @Test
    void dropoutActsInTrainingOnly() {
        Decoder model = model();
        AdapterContract.disturb(usual().dropout(0.5).attach(model, 5));
        float[] evaluated = SocketContract.logits(model, 3, 7, 1);
        assertThat(logits(usual())).containsExactly(evaluated);
        try (var _ = Memory.scope()) {
            Tape.noise().restore(1);
            assertThat(model.logits(anneal.model.Tokens.of(3, 7, 1)).toArray()).isNotEqualTo(evaluated);
        }
    }

    @Test
    void namesAreThoseOfTheLibrary() {
        assertThat(Bottleneck.pfeiffer()
                        .norms(true, true)
                        .leaveOut(0)
                        .name("task")
                        .attach(model())
                        .parameters()
                        .keySet())
                .containsExactly(
                        "model.layers.1.output_adapters.adapters.task.adapter_norm_before.weight",
                        "model.layers.1.output_adapters.adapters.task.adapter_norm_before.bias",
                        "model.layers.1.output_adapters.adapters.task.adapter_down.1.weight",
                        "model.layers.1.output_adapters.adapters.task.adapter_down.1.bias",
                        "model.layers.1.output_adapters.adapters.task.adapter_up.weight",
                        "model.layers.1.output_adapters.adapters.task.adapter_up.bias",
                        "model.layers.1.output_adapters.adapters.task.adapter_norm_after.weight",
                        "model.layers.1.output_adapters.adapters.task.adapter_norm_after.bias");
    }

    @Test
    void whatCannotBeIsSaid() {
        refused(
                () -> usual().places(false, false).build(),
                "Bottleneck: give it a place, behind attention or feedForward");
        refused(() -> usual().reduction(0).build(), "Bottleneck: reduction 0.0 must be a positive number");
        refused(() -> usual().scaling(Double.NaN).build(), "Bottleneck: scaling NaN must be a finite number");
        refused(() -> usual().dropout(1).build(), "Bottleneck: dropout 1.0 must be in [0, 1)");
        refused(
                () -> usual().name("a.b").build(),
                "Bottleneck: name \"a.b\" is a part of tensor names: not empty, and without a dot");
        refused(
                () -> usual().nonLinearity("leakyrelu").build(),
                "there is no activation function \"leakyrelu\"; there are gelu, gelu_fast, gelu_new, gelu_pytorch_tanh,"
                        + " relu, sigmoid, silu, swish, tanh");
        refused(() -> usual().leaveOut(2).attach(model()), "Bottleneck: leaveOut names block 2, there are 0 to 1");
        refused(
                () -> usual().leaveOut(0, 1).attach(model()),
                "Bottleneck: no block is left, leaveOut is [0, 1] of 2 blocks");
        refused(
                () -> usual().attach(new TinyModel(arena, 1)),
                "Bottleneck: the model has 0 attention layers and 0 feed-forward networks; it must have blocks with"
                        + " one of each");
        Decoder model = model();
        model.feedForward(1).before((h, x) -> h);
        refused(
                () -> usual().attach(model),
                "attach: something is plugged into the output of model.layers.1.mlp already");
        assertThat(model.attention(0).before()).isSameAs(SubLayer.Hook.NONE);
    }

    @Test
    void optionsThatWouldChangeTheNumbersAreRefused() {
        usual().withHead().attach(model()).save(dir);
        for (var e : Map.of("use_gating", true, "phm_layer", true, "stochastic_depth", 0.5, "inv_adapter", "nice")
                .entrySet()) {
            Object before = change(e.getKey(), e.getValue());
            assertThatThrownBy(() -> Adapters.load(model(), dir))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageEndingWith("config: not supported, and the numbers would differ without: " + e.getKey());
            change(e.getKey(), before);
        }
        Object before = change("scaling", "learned");
        assertThatThrownBy(() -> Adapters.load(model(), dir))
                .hasMessageEndingWith("key \"scaling\" must be a number (one for each layer, or a learnt one, is not"
                        + " supported) but is the string \"learned\"");
        change("scaling", before);
        Decoder other = model();
        other.head().weight().parameter().orElseThrow().set(new float[19 * 24]);
        assertThatThrownBy(() -> Adapters.load(other, dir))
                .hasMessageContaining("lm_head.weight is not the model's own ([19, 24])");
        assertThat(other.attention(0).before()).isSameAs(SubLayer.Hook.NONE);
        assertThat(Adapters.load(model(), dir).paths()).hasSize(4);
    }

    private Object change(String key, Object value) {
        Path file = dir.resolve("adapter_config.json");
        JsonObject o = Json.read(file);
        Map<String, Object> all = new TreeMap<>(o.map()),
                config = new TreeMap<>(o.object("config").map());
        Object before = config.put(key, value);
        all.put("config", config);
        Json.write(file, all);
        return before;
    }
}
