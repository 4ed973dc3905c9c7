package anneal.peft;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import anneal.ArenaFixture;
import anneal.io.Json;
import anneal.io.Safetensors;
import anneal.tensor.Memory;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import anneal.train.AdamW;
import anneal.train.Schedule;
import anneal.train.TrainConfig;
import anneal.train.Trainer;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class AdaLoraTest extends ArenaFixture {
    private static final Map<String, Integer> PLANTED = new LinkedHashMap<>();

    static {
        PLANTED.put("model.layers.0.q", 4);
        PLANTED.put("model.layers.0.v", 0);
        PLANTED.put("model.layers.1.q", 1);
        PLANTED.put("model.layers.1.v", 3);
    }

    private PlantedRanks model() {
        return new PlantedRanks(arena, PLANTED, 5);
    }

    private static AdaLora.Builder method() {
        return AdaLora.rank(2).from(5).alpha(5).orthogonality(0.1).on("q", "v");
    }

    private static TrainConfig.Builder config(long steps) {
        return TrainConfig.builder().steps(steps).schedule(new Schedule.Constant(1e-2));
    }

    private static Map<String, Integer> ranks(Adapters adapters) {
        Map<String, Integer> ranks = new LinkedHashMap<>();
        RankReport.of(adapters).modules().forEach(e -> ranks.put(e.path(), e.rank()));
        return ranks;
    }

    // ---------------------------------------------------------------- what it finds

    @Test
    void findsTheRanksThatWerePlanted() {
        for (long seed = 0; seed < 3; seed++) {
            PlantedRanks model = model();
            Adapters adapters = method().attach(model, seed);
            try (Trainer trainer =
                    new Trainer(adapters, new AdamW(), config(400).build())) {
                trainer.fit(PlantedRanks.data(), model::loss);
            }
            RankReport report = RankReport.of(adapters);
            System.out.println("seed " + seed + ": planted " + PLANTED + ", found " + ranks(adapters) + ", loss "
                    + loss(model) + "\n" + report);
            assertThat(report.isFinal()).isTrue();
            assertThat(ranks(adapters)).isEqualTo(PLANTED);
            assertThat(loss(model)).isLessThan(0.05);
        }
    }

    private static double loss(PlantedRanks model) {
        try (var _ = Memory.scope();
                var _ = Tape.pause()) {
            return model.loss(-1).sum().item() / model.loss(-1).count();
        }
    }

    @Test
    void theFileHoldsWhatIsLeftAndComputesTheSame() throws IOException {
        PlantedRanks model = model();
        Adapters adapters = method().baseModel("planted").attach(model, 0);
        try (Trainer trainer = new Trainer(adapters, new AdamW(), config(60).build())) {
            trainer.fit(PlantedRanks.data(), model::loss);
        }
        adapters.save(dir.resolve("a"));
        Map<String, Integer> ranks = ranks(adapters);
        try (Arena file = Arena.ofShared()) {
            Safetensors.open(dir.resolve("a/adapter_model.safetensors"), file)
                    .tensors()
                    .forEach((name, t) -> {
                        String path = name.substring("base_model.model.".length(), name.lastIndexOf('.'));
                        assertThat(t.shape()[name.endsWith("lora_B") ? 1 : 0])
                                .as(name)
                                .isEqualTo(ranks.get(path).longValue());
                    });
        }
        PlantedRanks other = model();
        Adapters loaded = Adapters.load(other, dir.resolve("a"));
        assertThat(loss(other)).isEqualTo(loss(model));
        assertThat(RankReport.of(loaded)).isEqualTo(RankReport.of(adapters));
        loaded.save(dir.resolve("b"));
        for (String name : List.of("adapter_config.json", "adapter_model.safetensors")) {
            assertThat(Files.readAllBytes(dir.resolve("b").resolve(name)))
                    .as(name)
                    .containsExactly(Files.readAllBytes(dir.resolve("a").resolve(name)));
        }
        loaded.merge();
        assertThat(loss(other)).isCloseTo(loss(model), org.assertj.core.api.Assertions.within(1e-4));
        loaded.unmerge();
        try (Trainer trainer = new Trainer(loaded, new AdamW(), config(3).build())) {
            trainer.fit(PlantedRanks.data(), other::loss); // ranks are final: trained on as they are
        }
        assertThat(ranks(loaded)).isEqualTo(ranks);
        assertThat(loss(other)).isNotEqualTo(loss(model));
    }

    @Test
    void aRunThatIsResumedGoesOnBitForBit() {
        TrainConfig config =
                config(40).saveEvery(1).keepLast(0).checkpoints(dir).build();
        AdaLora method =
                method().dropout(0.2).budget(new RankBudget.Steps(5, 10, 3, 0)).build();
        PlantedRanks model = model();
        Adapters straight = method.attach(model, 1);
        try (Trainer trainer = new Trainer(straight, new AdamW(), config)) {
            trainer.fit(PlantedRanks.data(), model::loss);
        }
        for (int step : new int[] {3, 17, 30, 33}) { // before, while and after ranks are taken away
            PlantedRanks again = model();
            Adapters resumed = method.attach(again, 2);
            try (Trainer trainer = new Trainer(resumed, new AdamW(), config)) {
                trainer.resume(dir.resolve("checkpoint-" + step)).fit(PlantedRanks.data(), again::loss);
            }
            straight.parameters()
                    .forEach((name, p) -> assertThat(
                                    resumed.parameters().get(name).toArray())
                            .as(name)
                            .containsExactly(p.toArray()));
            assertThat(RankReport.of(resumed)).isEqualTo(RankReport.of(straight));
        }
    }

    @Test
    void theScheduleIsThatOfTheRunsRealSteps() {
        PlantedRanks model = model();
        AdaLora parts = method().budget(new RankBudget.Parts(0.2, 0.4, 0.1)).build();
        Adapters adapters = parts.attach(model, 0);
        try (Trainer trainer = new Trainer(adapters, new AdamW(), config(20).build())) {
            trainer.fit(PlantedRanks.data(), model::loss);
        }
        adapters.save(dir.resolve("a"));
        assertThat(Json.read(dir.resolve("a/adapter_config.json")).map())
                .containsEntry("tinit", 4)
                .containsEntry("tfinal", 8)
                .containsEntry("deltaT", 2)
                .containsEntry("total_step", 20)
                .containsEntry("init_r", 5)
                .containsEntry("target_r", 2);
        assertThat(RankBudget.Parts.PAPER.in(1000)).isEqualTo(new RankBudget.Steps(150, 500, 2, 1000));
        RankBudget.Steps steps = new RankBudget.Steps(2, 4, 1, 10);
        int[] left = new int[10];
        for (int step = 1; step <= 10; step++) {
            left[step - 1] = steps.left(step, 20, 8);
        }
        assertThat(left).as("8 + 12 c^3, c = 1, 3/4, 1/2, 1/4, 0").containsExactly(20, 20, 13, 9, 8, 8, 8, 8, 8, 8);
    }

    @Test
    void theShortestRunsKeepTheirBudget() {
        assertThat(RankBudget.Parts.PAPER.in(2)).isEqualTo(new RankBudget.Steps(1, 0, 1, 2));
        assertThat(RankBudget.Parts.PAPER.in(3)).isEqualTo(new RankBudget.Steps(1, 1, 1, 3));
        assertThat(RankBudget.Parts.PAPER.in(4)).isEqualTo(new RankBudget.Steps(1, 2, 1, 4));
        assertThat(new RankBudget.Parts(0.9, 0.05, 0).in(10)).isEqualTo(new RankBudget.Steps(9, 0, 1, 10));
        for (RankBudget budget : List.of(RankBudget.Parts.PAPER, new RankBudget.Steps(0, 0, 1, 0))) {
            for (int steps = 2; steps <= 6; steps++) {
                PlantedRanks model = model();
                Adapters adapters = method().budget(budget).attach(model, 0);
                try (Trainer trainer =
                        new Trainer(adapters, new AdamW(), config(steps).build())) {
                    trainer.fit(PlantedRanks.data(), model::loss);
                }
                assertThat(RankReport.of(adapters).isFinal()).isTrue();
                assertThat(RankReport.of(adapters).total())
                        .as(budget + ", " + steps + " steps: 4 layers of rank 2 on average")
                        .isEqualTo(8);
            }
        }
    }

    @Test
    void beforeTheRanksAreFinalTheFileHoldsAll() {
        PlantedRanks model = model();
        Adapters adapters = method().attach(model, 0);
        try (Trainer trainer =
                new Trainer(adapters, new AdamW(), config(20).logEvery(6).build())) {
            trainer.onStep(r -> trainer.stop()).fit(PlantedRanks.data(), model::loss);
            assertThat(trainer.steps()).isEqualTo(6);
        }
        RankReport now = RankReport.of(adapters);
        assertThat(now.isFinal()).isFalse();
        assertThat(now.total()).as("8 + 12 (1 - 3/7)^3").isEqualTo(10);
        adapters.save(dir.resolve("stopped"));
        PlantedRanks other = model();
        assertThat(RankReport.of(Adapters.load(other, dir.resolve("stopped"))).total())
                .isEqualTo(20);
        assertThat(loss(other)).isEqualTo(loss(model));
        Adapters fresh = method().attach(model(), 0);
        assertThat(RankReport.of(fresh).isFinal()).isFalse();
        assertThat(RankReport.of(fresh).total()).isEqualTo(20);
        fresh.save(dir.resolve("fresh"));
        assertThat(Json.read(dir.resolve("fresh/adapter_config.json")).map()).containsEntry("rank_pattern", null);
    }

    @Test
    void everyOptionChangesTheRun() {
        float[] plain = trained(method());
        assertThat(trained(method())).containsExactly(plain);
        List<AdaLora.Builder> changed = List.of(
                method().from(4),
                AdaLora.rank(1).from(5).alpha(5).orthogonality(0.1).on("q", "v"),
                method().alpha(6),
                method().dropout(0.1),
                method().on("q"),
                method().except("model.layers.0.v"),
                method().layers(1),
                method().budget(new RankBudget.Steps(2, 3, 1, 0)),
                method().budget(new RankBudget.Steps(2, 3, 4, 0)),
                method().betas(0.5, 0.85),
                method().betas(0.85, 0.3),
                method().orthogonality(0.3));
        for (int i = 0; i < changed.size(); i++) {
            assertThat(trained(changed.get(i))).as("change " + i).isNotEqualTo(plain);
        }
    }

    /** All singular values, and E U of the first layer, after a few steps. */
    private float[] trained(AdaLora.Builder method) {
        PlantedRanks model = model();
        Adapters adapters = method.attach(model, 0);
        try (Trainer trainer = new Trainer(adapters, new AdamW(), config(14).build())) {
            trainer.fit(PlantedRanks.data(), model::loss);
        }
        List<Tensor> all = new java.util.ArrayList<>(adapters.parameters().values());
        all.addAll(new java.util.TreeMap<>(adapters.state()).values());
        float[] values = new float[(int) all.stream().mapToLong(Tensor::size).sum()];
        int at = 0;
        for (Tensor t : all) {
            System.arraycopy(t.toArray(), 0, values, at, (int) t.size());
            at += (int) t.size();
        }
        return values;
    }

    // ---------------------------------------------------------------- the report

    @Test
    void theReportIsATable() {
        RankReport report = new RankReport(
                List.of(new RankReport.Entry("layers.0.q", 4, 6), new RankReport.Entry("layers.10.v", 0, 6)), true);
        assertThat(report.toString().lines())
                .containsExactly(
                        "module       rank    of",
                        "layers.0.q      4     6",
                        "layers.10.v     0     6",
                        "all             4    12");
        assertThatThrownBy(() -> RankReport.of(Lora.rank(2).on("q").attach(model())))
                .hasMessage("RankReport: needs adapters of AdaLora, these are of Lora");
    }

    // ---------------------------------------------------------------- bad input

    @Test
    void refusesWhatCannotBe() {
        assertThatThrownBy(() -> method().from(1).build())
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("AdaLora: target rank 2 must be at least 1 and at most the initial rank 1");
        assertThatThrownBy(() -> method().alpha(0).build()).hasMessage("AdaLora: alpha 0.0 must be a positive number");
        assertThatThrownBy(() -> method().dropout(1).build()).hasMessage("AdaLora: dropout 1.0 must be in [0, 1)");
        assertThatThrownBy(() -> method().betas(0, 0.5).build())
                .hasMessage("AdaLora: beta1 0.0 and beta2 0.5 must be between 0 and 1");
        assertThatThrownBy(() -> method().orthogonality(-1).build())
                .hasMessage("AdaLora: orthogonality -1.0 must be a number of at least 0");
        assertThatThrownBy(() -> method().from(17).attach(model()))
                .hasMessage(
                        "AdaLora: rank 17 is above the smaller side 16 of model.layers.0.q [16, 16]: no matrix of that shape has"
                                + " so many singular values");
        assertThatThrownBy(() -> new RankBudget.Parts(0.5, 0.5, 0))
                .hasMessage(
                        "RankBudget: tinit 0.5 and tfinal 0.5 must not be negative, and leave a part of the run to take"
                                + " ranks away");
        assertThatThrownBy(() -> new RankBudget.Parts(0.5, 0.2, 2))
                .hasMessage("RankBudget: deltaT 2.0 must be in [0, 1]");
        assertThatThrownBy(() -> new RankBudget.Steps(1, -2, 1, 0))
                .hasMessage("RankBudget: tinit 1 and tfinal -2 must not be negative, deltaT 1 at least 1");
        PlantedRanks model = model();
        Adapters adapters = method().budget(new RankBudget.Steps(8, 2, 1, 0)).attach(model);
        try (Trainer trainer = new Trainer(adapters, new AdamW(), config(10).build())) {
            assertThatThrownBy(() -> trainer.fit(PlantedRanks.data(), model::loss))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessage(
                            "RankBudget: 10 steps are too few to take ranks away: tinit 8 and tfinal 2 need at least 11");
            assertThat(trainer.steps()).isZero();
        }
        assertThatThrownBy(() -> new RankBudget.Steps(0, 2, 1, 0).in(3))
                .as("the choice of step 1 has no scores to go by")
                .hasMessage("RankBudget: 3 steps are too few to take ranks away: tinit 0 and tfinal 2 need at least 4");
        assertThatThrownBy(() -> RankBudget.Parts.PAPER.in(1))
                .hasMessage("RankBudget: 1 steps are too few to take ranks away: tinit 1 and tfinal 0 need at least 2");
        assertThatThrownBy(() -> new RankBudget.Steps(8, 2, 1, 10))
                .as("PEFT's own rule, which a file must keep")
                .hasMessage(
                        "RankBudget: a run of 10 steps leaves none to take ranks away: tinit 8 + tfinal 2 must be less"
                                + " than 10");
    }

    @Test
    void refusesAFileThatDoesNotFit() throws IOException {
        Path folder = dir.resolve("a");
        PlantedRanks model = model();
        Adapters adapters = method().attach(model, 0);
        try (Trainer trainer = new Trainer(adapters, new AdamW(), config(20).build())) {
            trainer.fit(PlantedRanks.data(), model::loss);
        }
        adapters.save(folder);
        Path config = folder.resolve("adapter_config.json");
        String good = Files.readString(config);
        Files.writeString(config, good.replace("model.layers.0.q.lora_E", "model.layers.7.q.lora_E"));
        assertThatThrownBy(() -> Adapters.load(model(), folder))
                .hasMessage(
                        "AdaLora: the rank pattern does not fit the model: without an entry [model.layers.0.q], without a layer"
                                + " [model.layers.7.q]");
        Files.writeString(
                config, good.replace("\"init_r\" : 5", "\"init_r\" : 6").replace("\"init_r\": 5", "\"init_r\": 6"));
        assertThatThrownBy(() -> Adapters.load(model(), folder))
                .hasMessageContaining("adapter_config.json: AdaLora: the rank pattern of model.layers.")
                .hasMessageEndingWith(" has 5 entries, must have one for each of the initial 6");
        Files.writeString(config, good.replace("\"none\"", "\"all\""));
        assertThatThrownBy(() -> Adapters.load(model(), folder))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("key \"bias\" must be none");
    }
}
