package anneal.peft;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import anneal.ArenaFixture;
import anneal.io.Json;
import anneal.tensor.Memory;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/** Options and refusals of IA3, LoHa, LoKr and VeRA. */
class FactorMethodsTest extends ArenaFixture {
    private TinyModel model() {
        return new TinyModel(arena, 2);
    }

    private float[] logits(MethodBuilder<?> options) {
        TinyModel m = model();
        options.attach(m, 5);
        return AdapterContract.logits(m);
    }

    /** While dropout acts. */
    private float[] training(MethodBuilder<?> options) {
        TinyModel m = model();
        AdapterContract.disturb(options.attach(m, 5));
        Tape.noise().restore(3);
        try (var _ = Memory.scope()) {
            return m.forward().toArray();
        } finally {
            Tape.clear();
        }
    }

    private void assertEachDiffers(MethodBuilder<?> plain, List<MethodBuilder<?>> others) {
        float[] expected = logits(plain);
        assertThat(logits(plain)).containsExactly(expected);
        for (int i = 0; i < others.size(); i++) {
            assertThat(logits(others.get(i))).as("variant %d", i).isNotEqualTo(expected);
        }
    }

    // ---------------------------------------------------------------- every option changes something

    @Test
    void optionsOfIa3() {
        assertEachDiffers(
                ia3(),
                List.of(
                        ia3().feedForward("down_proj"),
                        ia3().feedForwardMatching(".*q_proj"),
                        ia3().on("q_proj"),
                        ia3().except("model.layers.0.mlp.down_proj"),
                        ia3().layers(1),
                        Ia3.at("q_proj", "down_proj")));
    }

    private static Ia3.Builder ia3() {
        return Ia3.at("q_proj", "down_proj").random();
    }

    private static LoHa.Builder loHa(int rank) {
        return LoHa.rank(rank).on("q_proj", "down_proj").random();
    }

    private static LoKr.Builder loKr() {
        return LoKr.rank(1).on("q_proj", "down_proj").init(LoKr.Init.RANDOM);
    }

    private static Vera.Builder vera() {
        return Vera.rank(6).on("q_proj", "down_proj").random();
    }

    @Test
    void optionsOfLoHaAndLoKr() {
        assertEachDiffers(
                loHa(2),
                List.of(
                        loHa(3),
                        loHa(2).alpha(7),
                        loHa(2).rankOf("q_proj", 5),
                        loHa(2).alphaOf("q_proj", 9),
                        LoHa.rank(2).on("q_proj", "down_proj")));
        assertEachDiffers(
                loKr(),
                List.of(
                        loKr().decomposeBoth(),
                        loKr().decomposeFactor(2),
                        loKr().init(LoKr.Init.FIRST_ZERO),
                        loKr().alpha(7),
                        loKr().alphaOf("q_proj", 9)));
        for (LoKr.Init init : List.of(LoKr.Init.FIRST_ZERO, LoKr.Init.SECOND_ZERO)) {
            LoKr.Builder fresh = LoKr.rank(1).on("q_proj").init(init);
            Tensor first =
                    fresh.attach(model()).parameters().values().iterator().next();
            assertThat(IntStream.range(0, (int) first.size()).allMatch(i -> first.get(i) == 0))
                    .as("w1 is zero with %s", init)
                    .isEqualTo(init == LoKr.Init.FIRST_ZERO);
        }
        for (Lycoris.Builder<?> each : List.of(loHa(2), loHa(5), loKr())) {
            float[] plain = training(each);
            assertThat(training(each.rankDropout(0.5))).isNotEqualTo(plain);
            assertThat(training(each.rankDropout(0).moduleDropout(0.6))).isNotEqualTo(plain);
        }
        assertThat(training(loKr().rankDropout(0.5).rankDropoutScale()))
                .isNotEqualTo(training(loKr().rankDropout(0.5)));
    }

    @Test
    void optionsOfVera() {
        assertEachDiffers(
                vera(),
                List.of(
                        vera().projectionKey(1),
                        Vera.rank(5).on("q_proj", "down_proj").random(),
                        vera().on("q_proj")));
        assertThat(training(vera().dropout(0.5))).isNotEqualTo(training(vera()));
        assertThat(training(Vera.rank(6).on("q_proj").dInitial(0.7)))
                .isNotEqualTo(training(Vera.rank(6).on("q_proj").dInitial(0.1)));
    }

    // ---------------------------------------------------------------- details

    /** torch.empty(3).uniform_(-1, 1, generator=torch.Generator().manual_seed(8)). */
    @Test
    void torchsNumbersComeFromTheSeed() {
        try (var _ = Memory.scope()) {
            Tensor x = Tensor.empty(700);
            new TorchRandom(8).uniform(x, 1);
            assertThat(x.get(0)).isEqualTo(0.1958545446395874f);
            assertThat(x.get(1)).isEqualTo(0.6905922889709473f);
            assertThat(x.get(699)).as("after the state was renewed").isEqualTo(0.1860281229019165f);
        }
    }

    @Test
    void dimensionsAreSplitAsPeftDoes() {
        Map<int[], int[]> cases = Map.of(
                new int[] {256, -1}, new int[] {16, 16},
                new int[] {128, -1}, new int[] {8, 16},
                new int[] {127, -1}, new int[] {1, 127},
                new int[] {48, 5}, new int[] {4, 12},
                new int[] {48, 7}, new int[] {6, 8},
                new int[] {128, 4}, new int[] {4, 32},
                new int[] {12, 6}, new int[] {6, 2},
                new int[] {1, -1}, new int[] {1, 1});
        cases.forEach(
                (in, out) -> assertThat(LoKr.factors(in[0], in[1])).as("%s", in).containsExactly(out));
    }

    @Test
    void onlyAFileWithProjectionHoldsIt() {
        Vera.rank(4).on("q_proj").attach(model()).save(dir.resolve("with"));
        Vera.rank(4).on("q_proj").withoutProjection().attach(model()).save(dir.resolve("without"));
        long with = dir.resolve("with/adapter_model.safetensors").toFile().length();
        long without = dir.resolve("without/adapter_model.safetensors").toFile().length();
        assertThat(with - without).isGreaterThanOrEqualTo(4L * 2 * 4 * TinyModel.D);
    }

    @Test
    void targetsThatTheFileHasNoKeyForAreWrittenOut() {
        Ia3.at("q_proj", "down_proj")
                .feedForward("down_proj")
                .layers(1)
                .attach(model())
                .save(dir);
        Map<String, Object> o = Json.read(dir.resolve("adapter_config.json")).map();
        assertThat(o.get("target_modules"))
                .isEqualTo(List.of("model.layers.1.mlp.down_proj", "model.layers.1.self_attn.q_proj"));
        assertThat(o.get("feedforward_modules")).isEqualTo(List.of("model.layers.1.mlp.down_proj"));
        assertThat(o).doesNotContainKey("layers_to_transform");
        assertThat(Adapters.load(model(), dir).paths()).hasSize(2);
    }

    // ---------------------------------------------------------------- refusals

    @Test
    void refusesOptionsOutOfRange() {
        refused(() -> loHa(0).build(), "LoHa, LoKr: rank 0 must be at least 1");
        refused(() -> loKr().rankOf("x", 0).build(), "LoHa, LoKr: rank 0 must be at least 1");
        refused(
                () -> loKr().alpha(Double.NaN).build(),
                "LoHa, LoKr: alpha NaN and those of alphaPattern {} must be finite numbers");
        refused(
                () -> loHa(13).attach(model()),
                "loha: rank 13 is above what model.layers.0.self_attn.q_proj [12, 12] can have: at most 12");
        refused(() -> loHa(1).rankDropout(1).build(), "LoHa, LoKr: rankDropout 1.0 must be in [0, 1)");
        refused(() -> loHa(1).moduleDropout(-1).build(), "LoHa, LoKr: moduleDropout -1.0 must be in [0, 1)");
        refused(() -> loKr().decomposeFactor(0).build(), "LoKr: decomposeFactor 0 must be at least 1, or -1");
        refused(() -> Vera.rank(0).on("x").build(), "Vera: rank 0 must be at least 1");
        refused(() -> vera().dropout(1).build(), "Vera: dropout 1.0 must be in [0, 1)");
        refused(
                () -> vera().dInitial(0).build(),
                "Vera: dInitial 0.0 must be a number other than 0, or nothing can be learnt");
        refused(
                () -> Ia3.at("q_proj").feedForward("down_proj").build(),
                "Ia3: feed-forward modules [down_proj] must be among the targets [q_proj]");
        refused(
                () -> Ia3.at("q_proj")
                        .feedForward("q_proj")
                        .feedForwardMatching(".*")
                        .build(),
                "Ia3: give the feed-forward modules [q_proj] or the regular expression .*, not both");
    }

    @Test
    void refusesFilesWithOptionsThatAreNotThere() {
        vera().attach(model()).save(dir);
        Path config = dir.resolve("adapter_config.json");
        Map<String, Object> o = new TreeMap<>(Json.read(config).map());
        o.put("bias", "lora_only");
        Json.write(config, o);
        assertThatThrownBy(() -> Adapters.load(model(), dir))
                .hasMessage(config + ": key \"bias\" must be none, all or vera_only but is the string \"lora_only\"");
        loKr().attach(model()).save(dir);
        o = new TreeMap<>(Json.read(config).map());
        o.put("init_weights", "other");
        Json.write(config, o);
        assertThatThrownBy(() -> Adapters.load(model(), dir))
                .hasMessageContaining("key \"init_weights\" must be true, false or lycoris but is");
    }
}
