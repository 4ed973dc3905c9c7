package anneal.nn;

import anneal.tensor.Ops;
import anneal.tensor.Tensor;

/**
 * One of the two branches of a transformer block, and what closes it: y = after(x + before(dropout(branch))).
 *
 * <p>{@code before} and {@code after} are the sub-layer output socket, empty unless someone plugs in: bottleneck adapters change
 * what passes, calibration, distillation and viewers look at it.
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

    private final float dropout;
    private Hook before = Hook.NONE;
    private Hook after = Hook.NONE;

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

    /** Adds the stream to a branch of it, in the branch's memory. Shapes: both [B, T, D]. */
    public final Tensor residual(Tensor branch, Tensor x) {
        Tensor output = before.apply(Ops.dropout(branch, dropout), x);
        return after.apply(Ops.addInPlace(output, x), x);
    }
}
