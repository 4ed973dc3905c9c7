package anneal.nn;

/** Attention with linear biases: the further a key is behind, the lower its score. Press et al., arXiv:2108.12409. */
public final class Alibi {
    private Alibi() {}

    /**
     * The slope of each head: 2^(-8 i / n), i = 1 .. n, for n a power of two. Otherwise the slopes of the largest power of two below,
     * then every second one of twice that power, as the paper's authors do.
     */
    public static float[] slopes(int heads) {
        int power = Integer.highestOneBit(heads);
        float[] slopes = new float[heads];
        for (int i = 0; i < heads; i++) {
            slopes[i] = (float)
                    (i < power
                            ? Math.pow(2, -8.0 * (i + 1) / power)
                            : Math.pow(2, -4.0 * (2 * (i - power) + 1) / power));
        }
        return slopes;
    }
}
