package anneal.peft;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import anneal.ArenaFixture;
import anneal.io.Json;
import anneal.io.JsonObject;
import anneal.tensor.Memory;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;

class LoraTest extends ArenaFixture {
    private TinyModel model() {
        return new TinyModel(arena, 3);
    }

    private static Lora.Builder random() {
        return Lora.rank(4).alpha(8).init(Lora.Init.RANDOM).on("q_proj", "down_proj");
    }

    private float[] logits(Lora.Builder options) {
        TinyModel m = model();
        options.attach(m, 5);
        return AdapterContract.logits(m);
    }

    // ---------------------------------------------------------------- options

    @Test
    void everyOptionChangesSomething() {
        float[] plain = logits(random());
        assertThat(logits(random())).containsExactly(plain);
        List<Lora.Builder> others = List.of(
                Lora.rank(5).alpha(8).init(Lora.Init.RANDOM).on("q_proj", "down_proj"),
                random().alpha(9),
                random().rsLora(),
                random().on("q_proj"),
                random().on("q_proj", "down_proj", "lm_head"),
                random().except("model.layers.1.mlp.down_proj"),
                random().layers(0, 2),
                random().rankOf("down_proj", 2),
                random().alphaOf("model.layers.2.self_attn.q_proj", 1),
                random().init(Lora.Init.KAIMING));
        for (int i = 0; i < others.size(); i++) {
            assertThat(logits(others.get(i))).as("variant %d", i).isNotEqualTo(plain);
        }
        TinyModel m = model();
        assertThat(random().bias(Bias.TARGETS).attach(m).parameters().keySet())
                .filteredOn(name -> name.endsWith("bias"))
                .containsExactly(
                        "model.layers.0.self_attn.q_proj.base_layer.bias",
                        "model.layers.1.self_attn.q_proj.base_layer.bias",
                        "model.layers.2.self_attn.q_proj.base_layer.bias");
        assertThat(random().bias(Bias.ALL).attach(model()).parameters().keySet())
                .filteredOn(name -> name.endsWith("bias"))
                .hasSize(7);
    }

    @Test
    void dropoutActsOnTheAdapterOnlyAndOnlyInTraining() {
        TinyModel m = model();
        Adapters adapters = random().dropout(0.5).attach(m);
        float[] evaluated = AdapterContract.logits(m);
        try (var _ = Memory.scope()) {
            Tape.noise().restore(1);
            assertThat(m.forward().toArray()).isNotEqualTo(evaluated);
        }
        try (var _ = adapters.disabled();
                var _ = Memory.scope()) {
            float[] base = AdapterContract.logits(m);
            assertThat(m.forward().toArray()).containsExactly(base);
        }
    }

    @Test
    void theScalingIsAlphaByRankOrByItsRoot() {
        Lora lora =
                random().alphaOf("down_proj", 6).rankOf("1.mlp.down_proj", 9).build();
        assertThat(lora.scaling("model.layers.0.self_attn.q_proj")).isEqualTo(2);
        assertThat(lora.scaling("model.layers.0.mlp.down_proj")).isEqualTo(1.5);
        assertThat(lora.scaling("model.layers.1.mlp.down_proj")).isEqualTo(6 / 9.0);
        assertThat(random().rsLora().build().scaling("x")).isEqualTo(4);
    }

    @Test
    void aPatternFitsTheEndOfAPathAndTheFirstOneCounts() {
        Lora lora = random().rankOf("mlp.down_proj", 7)
                .rankOf("down_proj", 6)
                .rankOf(".*q_proj", 3)
                .build();
        assertThat(lora.rank("model.layers.0.mlp.down_proj")).isEqualTo(7);
        assertThat(lora.rank("model.layers.0.other.down_proj")).isEqualTo(6);
        assertThat(lora.rank("model.layers.0.my_down_proj"))
                .as("a part of a name is none")
                .isEqualTo(4);
        assertThat(lora.rank("model.layers.0.self_attn.q_proj")).isEqualTo(3);
    }

    @Test
    void startsAsPeftDoes() {
        Adapters kaiming = Lora.rank(12).on("q_proj").attach(model());
        Tensor a = kaiming.parameters().get("model.layers.0.self_attn.q_proj.lora_A.weight");
        double bound = 1 / Math.sqrt(TinyModel.D);
        double most = 0;
        for (float x : a.toArray()) {
            assertThat(Math.abs(x)).isLessThanOrEqualTo((float) bound);
            most = Math.max(most, Math.abs(x));
        }
        assertThat(most).isGreaterThan(0.95 * bound);
        assertThat(kaiming.parameters()
                        .get("model.layers.0.self_attn.q_proj.lora_B.weight")
                        .toArray())
                .containsOnly(0f);
        Adapters gaussian =
                Lora.rank(12).init(Lora.Init.GAUSSIAN).on("all-linear").attach(model());
        double squares = 0;
        long count = 0;
        for (Map.Entry<String, Tensor> e : gaussian.parameters().entrySet()) {
            if (e.getKey().endsWith("lora_A.weight")) {
                for (float x : e.getValue().toArray()) {
                    squares += x * x;
                    count++;
                }
            }
        }
        assertThat(Math.sqrt(squares / count)).isCloseTo(1 / 12.0, within(0.1 / 12));
    }

    @Test
    void targetsAreFoundByPeftsRules() {
        assertThat(Lora.rank(1).on("all-linear").attach(model()).paths())
                .hasSize(12)
                .noneMatch(path -> path.contains("lm_head"));
        assertThat(Lora.rank(1).on("lm_head").attach(model()).paths()).containsExactly("lm_head");
        assertThat(Lora.rank(1).on("mlp.up_proj").layers(1).attach(model()).paths())
                .containsExactly("model.layers.1.mlp.up_proj");
        assertThat(Lora.rank(1)
                        .onMatching(".*\\.[02]\\..*(q|v)_proj")
                        .attach(model())
                        .paths())
                .containsExactly(
                        "model.layers.0.self_attn.q_proj",
                        "model.layers.0.self_attn.v_proj",
                        "model.layers.2.self_attn.q_proj",
                        "model.layers.2.self_attn.v_proj");
    }

    @Test
    void aTargetThatFitsNothingNamesWhatThereIs() {
        String there = "; there are down_proj, lm_head, q_proj, up_proj, v_proj";
        assertThatThrownBy(() -> Lora.rank(1).on("q_proj", "k_proj").attach(model()))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("targets: no linear layer fits k_proj" + there + "; did you mean q_proj?");
        assertThatThrownBy(() -> Lora.rank(1).onMatching("q_proj").attach(model()))
                .as("an expression must fit the whole path")
                .hasMessage("targets: no linear layer fits q_proj" + there);
        assertThatThrownBy(() -> Lora.rank(1).on("q_proj").layers(7).attach(model()))
                .hasMessage("targets: no linear layer fits q_proj in layers [7]" + there);
        assertThatThrownBy(() -> Lora.rank(1).attach(model()))
                .hasMessageStartingWith("Targets: give layer names or a regular expression");
        assertThatThrownBy(() -> Lora.rank(1).onMatching("(").attach(model()))
                .hasMessageStartingWith("Targets: ( is no regular expression");
    }

    @Test
    void refusesNumbersThatMakeNoSense() {
        assertThatThrownBy(() -> Lora.rank(0).on("x").build()).hasMessage("Lora: rank 0 must be at least 1");
        assertThatThrownBy(() -> Lora.rank(1).dropout(1).on("x").build())
                .hasMessage("Lora: dropout 1.0 must be in [0, 1)");
        assertThatThrownBy(() -> Lora.rank(1).rankOf("x", -1).on("x").build())
                .hasMessage("Lora: rank -1 must be at least 1");
    }

    // ---------------------------------------------------------------- files

    private Path saved() {
        random().on("q_proj").attach(model()).save(dir.resolve("adapter"));
        return dir.resolve("adapter");
    }

    private void change(Path adapter, String key, Object value) {
        Path config = adapter.resolve("adapter_config.json");
        Map<String, Object> o = new TreeMap<>(Json.read(config).map());
        o.put(key, value);
        Json.write(config, o);
    }

    @Test
    void writesPeftsKeys() {
        Path adapter = saved();
        JsonObject o = Json.read(adapter.resolve("adapter_config.json"));
        assertThat(o.string("peft_type")).isEqualTo("LORA");
        assertThat(o.get("lora_alpha")).isEqualTo(8);
        assertThat(o.strings("target_modules")).containsExactly("q_proj");
        assertThat(o.flag("fan_in_fan_out")).isFalse();
        try (Arena files = Arena.ofShared()) {
            assertThat(anneal.io.Safetensors.open(adapter.resolve("adapter_model.safetensors"), files)
                            .tensors())
                    .containsKey("base_model.model.model.layers.2.self_attn.q_proj.lora_B.weight")
                    .hasSize(6);
        }
    }

    @Test
    void namesEverythingThatDoesNotFit() {
        Path adapter = saved();
        change(adapter, "r", 6);
        change(adapter, "target_modules", List.of("q_proj", "v_proj"));
        TinyModel two = new TinyModel(arena, 2);
        float[] base = AdapterContract.logits(two);
        assertThatThrownBy(() -> Adapters.load(two, adapter))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageStartingWith(adapter.resolve("adapter_model.safetensors") + " does not fit, 10 tensors: ")
                .hasMessageContaining(
                        "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight is [4, 12], must be [6, 12]")
                .hasMessageContaining(
                        "base_model.model.model.layers.1.self_attn.v_proj.lora_B.weight [12, 6] is missing")
                .hasMessageContaining(
                        "base_model.model.model.layers.2.self_attn.q_proj.lora_A.weight [4, 12] has no place");
        assertThat(AdapterContract.logits(two)).containsExactly(base);
    }

    @Test
    void refusesWhatWouldChangeTheNumbers() {
        Path adapter = saved();
        change(adapter, "use_qalora", true);
        change(adapter, "target_parameters", List.of("mlp.experts.gate_up_proj"));
        assertThatThrownBy(() -> Adapters.load(model(), adapter))
                .hasMessage(adapter.resolve("adapter_config.json")
                        + ": not supported, and the numbers would differ without: target_parameters, use_qalora");
        change(adapter, "use_qalora", false);
        change(adapter, "target_parameters", null);
        change(adapter, "init_lora_weights", "lora_ga");
        assertThatThrownBy(() -> Adapters.load(model(), adapter))
                .hasMessageContaining("init_lora_weights lora_ga begins with a gradient of data that no file holds");
        change(adapter, "init_lora_weights", "orthogonal");
        assertThatThrownBy(() -> Adapters.load(model(), adapter))
                .hasMessageContaining(
                        "key \"init_lora_weights\" must be true, false, gaussian, pissa, pissa_niter_N, olora, loftq or eva but is the string \"orthogonal\"");
        change(adapter, "init_lora_weights", true);
        change(adapter, "some_future_key", Map.of("x", 1));
        assertThat(Adapters.load(model(), adapter).paths()).hasSize(3);
        change(adapter, "peft_type", "XLORA");
        assertThatThrownBy(() -> Adapters.load(model(), adapter))
                .hasMessageContaining("key \"peft_type\" must be LORA")
                .hasMessageEndingWith("but is the string \"XLORA\"");
    }

    @Test
    void aMissingOrUnwritableFileIsNamed() throws IOException {
        assertThatThrownBy(() -> Adapters.load(model(), dir.resolve("none")))
                .isInstanceOf(UncheckedIOException.class)
                .hasMessageContaining("adapter_config.json");
        Path adapter = saved();
        Files.delete(adapter.resolve("adapter_model.safetensors"));
        TinyModel m = model();
        assertThatThrownBy(() -> Adapters.load(m, adapter)).hasMessageContaining("adapter_model.safetensors");
        assertThat(random().attach(m).paths()).as("nothing is left plugged in").isNotEmpty();
        Path file = Files.writeString(dir.resolve("file"), "");
        assertThatThrownBy(() -> random().attach(model()).save(file.resolve("out")))
                .isInstanceOf(UncheckedIOException.class)
                .hasMessageContaining("cannot be made");
    }
}
