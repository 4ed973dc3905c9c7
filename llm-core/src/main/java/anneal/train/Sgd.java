package anneal.train;

import anneal.tensor.Shape;
import anneal.tensor.Tensor;
import anneal.tensor.UpdateOps;
import java.util.List;

/**
 * Gradient descent, with momentum if wanted.
 *
 * <pre>
 * g = g + weightDecay p
 * m = momentum m + (1 - dampening) g, at the first step m = g
 * p = p - rate m, or p - rate (g + momentum m) if nesterov; without momentum p - rate g
 * </pre>
 *
 * <p>Sutskever et al., ICML 2013; same steps as torch.optim.SGD, which multiplies the rate in outside the velocity.
 *
 * @param momentum memory of the velocity, in [0, 1)
 * @param dampening part of a new gradient that does not enter the velocity
 * @param nesterov look ahead by one velocity; needs momentum and no dampening
 * @param weightDecay weight of the penalty weightDecay/2 |p|^2
 */
public record Sgd(double momentum, double dampening, boolean nesterov, double weightDecay) implements UpdateRule {
    public Sgd {
        UpdateRule.requireIn("Sgd", "momentum", momentum, 0, 1);
        UpdateRule.requireIn("Sgd", "dampening", dampening, 0, Math.nextUp(1.0));
        UpdateRule.requireIn("Sgd", "weightDecay", weightDecay, 0, Double.POSITIVE_INFINITY);
        if (nesterov && (momentum == 0 || dampening != 0)) {
            throw new IllegalArgumentException("Sgd: nesterov needs momentum and no dampening, got momentum " + momentum
                    + " and dampening " + dampening);
        }
    }

    /** Plain gradient descent. */
    public Sgd() {
        this(0, 0, false, 0);
    }

    /** Gradient descent with this momentum. */
    public Sgd(double momentum) {
        this(momentum, 0, false, 0);
    }

    @Override
    public List<Slot> slots(Shape parameter) {
        return momentum == 0 ? List.of() : List.of(new Slot("velocity", parameter));
    }

    @Override
    public void update(Tensor p, RuleState state, Update u) {
        double fresh = u.step() == 1 ? 1 : 1 - dampening;
        UpdateOps.sgd(
                p,
                momentum == 0 ? null : state.tensor(0),
                new UpdateOps.Sgd(u.gradScale(), u.decay() ? weightDecay : 0, momentum, fresh, nesterov, u.rate()));
    }
}
