package anneal.train;

import java.util.Map;

/**
 * The loss on data that is not trained on.
 *
 * @param step steps made so far
 * @param loss mean over all items
 * @param count items
 * @param metrics means of the objective's further sums, in the order of their names
 */
public record EvalReport(long step, double loss, double count, Map<String, Double> metrics) {
    /** exp(loss): the perplexity, if the loss is a mean over tokens. */
    public double perplexity() {
        return Math.exp(loss);
    }
}
