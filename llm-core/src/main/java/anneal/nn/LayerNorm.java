package anneal.nn;

import anneal.tensor.Ops;
import anneal.tensor.ShapeException;
import anneal.tensor.Tensor;

/** y = (x - mean) / sqrt(var + eps) * w + b. Ba et al., arXiv:1607.06450. */
public final class LayerNorm extends Norm {
    private final Tensor weight;
    private final Tensor bias;
    private final float eps;

    /** A layer with this scale and shift, both [D]. */
    public LayerNorm(Tensor weight, Tensor bias, float eps) {
        this.weight = parameter("weight", weight);
        this.bias = parameter("bias", bias);
        this.eps = eps;
    }

    @Override
    public Tensor forward(Tensor x) {
        try {
            return Ops.layerNorm(x, weight, bias, eps);
        } catch (ShapeException e) {
            throw e.at(path());
        }
    }

    @Override
    public Tensor weight() {
        return weight;
    }

    /** The shift [D]. */
    public Tensor bias() {
        return bias;
    }
}
