package anneal.model;

import anneal.kernels.Matrix;
import anneal.nn.Weight;
import anneal.tensor.Tensor;
import java.util.Optional;

/** Stands for a matrix of known size that has no numbers: while parameters are counted, or errors collected. */
record Absent(int out, int in) implements Weight {
    private static IllegalStateException noNumbers() {
        return new IllegalStateException("this matrix has no numbers: the model was not loaded");
    }

    @Override
    public Tensor matmulT(Tensor x) {
        throw noNumbers();
    }

    @Override
    public Tensor rows(int[] ids) {
        throw noNumbers();
    }

    @Override
    public Matrix matrix() {
        throw noNumbers();
    }

    @Override
    public Optional<Tensor> parameter() {
        return Optional.empty();
    }

    @Override
    public String format() {
        return "absent";
    }
}
