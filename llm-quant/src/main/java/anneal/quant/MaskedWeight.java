package anneal.quant;

import anneal.kernels.F32Matrix;
import anneal.kernels.Matrix;
import anneal.nn.DenseWeight;
import anneal.nn.Weight;
import anneal.tensor.Ops;
import anneal.tensor.Shape;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.Optional;

/**
 * A pruned matrix that stays pruned while it is trained: y = x (W * mask)T.
 *
 * <p>What is pruned is 0 in W, and its gradient is exactly 0 since it passes through the mask; every update rule leaves such a number
 * where it is. So nothing has to be repeated after a step, and W itself is what is saved.
 */
public final class MaskedWeight implements Weight {
    private final Tensor tensor;
    private final Tensor ones;
    private final Mask mask;

    /** The numbers of a matrix that the mask keeps, in memory of {@code arena}; the others become 0. */
    MaskedWeight(Matrix matrix, Mask mask, Arena arena) {
        this.mask = mask;
        Shape shape = Shape.of(matrix.rows(), matrix.cols());
        tensor = Tensor.allocate(arena, shape);
        ones = Tensor.allocate(arena, shape);
        float[] w = Pruning.floats(matrix), keep = mask.ones();
        for (int i = 0; i < w.length; i++) {
            w[i] = keep[i] == 0 ? 0 : w[i];
        }
        tensor.set(w);
        ones.set(keep);
    }

    private MaskedWeight(Tensor tensor, Tensor ones, Mask mask) {
        this.tensor = tensor;
        this.ones = ones;
        this.mask = mask;
    }

    /** The same numbers, and the same places that are pruned: the mask itself is shared, and must live as long as the copy. */
    @Override
    public Weight trainableCopy(Arena to) {
        return new MaskedWeight(DenseWeight.copy(matrix(), to).tensor(), ones, mask);
    }

    private Tensor masked() {
        return tensor.tracked() ? Ops.mul(tensor, ones) : tensor;
    }

    /** What stays. */
    public Mask mask() {
        return mask;
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
        return Ops.matmulT(x, masked());
    }

    @Override
    public Tensor rows(int[] ids) {
        return Ops.embedding(masked(), ids);
    }

    @Override
    public Matrix matrix() {
        return new F32Matrix(tensor.buf(), out(), in());
    }

    /** Pruned in the same places: what an update has there is lost. */
    @Override
    public Optional<Weight> like(Matrix numbers, Arena to) {
        return Optional.of(new MaskedWeight(numbers, mask, to));
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
