package anneal.quant.post;

import anneal.kernels.Matrix;
import anneal.nn.FolderForm;
import anneal.nn.Stored;
import anneal.nn.Weight;
import anneal.quant.GroupInt;
import anneal.tensor.Ops;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.Map;
import java.util.Optional;

/** Weights on a uniform grid; widened inside the product, which is one of floats. Not trained. */
public record UniformWeight(UniformMatrix matrix) implements Weight {
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

    /** To nearest on a new grid of the same kind, whatever method found this one; its memory is freed when nothing refers to it. */
    @Override
    public Optional<Weight> like(Matrix numbers, Arena arena) {
        return Optional.of(new UniformWeight(Rounding.nearest(numbers, matrix.grid())));
    }

    /** Blocks of GGUF if the grid is that of a format: {@link Grid#of}. */
    @Override
    public Optional<Stored> blocks() {
        return matrix.blocks();
    }

    /**
     * compressed-tensors' packed integers, unless one scale is that of the matrix. What is read back has the same numbers, and sums
     * products in the order of {@link GroupInt}'s kernels.
     */
    @Override
    public Optional<FolderForm> folderForm() {
        return matrix.packed(Map.of(), Map.of());
    }

    @Override
    public String format() {
        return matrix.grid().toString();
    }
}
