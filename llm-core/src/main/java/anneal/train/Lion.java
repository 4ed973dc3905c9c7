package anneal.train;

import anneal.tensor.Shape;
import anneal.tensor.Tensor;
import anneal.tensor.UpdateOps;
import java.util.List;

/**
 * Steps of one size in every coordinate, in the direction of the sign of a mean gradient: half the state of Adam. Wants a
 * learning rate 3 to 10 times smaller and a weight decay as much larger than {@link AdamW}.
 *
 * <pre>
 * p = p (1 - rate weightDecay) - rate sign(beta1 m + (1 - beta1) g)
 * m = beta2 m + (1 - beta2) g
 * </pre>
 *
 * <p>Chen et al., arXiv:2302.06675, algorithm 2.
 *
 * @param beta1 weight of the memory in the direction, in [0, 1)
 * @param beta2 memory of the mean, in [0, 1)
 * @param weightDecay part of the parameter taken away per unit of learning rate
 */
public record Lion(double beta1, double beta2, double weightDecay) implements UpdateRule {
    public Lion {
        UpdateRule.requireDecays("Lion", beta1, beta2, weightDecay);
    }

    /** The paper's betas 0.9 and 0.99, no weight decay. */
    public Lion() {
        this(0.9, 0.99, 0);
    }

    @Override
    public List<Slot> slots(Shape parameter) {
        return List.of(new Slot("mean", parameter));
    }

    @Override
    public void update(Tensor p, RuleState state, Update u) {
        double decay = u.decay() ? u.rate() * weightDecay : 0;
        UpdateOps.lion(p, state.tensor(0), new UpdateOps.Lion(u.gradScale(), beta1, beta2, decay, u.rate()));
    }
}
