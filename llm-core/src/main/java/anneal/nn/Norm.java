package anneal.nn;

import anneal.tensor.Tensor;

/** A normalisation over the last dim, with a learnt scale. Shapes: [.., D] -> [.., D]. */
public abstract sealed class Norm extends Module permits RmsNorm, LayerNorm {
    /** The normalised input. */
    public abstract Tensor forward(Tensor x);

    /** The scale [D]. */
    public abstract Tensor weight();
}
