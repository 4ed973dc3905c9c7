package anneal;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import anneal.data.Batch;
import anneal.model.Decoder;
import anneal.model.ModelFiles;
import anneal.tensor.Memory;
import anneal.tensor.NllOptions;
import anneal.tensor.Rng;
import anneal.tensor.Tape;
import anneal.train.AdamW;
import anneal.train.EvalReport;
import anneal.train.Loss;
import anneal.train.Schedule.Constant;
import anneal.train.TrainConfig;
import anneal.train.Trainer;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class NextTokenTest {
    private Arena arena;
    private Decoder model;

    @BeforeEach
    void load() {
        arena = Arena.ofShared();
        Path folder = Golden.cases("models").stream()
                .filter(f -> f.getFileName().toString().startsWith("llama"))
                .findFirst()
                .orElseThrow();
        model = ModelFiles.load(folder, arena).train(arena);
    }

    @AfterEach
    void close() {
        Tape.clear();
        arena.close();
    }

    /** Rows of one sample each; the first {@code prompt} tokens of each are not learnt. */
    private Batch batch(int rows, int length, int prompt) {
        Rng rng = new Rng(11);
        int n = rows * length;
        int[] ids = new int[n], targets = new int[n], positions = new int[n];
        Arrays.setAll(ids, i -> rng.nextInt(model.vocabSize()));
        for (int i = 0; i < n; i++) {
            positions[i] = i % length;
            targets[i] = i % length < prompt || i % length == length - 1 ? -1 : ids[i + 1];
        }
        return new Batch(ids, targets, new int[n], positions, rows, length, List.of("chat.jsonl line 3"));
    }

    private double mean(NextToken objective, Batch batch) {
        try (var _ = Memory.scope()) {
            Loss loss = objective.apply(batch);
            return loss.sum().item() / loss.count();
        } finally {
            Tape.clear();
        }
    }

    @Test
    void countsTargetsAndTokens() {
        try (var _ = Memory.scope()) {
            Loss loss = new NextToken(model).apply(batch(2, 9, 3));
            assertThat(loss.count()).isEqualTo(2 * 5);
            assertThat(loss.metrics()).containsEntry(Loss.TOKENS, 18.0);
        }
    }

    @Test
    void segmentsOfOneSampleChangeNothing() {
        Batch plain = batch(2, 9, 3);
        int[] other = new int[18];
        Arrays.fill(other, 1);
        Batch named = new Batch(
                plain.ids(), plain.targets(), other, plain.positions(), plain.batch(), plain.length(), plain.names());
        NextToken objective = new NextToken(model);
        assertThat(mean(objective, named)).isCloseTo(mean(objective, plain), within(1e-6));
    }

    @Test
    void aPackedRowIsTheSumOfItsParts() {
        Batch a = batch(1, 6, 2), b = batch(1, 10, 4);
        int[] ids = new int[16], targets = new int[16], segments = new int[16], positions = new int[16];
        for (int i = 0; i < 16; i++) {
            Batch from = i < 6 ? a : b;
            int at = i < 6 ? i : i - 6;
            ids[i] = from.ids()[at];
            targets[i] = from.targets()[at];
            segments[i] = i < 6 ? 0 : 1;
            positions[i] = at;
        }
        Batch packed = new Batch(ids, targets, segments, positions, 1, 16, List.of("a", "b"));
        NextToken objective = new NextToken(model);
        try (var _ = Memory.scope()) {
            double parts =
                    objective.apply(a).sum().item() + objective.apply(b).sum().item();
            assertThat((double) objective.apply(packed).sum().item()).isCloseTo(parts, within(1e-4));
        }
    }

    @Test
    void smoothingAndZLossActOnlyWhileTraining() {
        Batch batch = batch(2, 9, 3);
        double plain = mean(new NextToken(model), batch);
        NextToken smooth = new NextToken(model, new NllOptions(0.1f, 0)),
                z = new NextToken(model, new NllOptions(0, 0.01f));
        assertThat(mean(smooth, batch)).isNotEqualTo(plain);
        assertThat(mean(z, batch)).isGreaterThan(plain);
        try (var _ = Tape.pause()) {
            assertThat(mean(smooth, batch)).isEqualTo(plain);
        }
    }

    @Test
    void namesTheSamplesOfABatchThatTeachesNothing() {
        Batch batch = batch(2, 9, 9);
        assertThatThrownBy(() -> new NextToken(model).apply(batch))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("NextToken: no token to learn in batch [2, 9] of chat.jsonl line 3");
    }

    @Test
    void aModelLearnsABatchByHeart() {
        TrainConfig config =
                TrainConfig.builder().steps(120).schedule(new Constant(5e-3, 5)).build();
        try (Trainer trainer = new Trainer(model.parameters(), new AdamW(), config)) {
            Batch batch = batch(3, 12, 4);
            NextToken objective = new NextToken(model);
            trainer.fit(epoch -> List.of(batch).iterator(), objective);
            EvalReport after = trainer.evaluate(List.of(batch).iterator(), objective);
            assertThat(after.loss()).isLessThan(0.05);
            assertThat(after.perplexity()).isLessThan(1.06);
        }
    }
}
