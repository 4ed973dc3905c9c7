package anneal.train;

import java.util.Map;

/**
 * What a listener hears about training since the last report.
 *
 * @param step steps made, this one included
 * @param total steps of the run
 * @param epoch pass over the data, from 0
 * @param loss mean over all items since the last report
 * @param rate learning rate of this step
 * @param gradNorm norm of this step's gradient before clipping
 * @param tokensPerSecond tokens (or items, if the objective does not count tokens) per second of training since the last report
 * @param count items since the last report
 * @param metrics means of the objective's further sums, in the order of their names
 */
public record StepReport(
        long step,
        long total,
        int epoch,
        double loss,
        double rate,
        double gradNorm,
        double tokensPerSecond,
        double count,
        Map<String, Double> metrics) {}
