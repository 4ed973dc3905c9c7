package anneal.model;

/**
 * The input of a model: B rows of T token ids.
 *
 * @param ids token ids, row-major [B * T]
 * @param batch B
 * @param length T
 * @param positions position of each token [B * T], or null: 0 .. T-1 after what a cache holds
 * @param segments segment of each token [B * T], or null; tokens see only their own segment, -1 is padding
 */
public record Tokens(int[] ids, int batch, int length, int[] positions, int[] segments) {
    public Tokens {
        int n = Math.multiplyExact(batch, length);
        if (ids.length != n) {
            throw new IllegalArgumentException(
                    "Tokens: " + ids.length + " ids are not [" + batch + ", " + length + "]");
        }
        if (positions != null && positions.length != n) {
            throw new IllegalArgumentException("Tokens: " + positions.length + " positions for " + n + " ids");
        }
        if (segments != null && segments.length != n) {
            throw new IllegalArgumentException("Tokens: " + segments.length + " segments for " + n + " ids");
        }
    }

    /** One row of tokens. */
    public static Tokens of(int... ids) {
        return new Tokens(ids, 1, ids.length, null, null);
    }

    /** Rows of equal length, without positions or segments of their own. */
    public static Tokens of(int[] ids, int batch, int length) {
        return new Tokens(ids, batch, length, null, null);
    }
}
