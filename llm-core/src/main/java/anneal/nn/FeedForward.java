package anneal.nn;

import anneal.kernels.Activation;
import anneal.tensor.Ops;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.util.function.Supplier;

/**
 * The position-wise network of a block: down(f(up x)), or gated down(f(gate x) * up x). Shazeer, arXiv:2002.05202.
 *
 * <p>Shapes: [B, T, D] -> [B, T, D], through [B, T, F].
 */
public final class FeedForward extends SubLayer {
    private final Linear gate;
    private final Linear up;
    private final Linear down;
    private final Activation activation;

    /**
     * A network of these projections.
     *
     * @param gate [F, D], or null for the plain form
     * @param up [F, D]
     * @param down [D, F]
     */
    public FeedForward(Part gate, Part up, Part down, Activation activation, float dropout) {
        super(dropout);
        this.gate = gate == null ? null : child(gate.name(), gate.linear());
        this.up = child(up.name(), up.linear());
        this.down = child(down.name(), down.linear());
        this.activation = activation;
    }

    /** The branch, without residual. */
    public Tensor forward(Tensor xBTD) {
        Tensor gateBTF = gate == null ? null : gate.forward(xBTD), upBTF = up.forward(xBTD);
        Supplier<Tensor> hidden =
                () -> gate == null ? Ops.activation(upBTF, activation) : Ops.gated(gateBTF, upBTF, activation);
        Tensor hiddenBTF = hidden.get();
        Tensor y = down.forward(hiddenBTF);
        Tape.remake(hiddenBTF, y, hidden, gateBTF, upBTF);
        return y;
    }

    /** The last projection [D, F]. */
    public Linear down() {
        return down;
    }
}
