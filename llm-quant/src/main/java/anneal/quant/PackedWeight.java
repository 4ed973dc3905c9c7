package anneal.quant;

import anneal.kernels.BlockMatrix;
import anneal.kernels.Matrix;
import anneal.nn.Stored;
import anneal.tensor.DType;
import java.util.Optional;

/**
 * A matrix in blocks of GGUF or in groups of integers: all there is to it is its bytes.
 *
 * @param quantFormat what it was made with
 * @param matrix the numbers [out, in]
 */
public record PackedWeight(QuantFormat quantFormat, Matrix matrix) implements QuantizedWeight {
    @Override
    public Optional<Stored> blocks() {
        return matrix instanceof BlockMatrix b
                ? Optional.of(new Stored(DType.valueOf(b.format().name()), b.data(), b.rows(), b.cols()))
                : Optional.empty();
    }
}
