package anneal.nn;

import anneal.kernels.F32Matrix;
import anneal.kernels.Kernels;
import anneal.kernels.Matrix;
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
