package anneal.cli;

import static org.assertj.core.api.Assertions.assertThat;

import anneal.Pretrained;
import anneal.TinyModel;
import anneal.quant.Mask;
import anneal.quant.Pruning;
import java.lang.foreign.Arena;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** What a run says that it will take, before it begins. */
class RunPlanTest {
    private static RunPlan.Bytes bytes(Pretrained lm, boolean checkpoints) {
        RunFlags flags = new RunFlags();
        flags.steps.gradCheckpoint = checkpoints;
        return RunPlan.of(lm.model(), lm.model().config(), lm.model().root().parameters(), flags, 32)
                .bytes();
    }

    /** Four bytes a weight for its mask; as much for the product of both, of two blocks or of one. */
    @Test
    void masksAndTheirProductsAreCounted() {
        try (Pretrained lm = TinyModel.create(1);
                Arena arena = Arena.ofShared()) {
            lm.trainable();
            RunPlan.Bytes plain = bytes(lm, false), checkpoints = bytes(lm, true);
            Map<String, Mask> masks = new Pruning(new Pruning.Choice.NofM(2, 4))
                    .magnitude(lm.model().root(), arena);
            long more =
                    4 * masks.values().stream().mapToLong(m -> 2 * m.dropped()).sum();
            assertThat(bytes(lm, false).weights())
                    .isEqualTo(plain.weights() + more)
                    .isPositive();
            assertThat(bytes(lm, false).activations()).isEqualTo(plain.activations() + more);
            assertThat(bytes(lm, true).activations()).isEqualTo(checkpoints.activations() + more / 2);
        }
    }
}
