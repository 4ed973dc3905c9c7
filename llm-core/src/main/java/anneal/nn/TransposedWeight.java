package anneal.nn;

import anneal.kernels.Matrix;
import anneal.kernels.TransposedMatrix;
import anneal.tensor.Ops;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.Optional;

/**
 * A matrix that stands as [in, out] in its file, as GPT-2's do: seen as [out, in], never turned round in memory.
 *
 * @param stored the same numbers [in, out]
 */
public record TransposedWeight(Weight stored) implements Weight {
    @Override
    public int out() {
        return stored.in();
    }

    @Override
    public int in() {
        return stored.out();
    }

    @Override
    public Tensor matmulT(Tensor x) {
        Optional<Tensor> tensor = stored.parameter();
        return tensor.isPresent() ? Ops.matmul(x, tensor.get()) : Ops.matmul(x, stored.matrix());
    }

    @Override
    public Tensor rows(int[] ids) {
        return Ops.embedding(matrix(), ids);
    }

    @Override
    public Matrix matrix() {
        return new TransposedMatrix(stored.matrix());
    }

    /** The tensor as it is stored, [in, out]. */
    @Override
    public Optional<Tensor> parameter() {
        return stored.parameter();
    }

    @Override
    public String format() {
        return stored.format();
    }

    @Override
    public Optional<Weight> like(Matrix numbers, Arena arena) {
        Matrix turned = numbers instanceof TransposedMatrix t ? t.stored() : new TransposedMatrix(numbers);
        return stored.like(turned, arena).map(TransposedWeight::new);
    }

    @Override
    public Weight dense(Arena arena) {
        return new TransposedWeight(stored.dense(arena));
    }
}
