package anneal.train;

import java.util.Map;
import java.util.TreeMap;

/** Losses added up: over the micro-batches of a step, the steps of a report, the batches of an evaluation. */
final class LossSums {
    private double sum;
    private double count;
    private final Map<String, Double> metrics = new TreeMap<>();

    void add(Loss loss) {
        sum += loss.sum().item();
        count += loss.count();
        loss.metrics().forEach((name, value) -> metrics.merge(name, value, Double::sum));
    }

    void add(LossSums other) {
        sum += other.sum;
        count += other.count;
        other.metrics.forEach((name, value) -> metrics.merge(name, value, Double::sum));
    }

    double count() {
        return count;
    }

    double mean() {
        return sum / count;
    }

    /** Tokens that went through the model; items where the objective does not say. */
    double tokens() {
        return metrics.getOrDefault(Loss.TOKENS, count);
    }

    /** Means by name, without {@link Loss#TOKENS}. */
    Map<String, Double> means() {
        Map<String, Double> means = new TreeMap<>(metrics);
        means.remove(Loss.TOKENS);
        means.replaceAll((name, value) -> value / count);
        return means;
    }
}
