package anneal.quant.post;

import anneal.kernels.F32Matrix;
import anneal.kernels.Matrix;
import anneal.nn.Weight;
import anneal.tensor.Ops;
import anneal.tensor.Tensor;
import java.util.Optional;

/**
 * Trained floats that compute as the integers they will become; see {@link FakeQuantise}.
 *
 * @param tensor the floats [out, in], which a trainer changes
 * @param grid what they are rounded to in each pass
 * @param tokens whether inputs are rounded to 8 bits a token too
 */
public record QuantAwareWeight(Tensor tensor, Grid grid, boolean tokens) implements Weight {
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
        return Ops.matmulT(tokens ? FakeQuantise.tokens(x) : x, FakeQuantise.weights(tensor, grid));
    }

    @Override
    public Tensor rows(int[] ids) {
        return Ops.embedding(matrix(), ids);
    }

    /** The numbers as they would be rounded now. */
    @Override
    public Matrix matrix() {
        return rounded();
    }

    private UniformMatrix rounded() {
        return Rounding.nearest(new F32Matrix(tensor.buf(), out(), in()), grid);
    }

    @Override
    public Optional<Tensor> parameter() {
        return Optional.of(tensor);
    }

    @Override
    public String format() {
        return "QAT " + grid + (tokens ? " A8" : "");
    }

    /** The integers. */
    Weight finished() {
        return tokens ? new W8A8Linear(rounded(), ActivationScale.PER_TOKEN, 0) : new UniformWeight(rounded());
    }
}
