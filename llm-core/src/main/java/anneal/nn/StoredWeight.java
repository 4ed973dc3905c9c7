package anneal.nn;

import anneal.kernels.Matrix;
import anneal.tensor.DType;
import anneal.tensor.Ops;
import anneal.tensor.Tensor;
import java.util.Optional;

/**
 * Numbers as a file holds them, read in place and widened inside the product; not trained.
 *
 * @param matrix the numbers [out, in]
 * @param dtype their form in the file
 */
public record StoredWeight(Matrix matrix, DType dtype) implements Weight {
    @Override
    public int out() {
        return matrix.rows();
    }

    @Override
    public int in() {
        return matrix.cols();
    }

    @Override
    public Tensor matmulT(Tensor x) {
        return Ops.matmulT(x, matrix);
    }

    @Override
    public Tensor rows(int[] ids) {
        return Ops.embedding(matrix, ids);
    }

    @Override
    public Optional<Tensor> parameter() {
        return Optional.empty();
    }

    @Override
    public String format() {
        return dtype.name();
    }
}
