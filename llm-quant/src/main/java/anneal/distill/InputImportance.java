package anneal.distill;

import anneal.nn.Adapter;
import anneal.nn.Linear;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.util.Arrays;

/**
 * How important groups of a layer's inputs are: how large they are, times how much the layer makes of them.
 *
 * <pre>
 * importance = sqrt(sum over tokens of |x_group|^2) * |W[:, group]|        Frobenius norm
 * </pre>
 *
 * <p>Wanda's score of a weight (Sun et al., arXiv:2306.11695) summed up over the group.
 */
final class InputImportance {
    /** Characters of a list in a message. */
    private static final int MOST_SHOWN = 200;

    private InputImportance() {}

    /**
     * One number for each group of {@code width} neighbours among the inputs of each layer.
     *
     * @param run computes the model's output of some text
     */
    static double[][] of(Linear[] layers, int width, Runnable run) {
        double[][] scores = Arrays.stream(layers)
                .map(layer -> new double[layer.in() / width])
                .toArray(double[][]::new);
        Adapter[] before = Arrays.stream(layers).map(Linear::adapter).toArray(Adapter[]::new);
        for (int i = 0; i < layers.length; i++) {
            int layer = i;
            layers[i].adapter((x, base) -> {
                addSquares(scores[layer], x, width);
                return before[layer].apply(x, base);
            });
        }
        try (Tape.Pause pause = Tape.pause()) {
            run.run();
        } finally {
            for (int i = 0; i < layers.length; i++) {
                layers[i].adapter(before[i]);
            }
        }
        for (int i = 0; i < layers.length; i++) {
            double[] weights = squares(layers[i], width);
            for (int g = 0; g < weights.length; g++) {
                scores[i][g] = Math.sqrt(scores[i][g] * weights[g]);
            }
        }
        return scores;
    }

    private static void addSquares(double[] sums, Tensor x, int width) {
        float[] values = x.toArray();
        for (int i = 0; i < values.length; i++) {
            sums[i % x.rowSize() / width] += (double) values[i] * values[i];
        }
    }

    private static double[] squares(Linear layer, int width) {
        double[] sums = new double[layer.in() / width];
        float[] w = new float[layer.in()];
        for (int row = 0; row < layer.out(); row++) {
            layer.weight().row(row, w);
            for (int j = 0; j < w.length; j++) {
                sums[j / width] += (double) w[j] * w[j];
            }
        }
        return sums;
    }

    /** The {@code count} most important groups of each layer, ascending. */
    static int[][] most(double[][] importance, int count) {
        return Arrays.stream(importance)
                .map(layer -> Student.mostImportant(layer, count))
                .toArray(int[][]::new);
    }

    /** Throws unless {@code kept} has equally many numbers below {@code count} for each of {@code layers} layers. */
    static void requireKept(int[][] kept, String what, int layers, int count) {
        int each = kept.length == 0 ? 0 : kept[0].length;
        boolean equal = each > 0
                && kept.length == layers
                && Arrays.stream(kept)
                        .allMatch(k -> k.length == each && Arrays.stream(k).allMatch(i -> i >= 0 && i < count));
        if (!equal) {
            String given = Arrays.deepToString(kept);
            throw new IllegalArgumentException(
                    "prune: the " + what + " that stay must be equally many of 0 .. " + (count - 1) + " in each of "
                            + layers + " layers, not "
                            + (given.length() > MOST_SHOWN ? given.substring(0, MOST_SHOWN) + "..." : given));
        }
    }
}
