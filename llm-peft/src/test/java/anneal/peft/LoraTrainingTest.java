package anneal.peft;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import anneal.Golden;
import anneal.NextToken;
import anneal.data.Batch;
import anneal.kernels.Parallel;
import anneal.model.Decoder;
import anneal.model.ModelFiles;
import anneal.model.Tokens;
import anneal.tensor.DType;
import anneal.tensor.Memory;
import anneal.tensor.Rng;
import anneal.tensor.Tape;
import anneal.train.AdamW;
import anneal.train.Schedule.Cosine;
import anneal.train.TrainConfig;
import anneal.train.Trainer;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.IntFunction;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Adapters, trainer and model together: what a fine-tuning run promises. */
class LoraTrainingTest {
    @TempDir
    Path dir;

    private final int threads = Parallel.threads();
    private Arena arena;

    @BeforeEach
    void open() {
        arena = Arena.ofShared();
    }

    @AfterEach
    void close() {
        Parallel.threads(threads);
        Tape.clear();
        arena.close();
    }

    private Decoder base() {
        return ModelFiles.load(Golden.root().resolve("peft/base/llama"), arena);
    }

    private static Lora.Builder lora() {
        return Lora.rank(4).alpha(8).dropout(0.2).on(Targets.ALL_LINEAR);
    }

    /** Eight samples of uneven length in batches of {@code rows}, padded at the right, the batches in another order each epoch. */
    private static IntFunction<Iterator<Batch>> data(int rows) {
        return epoch -> {
            List<Batch> batches = new ArrayList<>();
            for (int from = 0; from < 8; from += rows) {
                batches.add(batch(from, rows));
            }
            java.util.Collections.rotate(batches, epoch);
            return batches.iterator();
        };
    }

    private static Batch batch(int from, int rows) {
        int length = 12, n = rows * length;
        int[] ids = new int[n], targets = new int[n], segments = new int[n], positions = new int[n];
        Arrays.fill(targets, -1);
        Arrays.fill(segments, -1);
        List<String> names = new ArrayList<>();
        for (int r = 0; r < rows; r++) {
            Rng rng = new Rng(50 + from + r);
            int used = 6 + rng.nextInt(7);
            for (int t = 0; t < used; t++) {
                int i = r * length + t;
                ids[i] = 3 + rng.nextInt(60);
                segments[i] = 0;
                positions[i] = t;
                if (t > 1) {
                    targets[i - 1] = ids[i];
                }
            }
            names.add("sample " + (from + r));
        }
        return new Batch(ids, targets, segments, positions, rows, length, names);
    }

    private static TrainConfig.Builder config(int steps) {
        return TrainConfig.builder().steps(steps).logEvery(1).schedule(new Cosine(1e-2, 2));
    }

    private static Map<String, float[]> train(
            Decoder model, Adapters adapters, TrainConfig config, int rows, Path resume) {
        try (Trainer trainer = new Trainer(adapters, new AdamW(), config)) {
            if (resume != null) {
                trainer.resume(resume);
            }
            assertThat(trainer.fit(data(rows), new NextToken(model))).isTrue();
        }
        Map<String, float[]> values = new LinkedHashMap<>();
        adapters.parameters().forEach((name, p) -> values.put(name, p.toArray()));
        return values;
    }

    private Map<String, float[]> train(Lora.Builder lora, TrainConfig config, int rows, boolean checkpointing) {
        Decoder model = base();
        model.checkpointing(checkpointing);
        return train(model, lora.attach(model), config, rows, null);
    }

    private static void assertSameBits(Map<String, float[]> a, Map<String, float[]> b) {
        assertThat(a.keySet()).isEqualTo(b.keySet());
        a.forEach((name, x) -> assertThat(x).as(name).containsExactly(b.get(name)));
    }

    @Test
    void learnsAndTheSavedAdapterGivesTheSameLoss() {
        Decoder model = base();
        Adapters adapters = lora().attach(model);
        NextToken objective = new NextToken(model);
        double after;
        try (Trainer trainer = new Trainer(adapters, new AdamW(), config(60).build())) {
            double before = trainer.evaluate(data(4).apply(0), objective).loss();
            trainer.fit(data(4), objective);
            after = trainer.evaluate(data(4).apply(0), objective).loss();
            assertThat(after).isLessThan(0.3 * before);
            try (var _ = adapters.disabled()) {
                assertThat(trainer.evaluate(data(4).apply(0), objective).loss()).isEqualTo(before);
            }
            assertThat(trainer.evaluate(data(4).apply(0), objective).loss()).isEqualTo(after);
        }
        adapters.save(dir.resolve("adapter"));
        Decoder other = base();
        Adapters loaded = Adapters.load(other, dir.resolve("adapter"));
        try (Trainer trainer = new Trainer(loaded, new AdamW(), config(1).build())) {
            assertThat(trainer.evaluate(data(4).apply(0), new NextToken(other)).loss())
                    .isEqualTo(after);
            loaded.merge();
            assertThat(trainer.evaluate(data(4).apply(0), new NextToken(other)).loss())
                    .isCloseTo(after, within(1e-5));
        }
    }

    @Test
    void resumingContinuesBitForBit() {
        TrainConfig config = config(20)
                .accumulate(2)
                .saveEvery(10)
                .keepLast(0)
                .checkpoints(dir)
                .build();
        Map<String, float[]> straight = train(lora(), config, 2, false);
        Decoder model = base();
        Adapters other = lora().attach(model, 77);
        assertSameBits(train(model, other, config, 2, dir.resolve("checkpoint-10")), straight);
    }

    @Test
    void doesNotDependOnThreadsOrOnWhatIsKeptForTheBackwardPass() {
        Parallel.threads(1);
        Map<String, float[]> one = train(lora(), config(6).build(), 4, false);
        Parallel.threads(2);
        assertSameBits(train(lora(), config(6).build(), 4, false), one);
        assertSameBits(train(lora(), config(6).build(), 4, true), one);
    }

    @Test
    void oneBatchOfEightEqualsTwoOfFourAndEightOfOne() {
        Lora.Builder still = lora().dropout(0);
        Map<String, float[]> whole = train(still, config(5).build(), 8, false);
        for (int rows : new int[] {4, 1}) {
            Map<String, float[]> parts =
                    train(still, config(5).accumulate(8 / rows).build(), rows, false);
            whole.forEach((name, x) -> {
                for (int i = 0; i < x.length; i++) {
                    assertThat(parts.get(name)[i])
                            .as("%s[%d], rows %d", name, i, rows)
                            .isCloseTo(x[i], within(2e-5f));
                }
            });
        }
    }

    @Test
    void aMergedModelIsSavedWithItsHeadEvenIfThatWasTheEmbedding() {
        Decoder model = ModelFiles.load(Golden.root().resolve("peft/base/gpt2"), arena);
        assertThat(model.config().tied()).isTrue();
        Adapters adapters =
                Lora.rank(2).init(Lora.Init.RANDOM).on("c_attn", "lm_head").attach(model);
        Batch batch = batch(0, 2);
        adapters.merge();
        float[] merged = logits(model, batch);
        ModelFiles.save(model, dir, DType.F32);
        assertThat(logits(ModelFiles.load(dir, arena), batch)).containsExactly(merged);
    }

    private static float[] logits(Decoder model, Batch b) {
        try (var _ = Memory.scope();
                var _ = Tape.pause()) {
            return model.logits(Tokens.of(b.ids(), b.batch(), b.length())).toArray();
        }
    }

    @Test
    void anAdapterOfAnotherModelIsRefused() {
        lora().attach(base()).save(dir.resolve("adapter"));
        Decoder other = ModelFiles.load(Golden.root().resolve("peft/base/gpt2"), arena);
        assertThatThrownBy(() -> Adapters.load(other, dir.resolve("adapter")))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageMatching("targets: no linear layer fits .*; there are c_attn, c_fc, c_proj, lm_head");
    }
}
