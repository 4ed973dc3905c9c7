package anneal.kernels;

/**
 * Sizes, mask and bias of one attention call.
 *
 * <p>q [B, Tq, H, K], k and v [B, capacity, G, K] of which the first Tk rows of each batch item are keys. H is a multiple of
 * G: query head h reads key head h / (H / G), without a copy. Query i stands at absolute position i + Tk - Tq (bottom-right
 * alignment), so a cache that holds earlier keys needs no mask of its own.
 *
 * <p>What a mask hides has weight 0, in whole tiles, so a value that is NaN or infinite may show in queries of its tile that do
 * not see it.
 *
 * @param batch B
 * @param queryLen Tq
 * @param keyLen Tk
 * @param capacity rows of k and v per batch item, at least Tk
 * @param heads H
 * @param kvHeads G
 * @param headDim K
 * @param scale factor of q k, usually 1 / sqrt(K)
 * @param causal query at position p sees keys j &lt;= p
 * @param window query at position p sees keys j with p - j &lt; window; 0 = no window
 * @param querySegments [B * Tq] segment of each query, or null; a query sees only keys of its own segment; -1 = padding,
 *     sees nothing
 * @param keySegments [B * Tk] segment of each key, or null together with querySegments
 * @param slopes ALiBi slope of each head [H], or null: slope_h (j - p) is added to the scaled score; Press et al.,
 *     arXiv:2108.12409
 * @param softcap c &gt; 0: scores become c tanh(score / c) before the mask; 0 = none
 * @param dropout probability that a weight is dropped after the softmax (kept ones are divided by 1 - p)
 * @param seed of the dropout mask; replayed in the backward pass
 */
public record Attention(
        int batch,
        int queryLen,
        int keyLen,
        int capacity,
        int heads,
        int kvHeads,
        int headDim,
        float scale,
        boolean causal,
        int window,
        int[] querySegments,
        int[] keySegments,
        float[] slopes,
        float softcap,
        float dropout,
        long seed) {

    /** Rejects sizes, masks and slopes that do not fit one another. */
    public Attention {
        require(batch >= 0 && queryLen >= 0 && keyLen >= 0 && headDim > 0, "a size is negative, or headDim zero");
        require(kvHeads > 0 && heads % kvHeads == 0, "%d heads are no multiple of %d key heads", heads, kvHeads);
        require(keyLen <= capacity, "%d keys are more than the %d rows there are", keyLen, capacity);
        require(window >= 0, "window %d is negative", window);
        require(softcap >= 0, "softcap %s is negative", softcap);
        require(dropout >= 0 && dropout < 1, "dropout %s must be in [0, 1)", dropout);
        require((querySegments == null) == (keySegments == null), "queries and keys need segments both or neither");
        if (querySegments != null) {
            requireLength("query segments", querySegments.length, (long) batch * queryLen);
            requireLength("key segments", keySegments.length, (long) batch * keyLen);
        }
        if (slopes != null) {
            requireLength("slopes", slopes.length, heads);
        }
    }

    private static void require(boolean holds, String otherwise, Object... values) {
        if (!holds) {
            throw new IllegalArgumentException("attention: " + otherwise.formatted(values));
        }
    }

    private static void requireLength(String name, int length, long expected) {
        require(length == expected, "%d %s instead of %d", length, name, expected);
    }

    /** Plain causal attention of a sequence with itself. */
    public static Attention causal(int batch, int length, int heads, int kvHeads, int headDim) {
        return new Attention(
                batch,
                length,
                length,
                length,
                heads,
                kvHeads,
                headDim,
                (float) (1 / Math.sqrt(headDim)),
                true,
                0,
                null,
                null,
                null,
                0f,
                0f,
                0L);
    }

    /** True if query i of batch item b sees key j, by all masks together. */
    public boolean sees(int b, int i, int j) {
        int p = i + keyLen - queryLen;
        if (causal && j > p || window > 0 && p - j >= window) {
            return false;
        }
        if (querySegments == null) {
            return true;
        }
        int segment = querySegments[b * queryLen + i];
        return segment >= 0 && segment == keySegments[b * keyLen + j];
    }
}
