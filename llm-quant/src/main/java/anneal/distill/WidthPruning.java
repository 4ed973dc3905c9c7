package anneal.distill;

import anneal.model.Decoder;
import anneal.nn.FeedForward;
import anneal.nn.Linear;
import java.lang.foreign.Arena;
import java.util.stream.IntStream;

/**
 * Takes channels out of the feed-forward networks of a model: its projections, its config.json and its file get smaller.
 *
 * <p>A channel is a row of up (and gate) with the column of down that reads it. Equally many stay in each layer, since a config has one
 * number for all. Importance is how large a channel is, times how much down makes of it: as Wanda's (arXiv:2306.11695), summed up
 * over the column; Muralidharan et al., arXiv:2407.14679, prune width by activations too.
 *
 * <pre>
 * importance = sqrt(sum over tokens of h_j^2) * |W_down[:, j]|
 * </pre>
 */
public final class WidthPruning {
    private WidthPruning() {}

    /**
     * How important each channel is.
     *
     * @param run computes the model's output of some text
     * @return one number for each channel of each layer [layers][F]
     */
    public static double[][] importance(Decoder model, Runnable run) {
        Linear[] downs = IntStream.range(0, model.config().layers())
                .mapToObj(i -> model.feedForward(i).down())
                .toArray(Linear[]::new);
        return InputImportance.of(downs, 1, run);
    }

    /** The {@code count} most important channels of each layer, ascending. */
    public static int[][] mostImportant(double[][] importance, int count) {
        return InputImportance.most(importance, count);
    }

    /**
     * A copy of a model with some of its channels; every parameter can be trained.
     *
     * @param channels those that stay in each layer, equally many in each
     * @param arena where the copy lives
     */
    public static Decoder keep(Decoder model, int[][] channels, Arena arena) {
        InputImportance.requireKept(
                channels, "channels", model.config().layers(), model.config().feedForwardSize());
        Excerpt excerpt = Excerpt.of(model, arena);
        for (int i = 0; i < channels.length; i++) {
            FeedForward network = model.feedForward(i);
            int[] kept = channels[i];
            network.find(Linear.class).values().forEach(layer -> {
                if (layer == network.down()) {
                    excerpt.columns(layer, kept);
                } else {
                    excerpt.rows(layer, kept);
                }
            });
        }
        Decoder smaller = new Decoder(model.config().withFeedForwardSize(channels[0].length), excerpt);
        smaller.unfreeze();
        return smaller;
    }
}
