package anneal.quant;

import anneal.kernels.Matrix;
import anneal.nn.BlockWriter;
import anneal.tensor.DType;
import java.lang.foreign.Arena;
import java.util.Locale;
import java.util.Optional;

/** The blocks of {@link GgufBlocks} for weights that were read from a GGUF file; 2 and 3 bits are only read. */
public final class BlockRounding implements BlockWriter {
    /** For {@link java.util.ServiceLoader}. */
    public BlockRounding() {}

    @Override
    public Optional<Matrix> write(DType type, Matrix numbers, Arena arena) {
        return switch (type) {
            case Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K ->
                GgufBlocks.of(type.name().toLowerCase(Locale.ROOT))
                        .map(format -> format.quantize(numbers, arena).matrix());
            default -> Optional.empty();
        };
    }
}
