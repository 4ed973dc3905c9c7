package anneal.kernels;

/**
 * The precision that the operands of products and attention have. Sums are f32 in each, and so is everything else: weights,
 * gradients, optimiser, norms, softmax, losses, reductions. See docs/precision.md.
 *
 * <p>A tier may keep more precision than is asked for where that is no slower.
 */
public enum Compute {
    /** As they are: the default. */
    F32,
    /**
     * Rounded to bfloat16, nearest even: x, w and dy of products, q, k, v and dO of attention. For training and for use; what
     * autocast does elsewhere.
     */
    BF16,
    /**
     * For using a model, not for training: in products x wT with a block-quantised w the numbers of x are rounded to 8 bits, by
     * blocks of 32 with a scale of their own. Other products are f32.
     */
    INT8
}
