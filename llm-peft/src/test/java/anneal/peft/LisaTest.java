package anneal.peft;

import static org.assertj.core.api.Assertions.assertThat;

import anneal.ArenaFixture;
import anneal.nn.Embedding;
import anneal.nn.Linear;
import anneal.nn.Trainable;
import anneal.tensor.Memory;
import anneal.tensor.Ops;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import anneal.train.AdamW;
import anneal.train.Loss;
import anneal.train.Optimizer;
import anneal.train.Schedule;
import anneal.train.TrainConfig;
import anneal.train.Trainer;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

class LisaTest extends ArenaFixture {
    private static final int BLOCKS = 5;

    private TinyModel model() {
        return new TinyModel(arena, BLOCKS);
    }

    private static Loss loss(TinyModel model) {
        return new Loss(Ops.scale(Ops.sum(Ops.logSoftmax(model.forward())), -1), 45);
    }

    /** The blocks of parameters that a condition holds for; -1 for what is outside of all. */
    private static Set<Integer> blocks(Adapters adapters, java.util.function.Predicate<Tensor> holds) {
        return adapters.parameters().entrySet().stream()
                .filter(e -> holds.test(e.getValue()))
                .map(e -> Targets.block(e.getKey()).orElse(-1))
                .collect(Collectors.toSet());
    }

    /** Two blocks of five and what is outside have gradients and state; only they move; after every third step they are others. */
    @Test
    void onlyWhatIsDrawnIsTrainedAndRemembered() {
        TinyModel model = model();
        Adapters adapters = Lisa.of(2, 3).attach(model, 4);
        LisaTuning lisa = (LisaTuning) adapters.tuning();
        Set<List<Integer>> drawn = new HashSet<>();
        Set<Integer> ever = new HashSet<>();
        long all =
                adapters.parameters().values().stream().mapToLong(Tensor::size).sum();
        try (Optimizer optimizer = new Optimizer(adapters.parameters(), new AdamW(), List.of())) {
            adapters.begin(30);
            for (int step = 1; step <= 30; step++) {
                List<Integer> now = lisa.inUse();
                Map<String, float[]> before = numbers(adapters);
                optimizer.zeroGrad();
                try (var _ = Memory.scope()) {
                    Tape.backward(loss(model).sum());
                }
                Set<Integer> expected = new HashSet<>(now);
                expected.add(-1);
                assertThat(blocks(adapters, Tensor::hasGrad))
                        .isEqualTo(expected)
                        .hasSize(3);
                optimizer.step(1.0 / 45, 1e-2);
                Map<String, float[]> after = numbers(adapters);
                Set<Integer> moved = new HashSet<>();
                before.forEach((name, numbers) -> {
                    if (!java.util.Arrays.equals(numbers, after.get(name))) {
                        moved.add(Targets.block(name).orElse(-1));
                    }
                });
                assertThat(moved).isEqualTo(expected);
                long remembered = optimizer.state().values().stream()
                        .mapToLong(t -> t.data().byteSize())
                        .sum();
                long trained = adapters.parameters().values().stream()
                        .filter(Tensor::tracked)
                        .mapToLong(Tensor::size)
                        .sum();
                assertThat(remembered).isEqualTo(8 * trained).isLessThan(8 * all * 6 / 10);
                adapters.updated(new Trainable.Step(step, 30, 1.0 / 45));
                if (step % 3 != 0) {
                    assertThat(lisa.inUse()).isEqualTo(now);
                }
                drawn.add(now);
                ever.addAll(now);
            }
        }
        assertThat(drawn).hasSizeGreaterThan(4);
        assertThat(ever).containsExactlyInAnyOrder(0, 1, 2, 3, 4);
    }

    private static Map<String, float[]> numbers(Adapters adapters) {
        Map<String, float[]> all = new LinkedHashMap<>();
        adapters.parameters().forEach((name, p) -> all.put(name, p.toArray()));
        return all;
    }

    private static TrainConfig.Builder config() {
        return TrainConfig.builder().steps(13).schedule(new Schedule.Constant(1e-2));
    }

    /** Saved after each step; resumed from each of them, with another seed, it ends as if it had not stopped. */
    @Test
    void aRunThatIsResumedGoesOnBitForBit() {
        TinyModel whole = model();
        Adapters adapters = Lisa.of(2, 3).attach(whole, 4);
        TrainConfig saving = config().saveEvery(1).keepLast(0).checkpoints(dir).build();
        try (Trainer trainer = new Trainer(adapters, new AdamW(), saving)) {
            trainer.fit(epoch -> List.of(0).iterator(), x -> loss(whole));
        }
        for (int step : new int[] {1, 3, 5, 6, 12}) {
            TinyModel model = model();
            Adapters again = Lisa.of(2, 3).attach(model, 99);
            try (Trainer trainer = new Trainer(again, new AdamW(), config().build())) {
                trainer.resume(checkpoint(step));
                trainer.fit(epoch -> List.of(0).iterator(), x -> loss(model));
            }
            numbers(again)
                    .forEach((name, numbers) -> assertThat(numbers)
                            .as("%s after a stop at %d", name, step)
                            .containsExactly(adapters.parameters().get(name).toArray()));
        }
    }

    private Path checkpoint(int step) {
        try (var list = java.nio.file.Files.list(dir)) {
            return list.filter(p -> p.getFileName().toString().matches("\\D*0*" + step))
                    .findFirst()
                    .orElseThrow();
        } catch (java.io.IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
    }

    @Test
    void aHeadThatIsTheEmbeddingStaysIt() {
        TinyModel tied = new TinyModel(arena, 2, true);
        float[] base = AdapterContract.logits(tied);
        Adapters adapters = Lisa.of(1, 1).attach(tied);
        assertThat(AdapterContract.logits(tied)).containsExactly(base);
        assertThat(adapters.parameters().keySet())
                .contains("model.embed_tokens.weight")
                .doesNotContain("lm_head.weight");
        assertThat(tied.find(Linear.class).get("lm_head").weight())
                .isSameAs(tied.find(Embedding.class).get("model.embed_tokens").weight());
        AdapterContract.disturb(adapters);
        float[] changed = AdapterContract.logits(tied);
        adapters.merge();
        assertThat(AdapterContract.logits(tied)).containsExactly(changed);
        adapters.detach();
        assertThat(AdapterContract.logits(tied)).containsExactly(base);
    }

    @Test
    void whatIsFrozenForGoodIsNotDrawn() {
        TinyModel model = model();
        Adapters adapters = Lisa.of(BLOCKS, 1).attach(model);
        adapters.freeze("q_proj");
        try (Trainer trainer = new Trainer(adapters, new AdamW(), config().build())) {
            trainer.fit(epoch -> List.of(0).iterator(), x -> loss(model));
        }
        assertThat(((LisaTuning) adapters.tuning()).parameters().entrySet())
                .allSatisfy(e -> assertThat(e.getValue().tracked())
                        .as(e.getKey())
                        .isEqualTo(!e.getKey().contains("q_proj")));
    }

    @Test
    void saysWhatCannotBeDrawn() {
        refused(() -> Lisa.of(0, 1), "Lisa: blocks 0 must be at least 1");
        refused(() -> Lisa.of(1, 0), "Lisa: every 0 must be at least 1");
        refused(() -> Lisa.of(6, 1).attach(model()), "Lisa: blocks 6 is more than the model's 5 blocks");
    }
}
