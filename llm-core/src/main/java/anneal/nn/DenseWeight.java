package anneal.nn;

import anneal.kernels.F32Matrix;
import anneal.kernels.Matrix;
import anneal.tensor.Ops;
import anneal.tensor.Tensor;
import java.util.Optional;

/**
 * Floats in memory: the only storage that can be trained.
 *
 * @param tensor the numbers [out, in]
 */
public record DenseWeight(Tensor tensor) implements Weight {
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
    public String format() {
        return "F32";
    }
}
