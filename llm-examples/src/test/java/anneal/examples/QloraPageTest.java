package anneal.examples;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import anneal.NextToken;
import anneal.Pretrained;
import anneal.TinyModel;
import anneal.data.Batches;
import anneal.data.Jsonl;
import anneal.model.DecoderConfig;
import anneal.model.Family;
import anneal.model.Tokens;
import anneal.nn.Linear;
import anneal.peft.Adapters;
import anneal.peft.Lora;
import anneal.quant.Nf4;
import anneal.quant.QuantFormat;
import anneal.quant.Quantizer;
import anneal.tensor.Memory;
import anneal.tensor.Shape;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import anneal.text.ChatTemplate;
import anneal.train.AdamW8bit;
import anneal.train.Optimizer;
import anneal.train.Schedule;
import anneal.train.TrainConfig;
import anneal.train.Trainer;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What docs/qlora.md says of problems and their cures holds. */
class QloraPageTest {
    private static final Tokens IDS = Tokens.of(5, 9, 0, 7, 1, 5, 2, 8);

    @TempDir
    private Path dir;

    private Pretrained lm;
    private Adapters adapters;

    @BeforeEach
    void open() {
        lm = TinyModel.create(7);
    }

    @AfterEach
    void close() {
        Tape.clear();
        lm.close();
    }

    private Adapters adapted() {
        Qlora.quantise(lm.model());
        return fresh();
    }

    private Adapters fresh() {
        if (adapters != null) {
            adapters.detach();
        }
        adapters = Lora.rank(16).alpha(32).on("all-linear").attach(lm.model().root());
        return adapters;
    }

    private Batches data() {
        return Jsonl.chats(TinyModel.conversations(dir.resolve("train.jsonl"), 8))
                .encode(lm.chat())
                .pad()
                .batches(4);
    }

    /** The loss after so many steps. */
    private double train(Adapters adapters, double rate, int steps) {
        TrainConfig config = TrainConfig.builder()
                .steps(steps)
                .schedule(new Schedule.Constant(rate))
                .clipNorm(0.3)
                .build();
        NextToken objective = new NextToken(lm.model());
        try (Trainer trainer = new Trainer(adapters, new AdamW8bit(), config)) {
            trainer.fit(data(), objective);
            return trainer.evaluate(data().apply(0), objective).loss();
        }
    }

    private float[] logits() {
        try (var _ = Memory.scope();
                var _ = Tape.pause()) {
            return lm.model().logits(IDS).toArray();
        }
    }

    private static double distance(float[] a, float[] b) {
        double sum = 0;
        for (int i = 0; i < a.length; i++) {
            sum += Math.pow(a[i] - b[i], 2);
        }
        return Math.sqrt(sum);
    }

    @Test
    void aLossThatIsNotFiniteStopsTheRunAndSaysWhere() {
        adapted();
        assertThatThrownBy(() -> train(adapters, 1e30, 3))
                .isInstanceOf(ArithmeticException.class)
                .hasMessageMatching("(?s)fit: loss is .* at step 2 .*; parameters are as after step 1.*");
    }

    @Test
    void aWeightThatIsNotFiniteIsFoundBeforeTraining() {
        Linear layer = lm.model().find(Linear.class).get("model.layers.1.mlp.up_proj");
        lm.trainable();
        Tensor w = layer.weight().parameter().orElseThrow();
        float[] values = w.toArray();
        values[3] = Float.NaN;
        w.set(values);
        assertThatThrownBy(() -> Qlora.quantise(lm.model()))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("model.layers.1.mlp.up_proj: ");
    }

    @Test
    void aRateThatIsTooHighMakesTheLossRise() {
        adapted();
        double untrained = train(adapters, 0, 1), learnt = train(adapters, 5e-3, 40);
        assertThat(learnt).isLessThan(untrained - 1);
        assertThat(train(adapters, 1, 3)).isGreaterThan(learnt + 1);
    }

    @Test
    void checkpointingTakesLessMemoryForTheSameGradients() {
        Map<Boolean, Long> bytes = new HashMap<>();
        Map<Boolean, List<float[]>> gradients = new HashMap<>();
        adapted();
        try (Optimizer optimizer = new Optimizer(adapters.parameters(), new AdamW8bit(), List.of())) {
            for (boolean on : new boolean[] {false, true}) {
                optimizer.zeroGrad();
                lm.model().checkpointing(on);
                try (Memory.Scope scope = Memory.scope()) {
                    Tape.backward(new NextToken(lm.model())
                            .apply(data().apply(0).next())
                            .sum());
                    bytes.put(on, scope.bytes());
                }
                gradients.put(
                        on,
                        adapters.parameters().values().stream()
                                .map(p -> p.grad().toArray())
                                .toList());
            }
        }
        assertThat(bytes.get(true)).isLessThan(bytes.get(false));
        assertThat(gradients.get(true)).usingRecursiveComparison().isEqualTo(gradients.get(false));
    }

    @Test
    void momentsInBytesAreAQuarter() {
        assertThat(new AdamW8bit()
                        .slots(Shape.of(64, 64)).stream()
                                .mapToLong(s -> s.dtype().bytes(s.shape().size()))
                                .sum())
                .isBetween(2L * 4096, 2L * 4096 + 2 * 4 * 16);
    }

    @Test
    void aHeadInFourBitsCosts() {
        float[] floats = logits();
        Qlora.quantise(lm.model());
        double without = distance(logits(), floats);
        Quantizer.format(new Nf4(64, true))
                .except("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
                .apply(lm.model());
        assertThat(distance(logits(), floats)).isGreaterThan(without);
    }

    @Test
    void anotherTemplateIsAnotherText() {
        adapted();
        double right = train(adapters, 5e-3, 30);
        lm.chatTemplate(
                ChatTemplate.of("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}", Map.of()));
        assertThat(train(adapters, 0, 1)).isGreaterThan(right);
        try (Pretrained base = Pretrained.create(config(), TinyModel.tokenizer(), 1)) {
            assertThatThrownBy(base::chat).hasMessageContaining("has no chat template");
        }
    }

    private static DecoderConfig config() {
        return DecoderConfig.builder(Family.LLAMA)
                .vocabSize(TinyModel.VOCABULARY)
                .hiddenSize(32)
                .feedForwardSize(64)
                .layers(1)
                .heads(4)
                .contextLength(32)
                .build();
    }

    @Test
    void mergedIntoFloatsNothingIsLostAndRoundedAgainMuchIs() {
        adapted();
        float[] base = logits();
        train(adapters, 1e-3, 8);
        float[] applied = logits();
        double effect = distance(base, applied);
        assertThatThrownBy(() -> adapters.merge(() -> lm.model().logits(IDS), 1e-3))
                .hasMessageContaining("in the storage of the layers a logit of the probe differs by")
                .hasMessageContaining("nothing was merged");
        assertThat(logits()).isEqualTo(applied);

        adapters.merge();
        assertThat(distance(logits(), applied)).isLessThan(0.01 * effect);
        adapters.unmerge();
        assertThat(logits()).isEqualTo(applied);

        adapters.merge(() -> lm.model().logits(IDS), Double.MAX_VALUE);
        assertThat(distance(logits(), applied)).as("effect %s", effect).isGreaterThan(0.5 * effect);
        adapters.unmerge();
        adapters.merge();
        Quantizer.format(QuantFormat.of("q8_0")).except("lm_head").apply(lm.model());
        assertThat(distance(logits(), applied)).as("effect %s", effect).isLessThan(0.5 * effect);
    }

    @Test
    void anAdapterOfARoundedBaseIsOffOnTheBaseInFloats() {
        adapted();
        train(adapters, 5e-3, 10);
        float[] applied = logits();
        adapters.save(dir.resolve("adapter"));
        try (Pretrained floats = TinyModel.create(7)) {
            Adapters.load(floats.model().root(), dir.resolve("adapter"));
            try (var _ = Memory.scope();
                    var _ = Tape.pause()) {
                float[] off = floats.model().logits(IDS).toArray();
                assertThat(distance(off, applied)).isGreaterThan(0.1);
            }
        }
        try (Pretrained rounded = TinyModel.create(7)) {
            Qlora.quantise(rounded.model());
            Adapters.load(rounded.model().root(), dir.resolve("adapter"));
            try (var _ = Memory.scope();
                    var _ = Tape.pause()) {
                assertThat(rounded.model().logits(IDS).toArray()).isEqualTo(applied);
            }
        }
    }

    @Test
    void theOrderIsQuantiseThenAttachAndOnlyOnce() {
        adapted();
        assertThatThrownBy(() -> Qlora.quantise(lm.model())).hasMessageContaining("is quantised already, as NF4");
        try (Pretrained other = TinyModel.create(8)) {
            Lora.rank(2).on("all-linear").attach(other.model().root());
            assertThatThrownBy(() -> Qlora.quantise(other.model()))
                    .hasMessageContaining("has an adapter; quantise first, then attach");
        }
    }
}
