package anneal.nn;

import anneal.tensor.Tensor;
import java.util.Map;
import java.util.Optional;

/**
 * What a trainer trains: parameters, and for methods that need it a term of the loss and something to do after each step.
 *
 * <p>A trainer calls {@link #begin} once before its first step, {@link #penalty} in each micro-batch and {@link #updated} after each
 * step of the optimiser, so that nobody has to remember it in a loop of their own. Parameters alone are a lambda.
 */
@FunctionalInterface
public interface Trainable {
    /**
     * What is trained, by name; always the same tensors. One that is made not trainable for a time costs no gradient and stays as it
     * is; the optimiser forgets what it knew about it.
     */
    Map<String, Tensor> parameters();

    /**
     * A step of the optimiser that was just made; the parameters are new, their gradients still those that it was made from.
     *
     * @param step its number, from 1
     * @param total steps of the whole run
     * @param gradScale times a parameter's gradient is what the optimiser used: that of the mean loss, clipped
     */
    record Step(long step, long total, double gradScale) {}

    /**
     * A run begins, or goes on after a checkpoint.
     *
     * @param total steps of the whole run
     * @throws IllegalArgumentException if it cannot be done in so many steps
     */
    default void begin(long total) {}

    /**
     * Recorded by the tape: one number that is added to the mean loss of each item with weight 1; empty = none. It depends on the
     * parameters alone, so that a loss summed over {@code count} items gets {@code count} times it and micro-batches of any sizes
     * still add up to one batch.
     */
    default Optional<Tensor> penalty() {
        return Optional.empty();
    }

    /** The optimiser has made a step. */
    default void updated(Step step) {}

    /** Parameters and {@link #state} were filled from a checkpoint; {@link #begin} follows. */
    default void restored() {}

    /** What is remembered from step to step, by name: saved in checkpoints and filled from them; always the same tensors. */
    default Map<String, Tensor> state() {
        return Map.of();
    }
}
