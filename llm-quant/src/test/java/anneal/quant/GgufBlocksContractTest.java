package anneal.quant;

import static org.assertj.core.api.Assertions.assertThat;

import anneal.kernels.BlockFormat;
import anneal.kernels.F32Matrix;
import anneal.kernels.Matrix;
import anneal.nn.StoredWeight;
import anneal.nn.Weight;
import anneal.tensor.DType;
import anneal.tensor.Tensor;
import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class GgufBlocksContractTest extends WeightContract {
    @Override
    List<Case> cases() {
        return List.of(
                new Case(GgufBlocks.Q4_0, 0.09),
                new Case(GgufBlocks.Q4_1, 0.08),
                new Case(GgufBlocks.Q5_0, 0.045),
                new Case(GgufBlocks.Q5_1, 0.04),
                new Case(GgufBlocks.Q8_0, 0.0055),
                new Case(GgufBlocks.Q4_K, 0.075),
                new Case(GgufBlocks.Q5_K, 0.0375),
                new Case(GgufBlocks.Q6_K, 0.0185));
    }

    /** Blocks of a file, which no one here made, are written by the same hand; those of 2 and 3 bits are only read. */
    @ParameterizedTest
    @EnumSource(BlockFormat.class)
    void aWeightOfAFileIsGivenBackInItsBlocks(BlockFormat format) {
        DType type = DType.valueOf(format.name());
        Tensor numbers = random(7, 4, 512);
        Matrix w = new F32Matrix(numbers.buf(), 4, 512);
        Weight stored = new StoredWeight(type.matrix(arena.allocate(type.bytes(4 * 512)), 4, 512), type);
        if (format == BlockFormat.Q2_K || format == BlockFormat.Q3_K) {
            assertThat(stored.like(w, arena)).isEmpty();
            return;
        }
        Weight like = stored.like(w, arena).orElseThrow();
        assertThat(like.format()).isEqualTo(format.name());
        assertThat(like.dense(arena).parameter().orElseThrow().toArray())
                .isEqualTo(new GgufBlocks(format)
                        .quantize(w, arena)
                        .dense(arena)
                        .parameter()
                        .orElseThrow()
                        .toArray());
    }
}
