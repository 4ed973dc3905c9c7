package anneal.text;

/**
 * Ids with the spans they come from.
 *
 * @param ids token ids
 * @param starts start of each token's span, in UTF-16 units of the original text
 * @param ends end (exclusive) of each token's span; 0 and 0 for a token that stands for no text (begin, end)
 */
public record Encoding(int[] ids, int[] starts, int[] ends) {
    public Encoding {
        if (ids.length != starts.length || ids.length != ends.length) {
            throw new IllegalArgumentException("Encoding: " + ids.length + " ids, " + starts.length + " starts and "
                    + ends.length + " ends must be equally many");
        }
    }

    /** Number of tokens. */
    public int length() {
        return ids.length;
    }
}
