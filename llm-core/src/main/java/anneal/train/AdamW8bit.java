package anneal.train;

import anneal.tensor.DType;
import anneal.tensor.Shape;
import anneal.tensor.Tensor;
import anneal.tensor.UpdateOps;
import java.util.List;

/**
 * {@link AdamW} that remembers its two moments in 8 bits: 2 bytes a parameter instead of 8.
 *
 * <pre>
 * mean = value[code] scale, one scale for 256 numbers       square likewise, with values from 0 on
 * one step of AdamW in floats
 * code = nearest(mean / scale), scale = max |mean| of the 256
 * </pre>
 *
 * <p>Dettmers et al., arXiv:2110.02861; the maps and what "nearest" means: {@code anneal.kernels.DynamicMap}. Same steps as bitsandbytes'
 * AdamW8bit, whose min_8bit_size is kept: the moments of a parameter with fewer than 4,096 numbers are floats, since norms and biases
 * are few and sensitive. Codes and scales stand in checkpoints as they are, so a run that is resumed goes on bit for bit.
 *
 * @param beta1 memory of the mean of gradients, in [0, 1)
 * @param beta2 memory of the mean square, in [0, 1)
 * @param eps keeps the division finite
 * @param weightDecay part of the parameter taken away per unit of learning rate
 */
public record AdamW8bit(double beta1, double beta2, double eps, double weightDecay) implements UpdateRule {
    /** Parameters with fewer numbers keep floats. */
    public static final int SMALLEST = 4096;

    public AdamW8bit {
        UpdateRule.requireDecays("AdamW8bit", beta1, beta2, weightDecay);
        UpdateRule.requireIn("AdamW8bit", "eps", eps, 0, Double.POSITIVE_INFINITY);
    }

    /** bitsandbytes' defaults: betas 0.9 and 0.999, eps 1e-8, weight decay 0.01. */
    public AdamW8bit() {
        this(0.01);
    }

    /** The defaults with another weight decay. */
    public AdamW8bit(double weightDecay) {
        this(0.9, 0.999, 1e-8, weightDecay);
    }

    /** Whether the state of this parameter is floats. */
    static boolean small(Shape parameter) {
        return parameter.size() < SMALLEST;
    }

    @Override
    public List<Slot> slots(Shape parameter) {
        if (small(parameter)) {
            return List.of(new Slot("mean", parameter), new Slot("square", parameter));
        }
        Shape scales = UpdateOps.scales(parameter);
        return List.of(
                new Slot("mean", parameter, DType.U8),
                new Slot("mean_scale", scales),
                new Slot("square", parameter, DType.U8),
                new Slot("square_scale", scales));
    }

    @Override
    public void update(Tensor p, RuleState state, Update u) {
        double decay = u.decay() ? u.rate() * weightDecay : 0;
        UpdateOps.Adam step = new UpdateOps.Adam(u.gradScale(), 0, decay, beta1, beta2, eps, u.rate(), u.step());
        if (small(p.shape())) {
            UpdateOps.adam(p, state.tensor(0), state.tensor(1), step);
        } else {
            // A code of 0 stands for -1, but its scale is 0 at the start.
            UpdateOps.adam(p, state.bytes(0), state.tensor(1), state.bytes(2), state.tensor(3), step);
        }
    }
}
