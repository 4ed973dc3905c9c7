package anneal.nn;

import anneal.tensor.Ops;
import anneal.tensor.Tensor;
import java.util.function.UnaryOperator;

/**
 * One of the two branches of a transformer block, and what closes it: y = after(x + before(dropout(branch))).
 *
 * <p>{@code before} and {@code after} are the sub-layer output socket, empty unless someone plugs in: bottleneck adapters change
 * what passes, calibration, distillation and viewers look at it. {@code around} is a socket for the whole sub-layer with its norm: what
 * is plugged there may leave it out.
 */
public abstract sealed class SubLayer extends Module permits Attention, FeedForward {
    /** What is plugged into an output. */
    @FunctionalInterface
    public interface Hook {
        /** Lets the output through. */
        Hook NONE = (output, input) -> output;

        /**
         * The tensor that goes on in place of {@code output}.
         *
         * @param output the branch's result before the residual is added, or the sum after it; [B, T, D]
         * @param input what the residual carries: the block's stream before this sub-layer and its norm; [B, T, D]
         */
        Tensor apply(Tensor output, Tensor input);
    }

    /** What is plugged around a sub-layer, its norm and the residual. */
    @FunctionalInterface
    public interface Around {
        /** The sub-layer as it is. */
        Around NONE = (x, layer) -> layer.apply(x);

        /**
         * The stream behind the sub-layer; [B, T, D].
         *
         * @param x the stream before it; [B, T, D]
         * @param layer computes one from the other
         */
        Tensor apply(Tensor x, UnaryOperator<Tensor> layer);
    }

    private final float dropout;
    private Hook before = Hook.NONE;
    private Hook after = Hook.NONE;
    private Around around = Around.NONE;

    /** A sub-layer whose output is dropped with this probability while training. */
    SubLayer(float dropout) {
        this.dropout = dropout;
    }

    /** Plugs into the output before the residual is added; what the hook gives back is written to. */
    public final void before(Hook hook) {
        before = hook;
    }

    /** Plugs into the sum of output and residual. */
    public final void after(Hook hook) {
        after = hook;
    }

    /** The hook before the residual. */
    public final Hook before() {
        return before;
    }

    /** The hook after the residual. */
    public final Hook after() {
        return after;
    }

    /** Plugs around the whole. */
    public final void around(Around a) {
        around = a;
    }

    /** What is plugged around the whole. */
    public final Around around() {
        return around;
    }

    /** The stream behind this sub-layer; {@code branch} is its norm and {@code forward}. Shapes: [B, T, D] -> [B, T, D]. */
    public final Tensor run(Tensor x, UnaryOperator<Tensor> branch) {
        return around.apply(x, y -> residual(branch.apply(y), y));
    }

    /** Adds the stream to a branch of it, in the branch's memory. Shapes: both [B, T, D]. */
    public final Tensor residual(Tensor branch, Tensor x) {
        Tensor output = before.apply(Ops.dropout(branch, dropout), x);
        return after.apply(Ops.addInPlace(output, x), x);
    }
}
