package anneal.train;

import anneal.tensor.DType;
import anneal.tensor.Shape;
import anneal.tensor.Tensor;
import anneal.tensor.UpdateOps;
import java.util.List;

/**
 * {@link Lion} that remembers its mean in 8 bits: 1 byte a parameter instead of 4, the smallest state of all rules with momentum.
 *
 * <p>Bytes and scales are those of {@link AdamW8bit}: Dettmers et al., arXiv:2110.02861. Same steps as bitsandbytes' Lion8bit; as there,
 * the mean of a parameter with fewer than {@link AdamW8bit#SMALLEST} numbers is floats.
 *
 * @param beta1 weight of the memory in the direction, in [0, 1)
 * @param beta2 memory of the mean, in [0, 1)
 * @param weightDecay part of the parameter taken away per unit of learning rate
 */
public record Lion8bit(double beta1, double beta2, double weightDecay) implements UpdateRule {
    public Lion8bit {
        UpdateRule.requireDecays("Lion8bit", beta1, beta2, weightDecay);
    }

    /** The paper's betas 0.9 and 0.99, no weight decay. */
    public Lion8bit() {
        this(0.9, 0.99, 0);
    }

    @Override
    public List<Slot> slots(Shape parameter) {
        if (AdamW8bit.small(parameter)) {
            return List.of(new Slot("mean", parameter));
        }
        return List.of(new Slot("mean", parameter, DType.U8), new Slot("mean_scale", UpdateOps.scales(parameter)));
    }

    @Override
    public void update(Tensor p, RuleState state, Update u) {
        double decay = u.decay() ? u.rate() * weightDecay : 0;
        UpdateOps.Lion step = new UpdateOps.Lion(u.gradScale(), beta1, beta2, decay, u.rate());
        if (AdamW8bit.small(p.shape())) {
            UpdateOps.lion(p, state.tensor(0), step);
        } else {
            UpdateOps.lion(p, state.bytes(0), state.tensor(1), step);
        }
    }
}
