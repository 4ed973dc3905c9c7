package anneal.generate;

/**
 * What a model wrote.
 *
 * @param tokens new tokens; an end token that ended the text is the last of them
 * @param logProbs log-probability of each under the model itself, before any processor
 * @param stop why it ended
 */
public record Generation(int[] tokens, float[] logProbs, Stop stop) {
    /** Why a text ended. */
    public enum Stop {
        /** An end token came. */
        END_TOKEN,
        /** As many tokens as were asked for. */
        LENGTH,
        /** The model's context is full. */
        CONTEXT,
        /** The listener had enough: a stop string, a user. */
        LISTENER
    }
}
