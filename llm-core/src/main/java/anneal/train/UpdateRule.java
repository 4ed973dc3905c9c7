package anneal.train;

import anneal.tensor.DType;
import anneal.tensor.Shape;
import anneal.tensor.Tensor;
import java.util.List;

/**
 * How a parameter moves against its gradient: the formula of an optimiser, without its memory, which the {@link Optimizer} keeps.
 *
 * <p>A rule is a record: its numbers stand in checkpoints, and equal rules with equal state make equal steps bit for bit.
 */
public interface UpdateRule {
    /**
     * Numbers that are remembered for a parameter, zeros at the start.
     *
     * @param dtype F32, or U8 for codes that only the rule can read
     */
    record Slot(String name, Shape shape, DType dtype) {
        /** Floats. */
        public Slot(String name, Shape shape) {
            this(name, shape, DType.F32);
        }

        /** Bytes in memory and in checkpoints. */
        public long bytes() {
            return dtype.bytes(shape.size());
        }
    }

    /**
     * One step.
     *
     * @param step number of this step, from 1
     * @param rate learning rate
     * @param gradScale factor of the gradient: 1/count of what was summed, times the clipping coefficient
     * @param decay false if this parameter is exempt from weight decay
     */
    record Update(long step, double rate, double gradScale, boolean decay) {}

    /** What is remembered for a parameter of this shape. */
    List<Slot> slots(Shape parameter);

    /** Changes the parameter and its state, given in the order of {@link #slots}, in place. */
    void update(Tensor p, RuleState state, Update u);

    /** Throws unless the numbers are some that a rule with momentum and decoupled weight decay can have. */
    static void requireDecays(String rule, double beta1, double beta2, double weightDecay) {
        requireIn(rule, "beta1", beta1, 0, 1);
        requireIn(rule, "beta2", beta2, 0, 1);
        requireIn(rule, "weightDecay", weightDecay, 0, Double.POSITIVE_INFINITY);
    }

    /** Throws "rule: what value must be in [from, below)" unless it is. */
    static void requireIn(String rule, String what, double value, double from, double below) {
        if (!(value >= from && value < below)) {
            throw new IllegalArgumentException(rule + ": " + what + " " + value + " must be in [" + from + ", "
                    + (below == Double.POSITIVE_INFINITY ? "infinity" : below) + ")");
        }
    }
}
