package anneal.nn;

import anneal.tensor.Ops;
import anneal.tensor.ShapeException;
import anneal.tensor.Tensor;

/** y = x / sqrt(mean(x^2) + eps) * w. Zhang and Sennrich, arXiv:1910.07467. */
public final class RmsNorm extends Norm {
    private final Tensor weight;
    private final float eps;

    /** A layer with this scale [D]. */
    public RmsNorm(Tensor weight, float eps) {
        this.weight = parameter("weight", weight);
        this.eps = eps;
    }

    @Override
    public Tensor forward(Tensor x) {
        try {
            return Ops.rmsNorm(x, weight, eps);
        } catch (ShapeException e) {
            throw e.at(path());
        }
    }

    @Override
    public Tensor weight() {
        return weight;
    }
}
