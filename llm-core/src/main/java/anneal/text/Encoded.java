package anneal.text;

/**
 * Token ids and which of them the model is to learn to say.
 *
 * @param ids token ids
 * @param trained true where the token counts in the loss
 */
public record Encoded(int[] ids, boolean[] trained) {
    public Encoded {
        if (ids.length != trained.length) {
            throw new IllegalArgumentException(
                    "Encoded: " + ids.length + " ids and " + trained.length + " mask entries must be equally many");
        }
    }

    /** Number of tokens. */
    public int length() {
        return ids.length;
    }

    /** Number of trained tokens. */
    public int trainedCount() {
        int n = 0;
        for (boolean t : trained) {
            n += t ? 1 : 0;
        }
        return n;
    }
}
