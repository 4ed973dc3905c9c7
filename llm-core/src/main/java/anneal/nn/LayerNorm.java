package anneal.nn;

import anneal.tensor.Ops;
import anneal.tensor.Tensor;

/** y = (x - mean) / sqrt(var + eps) * w + b. Ba et al., arXiv:1607.06450. */
public final class LayerNorm extends Norm {
    private final float eps;

    /** A layer with this scale and shift, both [D]. */
    public LayerNorm(Tensor weight, Tensor bias, float eps) {
        super(new Affine(weight, bias));
        this.eps = eps;
    }

    @Override
    Tensor forward(Tensor x, Affine affine) {
        return Ops.layerNorm(x, affine.weight(), affine.bias(), eps);
    }
}
