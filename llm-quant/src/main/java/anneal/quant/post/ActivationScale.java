package anneal.quant.post;

/** Which numbers of a layer's input share a scale when they become 8-bit integers, and when that scale is known. */
public enum ActivationScale {
    /** max|x| / 127 of each row, taken while computing: O1 of SmoothQuant, token-wise in ZeroQuant. */
    PER_TOKEN,
    /** max|x| / 127 of the whole input, taken while computing: O2. A row's result depends on what else is in its batch. */
    PER_TENSOR,
    /** One scale for ever, from calibration: O3. Larger inputs are clipped. */
    STATIC
}
