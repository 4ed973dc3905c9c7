package anneal.quant;

import anneal.kernels.BlockMatrix;
import anneal.kernels.GroupMatrix;
import anneal.kernels.Matrix;
import anneal.nn.FolderForm;
import anneal.nn.Stored;
import anneal.tensor.DType;
import java.util.Map;
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

    @Override
    public Optional<FolderForm> folderForm() {
        return quantFormat instanceof GroupInt format && matrix instanceof GroupMatrix groups
                ? Optional.of(new PackQuantized(format, () -> groups, Map.of(), Map.of()))
                : Optional.empty();
    }
}
