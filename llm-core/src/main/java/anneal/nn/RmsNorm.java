package anneal.nn;

import anneal.tensor.Ops;
import anneal.tensor.Tensor;

/** y = x / sqrt(mean(x^2) + eps) * w. Zhang and Sennrich, arXiv:1910.07467. */
public final class RmsNorm extends Norm {
    private final float eps;

    /** A layer with this scale [D]. */
    public RmsNorm(Tensor weight, float eps) {
        super(new Affine(weight, null));
        this.eps = eps;
    }

    @Override
    Tensor forward(Tensor x, Affine affine) {
        return Ops.rmsNorm(x, affine.weight(), eps);
    }
}
