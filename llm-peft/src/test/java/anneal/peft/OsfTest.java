package anneal.peft;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import anneal.ArenaFixture;
import anneal.io.Json;
import anneal.nn.Linear;
import anneal.nn.Weight;
import anneal.tensor.Linalg;
import anneal.tensor.Memory;
import anneal.tensor.Ops;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import anneal.train.Loss;
import anneal.train.Schedule;
import anneal.train.Sgd;
import anneal.train.TrainConfig;
import anneal.train.Trainer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class OsfTest extends ArenaFixture {
    private TinyModel model;

    @BeforeEach
    void open() {
        model = new TinyModel(arena, 2);
    }

    private Map<String, Tensor> matrices() {
        Map<String, Tensor> all = new LinkedHashMap<>();
        model.find(Linear.class).forEach((path, l) -> {
            Weight dense = l.weight().dense(arena);
            all.put(path, LinearTuning.upright(dense, dense.parameter().orElseThrow()));
        });
        return all;
    }

    /** What is learnt with plain gradient descent lies outside of the frozen directions, on both sides, for every form of matrix. */
    @Test
    void whatIsLearntLeavesTheFrozenDirectionsAlone() {
        try (var _ = Memory.scope()) {
            Map<String, Tensor> before = matrices();
            Adapters adapters = Osf.directions(5)
                    .directions("v_proj", 9)
                    .on("q_proj", "v_proj", "up_proj", "down_proj")
                    .attach(model);
            TrainConfig config = TrainConfig.builder()
                    .steps(20)
                    .schedule(new Schedule.Constant(0.05))
                    .build();
            try (Trainer trainer = new Trainer(adapters, new Sgd(0.9), config)) {
                trainer.fit(
                        epoch -> List.of(0).iterator(),
                        x -> new Loss(Ops.scale(Ops.sum(Ops.logSoftmax(model.forward())), -1), 45));
            }
            adapters.merge();
            Map<String, Tensor> after = matrices();
            for (String path : adapters.paths()) {
                int kept = path.endsWith("v_proj") ? 9 : 5;
                Tensor delta = Ops.sub(after.get(path), before.get(path));
                Linalg.Svd svd = Linalg.svd(before.get(path), kept);
                double size = norm(delta);
                assertThat(size).as(path).isGreaterThan(1e-3);
                // Right directions are read as before up to what the trained ones give back, which is orthogonal to Uh.
                assertThat(norm(Ops.matmul(Linalg.transposed(svd.u()), delta)))
                        .as("outputs of %s", path)
                        .isLessThan(1e-5 + 1e-3 * size);
                assertThat(norm(Ops.matmulT(delta, svd.vt())))
                        .as("inputs of %s", path)
                        .isLessThan(1e-5 + 1e-3 * size);
            }
        }
    }

    private static double norm(Tensor x) {
        double squares = 0;
        for (float v : x.toArray()) {
            squares += (double) v * v;
        }
        return Math.sqrt(squares);
    }

    /** Both ways to say "outside of the frozen directions" give one gradient: with 9 of 12 the rest is remembered, with 5 what is frozen. */
    @Test
    void gradientsAreProjections() {
        for (int kept : new int[] {5, 9}) {
            TinyModel m = new TinyModel(arena, 1);
            Adapters adapters = Osf.directions(kept).on("q_proj").attach(m);
            try (var _ = Memory.scope()) {
                Tape.backward(Ops.sum(Ops.logSoftmax(m.forward())));
                String path = "model.layers.0.self_attn.q_proj";
                Weight dense = m.find(Linear.class).get(path).weight().dense(arena);
                Linalg.Svd svd = Linalg.svd(dense.parameter().orElseThrow(), kept);
                Map<String, Tensor> p = adapters.parameters();
                Tensor du = p.get(path + ".osf_svd_params.U_low").grad();
                Tensor dv = p.get(path + ".osf_svd_params.V_low").grad();
                assertThat(norm(du)).isGreaterThan(0.01);
                assertThat(norm(dv)).isGreaterThan(0.01);
                assertThat(norm(Ops.matmul(Linalg.transposed(svd.u()), du))).isCloseTo(0, within(1e-5 * norm(du)));
                assertThat(norm(Ops.matmulT(dv, svd.vt()))).isCloseTo(0, within(1e-5 * norm(dv)));
            }
        }
    }

    @Test
    void aNumberIsSomethingElseThanAPartInFilesToo() throws IOException {
        Osf osf = Osf.part(0.5)
                .directions("layers\\.0\\.", 1)
                .part("layers", 0.75)
                .on("q_proj")
                .build();
        Adapters adapters = osf.attach(model);
        assertThat(adapters.parameters()
                        .get("model.layers.0.self_attn.q_proj.osf_svd_params.S_low")
                        .size())
                .isEqualTo(11);
        assertThat(adapters.parameters()
                        .get("model.layers.1.self_attn.q_proj.osf_svd_params.S_low")
                        .size())
                .isEqualTo(3);
        adapters.save(dir);
        assertThat(Files.readString(dir.resolve("adapter_config.json")))
                .contains("0.75")
                .doesNotContain("1.0");
        assertThat(Adapters.load(new TinyModel(arena, 2), dir).method()).isEqualTo(osf);
        Map<String, Object> o = new LinkedHashMap<>(
                Json.read(dir.resolve("adapter_config.json")).map());
        o.remove("effective_rank");
        o.remove("rank_pattern");
        Path half = Files.createDirectories(dir.resolve("half"));
        Json.write(half.resolve("adapter_config.json"), o);
        assertThatThrownBy(() -> Adapters.load(new TinyModel(arena, 2), half)) // half of 12 is PEFT's default
                .hasMessageContaining("adapter_model.safetensors");
    }

    @Test
    void saysWhatCannotBeKept() {
        refused(() -> Osf.part(1.5), "Osf: kept 1.5 must be in (0, 1] as a part");
        refused(() -> Osf.directions(0), "Osf: kept 0.0 must be a whole number of directions, at least 1");
        refused(
                () -> Osf.directions(12).on("q_proj").attach(model),
                "Osf: 12 of the 12 directions of model.layers.0.self_attn.q_proj [12, 12] are kept; at least one must be, and"
                        + " one must be left to train");
        refused(
                () -> Osf.part(0.01).on("up_proj").attach(model),
                "Osf: 0 of the 12 directions of model.layers.0.mlp.up_proj [18, 12] are kept; at least one must be, and one"
                        + " must be left to train");
    }
}
