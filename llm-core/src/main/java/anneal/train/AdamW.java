package anneal.train;

import anneal.tensor.Shape;
import anneal.tensor.Tensor;
import anneal.tensor.UpdateOps;
import java.util.List;

/**
 * Adam with decoupled weight decay: the decay shrinks the parameter itself and does not pass through the moments.
 *
 * <pre>
 * p = p (1 - rate weightDecay)
 * m = beta1 m + (1 - beta1) g          v = beta2 v + (1 - beta2) g^2
 * p = p - rate m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps)
 * </pre>
 *
 * <p>Loshchilov and Hutter, arXiv:1711.05101; same steps as torch.optim.AdamW.
 *
 * @param beta1 memory of the mean of gradients, in [0, 1)
 * @param beta2 memory of the mean square, in [0, 1)
 * @param eps keeps the division finite
 * @param weightDecay part of the parameter taken away per unit of learning rate
 */
public record AdamW(double beta1, double beta2, double eps, double weightDecay) implements UpdateRule {
    public AdamW {
        UpdateRule.requireDecays("AdamW", beta1, beta2, weightDecay);
        UpdateRule.requireIn("AdamW", "eps", eps, 0, Double.POSITIVE_INFINITY);
    }

    /** torch's defaults: betas 0.9 and 0.999, eps 1e-8, weight decay 0.01. */
    public AdamW() {
        this(0.01);
    }

    /** torch's defaults with another weight decay. */
    public AdamW(double weightDecay) {
        this(0.9, 0.999, 1e-8, weightDecay);
    }

    @Override
    public List<Slot> slots(Shape parameter) {
        return List.of(new Slot("mean", parameter), new Slot("square", parameter));
    }

    @Override
    public void update(Tensor p, RuleState state, Update u) {
        double decay = u.decay() ? u.rate() * weightDecay : 0;
        UpdateOps.adam(
                p,
                state.tensor(0),
                state.tensor(1),
                new UpdateOps.Adam(u.gradScale(), 0, decay, beta1, beta2, eps, u.rate(), u.step()));
    }
}
