package anneal.distill;

import anneal.model.Decoder;
import anneal.model.DecoderConfig;
import anneal.nn.Adapter;
import anneal.nn.Linear;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.stream.IntStream;

/**
 * Takes attention heads out of a model: its projections, its config.json and its file get smaller.
 *
 * <p>What goes is a key head with all query heads that read it, equally many in each layer, since a config has one number for all
 * layers. Importance is that of Wanda (arXiv:2306.11695) summed up over a group: how large the group's output is, times how much the
 * output projection makes of it.
 *
 * <pre>
 * importance = sqrt(sum over tokens of |o_group|^2) * |W_o[:, group]|        Frobenius norm
 * </pre>
 *
 * <p>For families with projections q_proj, k_proj, v_proj and o_proj of their own; a packed projection is refused.
 */
public final class HeadPruning {
    private HeadPruning() {}

    /**
     * How important each group is.
     *
     * @param run computes the model's output of some text
     * @return one number for each key head of each layer [layers][G]
     */
    public static double[][] importance(Decoder model, Runnable run) {
        DecoderConfig.Heads heads = model.config().heads();
        int width = heads.query() / heads.kv() * heads.dim(),
                layers = model.config().layers();
        double[][] squares = new double[layers][heads.kv()];
        Linear[] outs = IntStream.range(0, layers).mapToObj(i -> out(model, i)).toArray(Linear[]::new);
        Adapter[] before = Arrays.stream(outs).map(Linear::adapter).toArray(Adapter[]::new);
        for (int i = 0; i < layers; i++) {
            int layer = i;
            outs[i].adapter((x, base) -> {
                addSquares(squares[layer], x, width);
                return before[layer].apply(x, base);
            });
        }
        try (Tape.Pause pause = Tape.pause()) {
            run.run();
        } finally {
            for (int i = 0; i < layers; i++) {
                outs[i].adapter(before[i]);
            }
        }
        for (int i = 0; i < layers; i++) {
            double[] weights = new double[heads.kv()];
            for (int row = 0; row < outs[i].out(); row++) {
                float[] w = new float[outs[i].in()];
                outs[i].weight().matrix().widen(row, 0, w.length, w, 0);
                for (int j = 0; j < w.length; j++) {
                    weights[j / width] += (double) w[j] * w[j];
                }
            }
            for (int g = 0; g < weights.length; g++) {
                squares[i][g] = Math.sqrt(squares[i][g] * weights[g]);
            }
        }
        return squares;
    }

    private static Linear out(Decoder model, int layer) {
        if (model.attention(layer).children().get("o_proj") instanceof Linear l
                && model.attention(layer).children().containsKey("q_proj")) {
            return l;
        }
        throw new IllegalArgumentException("prune: the attention of "
                + model.config().family() + " has no q_proj and o_proj of its own: its heads cannot be taken apart");
    }

    private static void addSquares(double[] sums, Tensor x, int width) {
        float[] values = x.toArray();
        for (int i = 0; i < values.length; i++) {
            sums[i % x.rowSize() / width] += (double) values[i] * values[i];
        }
    }

    /** The {@code count} most important groups of each layer, ascending. */
    public static int[][] mostImportant(double[][] importance, int count) {
        return Arrays.stream(importance)
                .map(layer -> Student.mostImportant(layer, count))
                .toArray(int[][]::new);
    }

    /**
     * A copy of a model with some of its heads; every parameter can be trained.
     *
     * @param groups the key heads that stay in each layer, equally many in each
     * @param arena where the copy lives
     */
    public static Decoder keep(Decoder model, int[][] groups, Arena arena) {
        DecoderConfig.Heads heads = model.config().heads();
        int count = groups.length == 0 ? 0 : groups[0].length;
        boolean equal = groups.length == model.config().layers()
                && Arrays.stream(groups)
                        .allMatch(g -> g.length == count && Arrays.stream(g).allMatch(i -> i >= 0 && i < heads.kv()));
        if (count == 0 || !equal) {
            throw new IllegalArgumentException("prune: the groups that stay must be equally many of 0 .. "
                    + (heads.kv() - 1) + " in each of " + model.config().layers() + " layers, not "
                    + Arrays.deepToString(groups));
        }
        for (int i = 0; i < groups.length; i++) {
            out(model, i);
        }
        DecoderConfig config = model.config()
                .withHeads(new DecoderConfig.Heads(heads.query() / heads.kv() * count, count, heads.dim()));
        int[] all = IntStream.range(0, groups.length).toArray();
        Decoder smaller = new Decoder(config, new Excerpt(model, all, groups, arena));
        smaller.unfreeze();
        return smaller;
    }
}
