package anneal.peft;

import static org.assertj.core.api.Assertions.assertThat;

import anneal.Classification;
import anneal.Pretrained;
import anneal.data.LabelledBatch;
import anneal.io.Safetensors;
import anneal.model.SequenceClassifier;
import anneal.model.Tokens;
import anneal.tensor.Memory;
import anneal.tensor.Tape;
import anneal.train.AdamW;
import anneal.train.Schedule;
import anneal.train.TrainConfig;
import anneal.train.Trainer;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A head that is trained beside a method leaves the method all that it does and saves. */
class HeadTuningTest {
    private static final int[] IDS = {7, 8, 9, 12, 8, 11};

    @TempDir
    private Path dir;

    private final Arena arena = Arena.ofShared();
    private final Pretrained lm = anneal.TinyModel.create(3);

    @AfterEach
    void close() {
        Tape.clear();
        lm.close();
        arena.close();
    }

    private SequenceClassifier classifier() {
        return new SequenceClassifier(lm.model(), 2, 0, arena, 1);
    }

    private static void train(SequenceClassifier model, Adapters adapters, int steps) {
        LabelledBatch batch = new LabelledBatch(IDS, new int[] {0, 1}, 2, 3);
        TrainConfig config = TrainConfig.builder()
                .steps(steps)
                .schedule(new Schedule.Constant(0.01, 0))
                .build();
        try (Trainer trainer = new Trainer(adapters, new AdamW(), config)) {
            trainer.fit(epoch -> List.of(batch).iterator(), new Classification(model));
        }
    }

    private static float[] logits(SequenceClassifier model) {
        try (var _ = Memory.scope();
                var _ = Tape.pause()) {
            return model.logits(Tokens.of(IDS, 2, 3)).toArray();
        }
    }

    @Test
    void adaLoraTakesRanksAwayInAClassifierToo() {
        SequenceClassifier model = classifier();
        Adapters adapters =
                AdaLora.rank(1).from(3).on("q_proj", "v_proj").build().attach(model, 0);
        assertThat(adapters.state()).isNotEmpty();
        train(model, adapters, 12);
        assertThat(adapters.penalty()).isPresent();
        assertThat(RankReport.of(adapters).toString().lines().reduce((a, b) -> b))
                .get()
                .asString()
                .matches("all +4 +12");
    }

    @Test
    void theProjectionsOfVeraAreInTheFile() {
        SequenceClassifier model = classifier();
        Adapters adapters = Vera.rank(4).on("q_proj", "v_proj").attach(model);
        train(model, adapters, 3);
        float[] trained = logits(model);
        adapters.save(dir);
        assertThat(Safetensors.open(dir.resolve("adapter_model.safetensors"), arena)
                        .tensors())
                .containsKeys("base_model.vera_A", "base_model.vera_B", "base_model.model.score.weight");
        adapters.detach();
        Adapters.load(model, dir);
        assertThat(logits(model)).containsExactly(trained);
    }

    @Test
    void startsThatLookAtDataOrAtTheWeightStandBesideAHead() {
        SequenceClassifier model = classifier();
        Adapters eva =
                Lora.rank(2).init(new LoraInit.Eva()).on("q_proj", "o_proj").attach(model, 0, () -> logits(model));
        assertThat(eva.parameters()).containsKey("score.weight");
        eva.detach();
        Adapters pissa =
                Lora.rank(2).alpha(2).init(new LoraInit.Pissa()).on("q_proj").attach(model);
        train(model, pissa, 2);
        float[] trained = logits(model);
        pissa.save(dir);
        pissa.detach();
        Adapters.load(model, dir);
        AdapterContract.assertClose(logits(model), trained, 1e-5);
    }
}
