package anneal.quant;

import anneal.kernels.Matrix;
import anneal.nn.Weight;
import anneal.tensor.Ops;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.Optional;

/**
 * A frozen matrix in a {@link QuantFormat}. Products read it as it is stored, forward and backward: nothing is widened to a matrix of
 * floats, so adapters train on it in the memory that the format takes.
 */
public sealed interface QuantizedWeight extends Weight permits FourBitWeight, Int8Weight, PackedWeight {
    /** The format it was made with. */
    QuantFormat quantFormat();

    @Override
    default int out() {
        return matrix().rows();
    }

    @Override
    default int in() {
        return matrix().cols();
    }

    @Override
    default Tensor matmulT(Tensor x) {
        return Ops.matmulT(x, matrix());
    }

    @Override
    default Tensor rows(int[] ids) {
        return Ops.embedding(matrix(), ids);
    }

    /** None: only adapters beside it are trained. */
    @Override
    default Optional<Tensor> parameter() {
        return Optional.empty();
    }

    @Override
    default String format() {
        return quantFormat().name();
    }

    @Override
    default Optional<Weight> like(Matrix numbers, Arena arena) {
        return Optional.of(quantFormat().quantize(numbers, arena));
    }

    /** Bytes that hold the numbers and their scales. */
    default long bytes() {
        return matrix().bytes();
    }

    @Override
    Matrix matrix();
}
