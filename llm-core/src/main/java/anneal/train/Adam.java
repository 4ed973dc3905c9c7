package anneal.train;

import anneal.tensor.Shape;
import anneal.tensor.Tensor;
import anneal.tensor.UpdateOps;
import java.util.List;

/**
 * Steps of the size of the learning rate, along the mean gradient measured in its own typical size. With {@code l2} the
 * penalty l2/2 |p|^2 is part of the gradient; for decay that is not, see {@link AdamW}.
 *
 * <pre>
 * g = g + l2 p      m = beta1 m + (1 - beta1) g      v = beta2 v + (1 - beta2) g^2
 * p = p - rate m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps)
 * </pre>
 *
 * <p>Kingma and Ba, arXiv:1412.6980; same steps as torch.optim.Adam, whose weight_decay is {@code l2}.
 *
 * @param beta1 memory of the mean of gradients, in [0, 1)
 * @param beta2 memory of the mean square, in [0, 1)
 * @param eps keeps the division finite
 * @param l2 weight of the penalty
 */
public record Adam(double beta1, double beta2, double eps, double l2) implements UpdateRule {
    public Adam {
        UpdateRule.requireIn("Adam", "beta1", beta1, 0, 1);
        UpdateRule.requireIn("Adam", "beta2", beta2, 0, 1);
        UpdateRule.requireIn("Adam", "eps", eps, 0, Double.POSITIVE_INFINITY);
        UpdateRule.requireIn("Adam", "l2", l2, 0, Double.POSITIVE_INFINITY);
    }

    /** torch's defaults: betas 0.9 and 0.999, eps 1e-8, no penalty. */
    public Adam() {
        this(0.9, 0.999, 1e-8, 0);
    }

    @Override
    public List<Slot> slots(Shape parameter) {
        return List.of(new Slot("mean", parameter), new Slot("square", parameter));
    }

    @Override
    public void update(Tensor p, RuleState state, Update u) {
        UpdateOps.adam(
                p,
                state.tensor(0),
                state.tensor(1),
                new UpdateOps.Adam(u.gradScale(), u.decay() ? l2 : 0, 0, beta1, beta2, eps, u.rate(), u.step()));
    }
}
