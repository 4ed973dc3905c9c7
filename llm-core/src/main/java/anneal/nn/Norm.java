package anneal.nn;

import anneal.tensor.ShapeException;
import anneal.tensor.Tensor;

/**
 * A normalisation over the last dim, with a learnt scale and perhaps a shift. Shapes: [.., D] -> [.., D].
 *
 * <p>Scale and shift are a socket: others can be plugged in, and the layer's own come back when they are taken out.
 */
public abstract sealed class Norm extends Module permits RmsNorm, LayerNorm {
    /**
     * What follows the normalisation.
     *
     * @param weight the scale [D]
     * @param bias the shift [D]; null for a norm that has none
     */
    public record Affine(Tensor weight, Tensor bias) {}

    private final Affine own;
    private Affine plugged;

    /** A layer with these numbers of its own. */
    Norm(Affine own) {
        this.own = own;
        plugged = own;
        parameter("weight", own.weight);
        if (own.bias != null) {
            parameter("bias", own.bias);
        }
    }

    /** The normalised input, with the scale and shift that are plugged in. */
    public final Tensor forward(Tensor x) {
        try {
            return forward(x, plugged);
        } catch (ShapeException e) {
            throw e.at(path());
        }
    }

    abstract Tensor forward(Tensor x, Affine affine);

    /** The layer's own scale and shift: its parameters, whatever is plugged in. */
    public final Affine own() {
        return own;
    }

    /** Scale and shift in use; {@link #own} if no others are plugged in. */
    public final Affine plugged() {
        return plugged;
    }

    /** Computes with this scale and shift from now on; with {@link #own} again to take them out. */
    public final void plug(Affine affine) {
        if ((affine.bias == null) != (own.bias == null)) {
            throw new IllegalArgumentException("plug: a norm " + (own.bias == null ? "without" : "with")
                    + " a shift needs numbers " + (own.bias == null ? "without" : "with") + " one (at " + path() + ")");
        }
        plugged = affine;
    }

    /** The layer's own scale [D]. */
    public final Tensor weight() {
        return own.weight;
    }
}
