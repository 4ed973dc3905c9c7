package anneal.nn;

import anneal.kernels.F32Matrix;
import anneal.kernels.Kernels;
import anneal.kernels.Matrix;
import anneal.kernels.TransposedMatrix;
import anneal.tensor.Ops;
import anneal.tensor.Shape;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.Optional;

/**
 * Floats in memory: the only storage that can be trained.
 *
 * @param tensor the numbers [out, in]
 */
public record DenseWeight(Tensor tensor) implements Weight {
    /** The numbers of a matrix, widened into memory of {@code arena}. */
    public static DenseWeight copy(Matrix matrix, Arena arena) {
        Tensor tensor = Tensor.allocate(arena, Shape.of(matrix.rows(), matrix.cols()));
        Kernels.get().widen(tensor.buf(), matrix);
        return new DenseWeight(tensor);
    }

    /** These rows of a matrix, in this order. */
    public static DenseWeight rows(Matrix matrix, int[] order, Arena arena) {
        Tensor tensor = Tensor.allocate(arena, Shape.of(order.length, matrix.cols()));
        Kernels.get().embedding(tensor.buf(), matrix, order);
        return new DenseWeight(tensor);
    }

    /** The numbers of a matrix turned round: [in, out]. */
    public static DenseWeight turned(Matrix matrix, Arena arena) {
        return copy(
                matrix instanceof TransposedMatrix view
                        ? view.stored()
                        // by way of floats: a number of a block alone costs the whole block
                        : new TransposedMatrix(copy(matrix, Arena.ofAuto()).matrix()),
                arena);
    }

    @Override
    public int out() {
        return tensor.dim(0);
    }

    @Override
    public int in() {
        return tensor.dim(1);
    }

    @Override
    public Tensor matmulT(Tensor x) {
        return Ops.matmulT(x, tensor);
    }

    @Override
    public Tensor rows(int[] ids) {
        return Ops.embedding(tensor, ids);
    }

    @Override
    public Matrix matrix() {
        return new F32Matrix(tensor.buf(), out(), in());
    }

    @Override
    public Optional<Tensor> parameter() {
        return Optional.of(tensor);
    }

    @Override
    public Optional<Weight> like(Matrix numbers, Arena arena) {
        return Optional.of(copy(numbers, arena));
    }

    @Override
    public String format() {
        return "F32";
    }
}
