package anneal.tensor;

/**
 * What a token's loss is made of besides its negative log-likelihood.
 *
 * @param smoothing e in [0, 1): the target gets 1 - e, all classes share e. Szegedy et al., arXiv:1512.00567
 * @param zLoss weight of lse^2, which keeps logits from drifting. Chowdhery et al., arXiv:2204.02311
 * @param summed a hint: all rows will count the same, as in a sum. The gradient of a trained projection is then made while the
 *     logits are there, instead of computing them again, at the price of its memory. If rows do not count the same after all the
 *     gradient is right nevertheless.
 */
public record NllOptions(float smoothing, float zLoss, boolean summed) {
    /** Plain negative log-likelihood. */
    public static final NllOptions PLAIN = new NllOptions(0, 0);

    /** Plain negative log-likelihood whose rows will be added up. */
    public static final NllOptions SUMMED = new NllOptions(0, 0, true);

    public NllOptions {
        if (!(smoothing >= 0 && smoothing < 1)) {
            throw new IllegalArgumentException("label smoothing " + smoothing + " must be in [0, 1)");
        }
        if (!(zLoss >= 0)) {
            throw new IllegalArgumentException("z-loss weight " + zLoss + " must not be negative");
        }
    }

    /** Without the hint. */
    public NllOptions(float smoothing, float zLoss) {
        this(smoothing, zLoss, false);
    }
}
