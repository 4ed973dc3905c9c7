package anneal.train;

import anneal.tensor.Ops;
import anneal.tensor.Shape;
import anneal.tensor.Tensor;
import java.util.HashMap;
import java.util.Map;

/**
 * A sum and a count, never a mean: sums of micro-batches add up to exactly what one big batch gives, means do not.
 *
 * @param sum one number, to be differentiated
 * @param count how many items (trained tokens, pairs) were summed
 * @param metrics further sums over the same items, by name, for the report
 */
public record Loss(Tensor sum, double count, Map<String, Double> metrics) {
    /** Name of the metric that counts all tokens of the batch, trained or not: it is reported as a speed, not as a mean. */
    public static final String TOKENS = "tokens";

    /** Name of the metric that says how much of the loss is a penalty on the parameters. */
    public static final String PENALTY = "penalty";

    public Loss {
        Shape.require(sum.size() == 1, "Loss", sum, "the sum must be one number");
        if (!(count >= 0)) {
            throw new IllegalArgumentException("Loss: count " + count + " must not be negative");
        }
        metrics = Map.copyOf(metrics);
    }

    /** A loss without further metrics. */
    public Loss(Tensor sum, double count) {
        this(sum, count, Map.of());
    }

    /** With a penalty, summed over the items as the loss is: it is in the sum, and by itself in the metrics. */
    Loss plus(Tensor penalty) {
        Map<String, Double> with = new HashMap<>(metrics);
        with.merge(PENALTY, (double) penalty.item(), Double::sum);
        return new Loss(Ops.add(sum.view(1), penalty.view(1)), count, with);
    }
}
