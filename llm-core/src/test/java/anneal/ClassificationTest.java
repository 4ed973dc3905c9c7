package anneal;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import anneal.data.LabelledBatch;
import anneal.model.SequenceClassifier;
import anneal.model.Tokens;
import anneal.tensor.Memory;
import anneal.tensor.Rng;
import anneal.tensor.Tape;
import anneal.train.AdamW;
import anneal.train.Loss;
import anneal.train.Schedule;
import anneal.train.TrainConfig;
import anneal.train.Trainer;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class ClassificationTest {
    private static final int PAD = 0;

    private Arena arena;
    private Pretrained lm;
    private SequenceClassifier model;

    @BeforeEach
    void open() {
        arena = Arena.ofShared();
        lm = TinyModel.create(3);
        model = new SequenceClassifier(lm.model(), 3, PAD, arena, 1);
    }

    @AfterEach
    void close() {
        Tape.clear();
        lm.close();
        arena.close();
    }

    /** Texts of 2 to 6 tokens, labelled by their first one: the classifier reads at the last and must look back. */
    private static List<LabelledBatch> batches(int count, long seed) {
        Rng rng = new Rng(seed);
        List<LabelledBatch> all = new ArrayList<>();
        for (int b = 0; b < count; b++) {
            List<int[]> texts = new ArrayList<>();
            int[] labels = new int[6];
            for (int i = 0; i < labels.length; i++) {
                labels[i] = rng.nextInt(3);
                int[] text = new int[2 + rng.nextInt(5)];
                for (int t = 0; t < text.length; t++) {
                    text[t] = t == 0 ? 10 + labels[i] : 20 + rng.nextInt(20);
                }
                texts.add(text);
            }
            all.add(LabelledBatch.of(texts, labels, PAD));
        }
        return all;
    }

    private float[] logits(Tokens tokens) {
        try (var _ = Memory.scope();
                var _ = Tape.pause()) {
            return model.logits(tokens).toArray();
        }
    }

    @Test
    void learnsToTellLabelsApart() {
        Classification objective = new Classification(model);
        List<String> names = List.of("a", "b", "c");
        double before = objective.evaluate(batches(5, 2).iterator(), names).accuracy();
        TrainConfig config = TrainConfig.builder()
                .steps(60)
                .schedule(new Schedule.Constant(3e-3, 0))
                .build();
        try (Trainer trainer = new Trainer(model.parameters(), new AdamW(), config)) {
            trainer.fit(epoch -> batches(60, 100 + epoch).iterator(), objective);
        }
        Confusion after = objective.evaluate(batches(5, 2).iterator(), names);
        assertThat(after.count()).isEqualTo(30);
        assertThat(after.accuracy()).as("from %.2f", before).isGreaterThan(0.9).isGreaterThan(before);
    }

    @Test
    void padsOnEitherSideChangeNothingAndOneInsideDoesNotEndTheText() {
        float[] plain = logits(Tokens.of(5, 6, 7));
        assertClose(logits(Tokens.of(5, 6, 7, PAD, PAD)), plain);
        int[] segments = {-1, -1, 0, 0, 0};
        assertClose(logits(new Tokens(new int[] {PAD, PAD, 5, 6, 7}, 1, 5, null, segments)), plain);
        assertThat(logits(Tokens.of(5, PAD, 7))).isNotEqualTo(logits(Tokens.of(5)));
        assertClose(logits(Tokens.of(PAD, PAD)), logits(Tokens.of(PAD))); // nothing but padding: position 0
    }

    private static void assertClose(float[] actual, float[] expected) {
        assertThat(actual).hasSameSizeAs(expected);
        for (int i = 0; i < expected.length; i++) {
            assertThat(actual[i]).isCloseTo(expected[i], within(1e-4f));
        }
    }

    @Test
    void theLossIsASumOverTexts() {
        Classification objective = new Classification(model);
        LabelledBatch batch = batches(1, 5).getFirst();
        double sum = 0;
        try (var _ = Memory.scope();
                var _ = Tape.pause()) {
            Loss whole = objective.apply(batch);
            assertThat(whole.count()).isEqualTo(6);
            for (int i = 0; i < 6; i++) {
                int[] row = java.util.Arrays.copyOfRange(batch.ids(), i * batch.length(), (i + 1) * batch.length());
                sum += objective
                        .apply(new LabelledBatch(row, new int[] {batch.labels()[i]}, 1, batch.length()))
                        .sum()
                        .item();
            }
            assertThat((double) whole.sum().item()).isCloseTo(sum, within(1e-4));
        }
    }

    @Test
    void saysWhatDoesNotFit() {
        assertThatThrownBy(() -> model.nll(Tokens.of(5, 6), new int[] {3}))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("nll: label 3 is not one of 0 .. 2");
        assertThatThrownBy(() -> model.nll(Tokens.of(5, 6), new int[] {0, 1}))
                .hasMessage("nll: 2 labels for a batch of 1 rows");
        assertThatThrownBy(() -> new SequenceClassifier(lm.model(), 1, PAD, arena, 1))
                .hasMessage("SequenceClassifier: 1 labels; there must be at least 2");
        assertThatThrownBy(() -> new SequenceClassifier(lm.model(), 2, 300, arena, 1))
                .hasMessage("SequenceClassifier: padding id 300 is outside the vocabulary of 300");
        assertThatThrownBy(() -> LabelledBatch.of(List.of(new int[0]), new int[1], PAD))
                .hasMessage("LabelledBatch: text 0 has no tokens");
        assertThatThrownBy(() -> new LabelledBatch(new int[3], new int[2], 2, 2))
                .hasMessage("LabelledBatch: ids [3] must be [2, 2] and labels [2] must be [2]");
    }

    @Test
    void aBatchWithoutPaddingIdIsRefused() {
        try (Pretrained other = TinyModel.create(4)) {
            SequenceClassifier none = new SequenceClassifier(other.model(), 2, -1, arena, 1);
            assertThatThrownBy(() -> none.logits(Tokens.of(new int[] {1, 2, 3, 4}, 2, 2)))
                    .hasMessage(
                            "logits: a batch of 2 rows needs a padding id to find the end of each, and this model has"
                                    + " none");
            assertThat(none.predict(Tokens.of(1, 2))).hasSize(1);
        }
    }
}
