package anneal.nn;

import anneal.tensor.Ops;
import anneal.tensor.ShapeException;
import anneal.tensor.Tensor;

/**
 * y = x wT + b. Dense, quantised and adapted layers are this one class: storage and adapter are plugs.
 *
 * <p>Shapes: x [.., in] -> [.., out].
 */
public final class Linear extends Module {
    private Weight weight;
    private final Tensor bias;
    private Adapter adapter = Adapter.NONE;

    /** A layer with this weight and, if not null, this bias [out]. */
    public Linear(Weight weight, Tensor bias) {
        this.bias = bias;
        weight(weight);
        if (bias != null) {
            parameter("bias", bias);
        }
    }

    /** The adapted output. */
    public Tensor forward(Tensor x) {
        try {
            return adapter.apply(x, this);
        } catch (ShapeException e) {
            throw e.at(path());
        }
    }

    /** The output of the layer itself, whatever adapter is plugged in. */
    public Tensor plain(Tensor x) {
        return biased(weight.matmulT(x));
    }

    /** y + b, in place; y if the layer has no bias. For adapters that make the product of the layer themselves. */
    public Tensor biased(Tensor y) {
        return bias == null ? y : Ops.addBiasInPlace(y, bias);
    }

    /** Storage of the matrix. */
    public Weight weight() {
        return weight;
    }

    /** Exchanges the storage. */
    public void weight(Weight w) {
        if (weight != null && (w.out() != weight.out() || w.in() != weight.in())) {
            throw new ShapeException("weight [" + w.out() + ", " + w.in() + "] does not replace [" + weight.out() + ", "
                    + weight.in() + "] (at " + path() + ")");
        }
        if (weight != null) {
            weight.parameters().keySet().forEach(this::dropParameter);
        }
        weight = w;
        w.parameters().forEach(this::parameter);
    }

    /** The bias [out], or null. */
    public Tensor bias() {
        return bias;
    }

    /** The adapter in use; {@link Adapter#NONE} if there is none. */
    public Adapter adapter() {
        return adapter;
    }

    /** Plugs an adapter in. */
    public void adapter(Adapter a) {
        adapter = a;
    }

    /** Output features. */
    public int out() {
        return weight.out();
    }

    /** Input features. */
    public int in() {
        return weight.in();
    }
}
