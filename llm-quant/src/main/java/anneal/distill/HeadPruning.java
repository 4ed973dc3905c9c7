package anneal.distill;

import anneal.model.Decoder;
import anneal.model.DecoderConfig;
import anneal.nn.Linear;
import anneal.nn.Module;
import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.Map;
import java.util.stream.IntStream;

/**
 * Takes attention heads out of a model: its projections, its config.json and its file get smaller.
 *
 * <p>What goes is a key head with all query heads that read it, equally many in each layer, since a config has one number for all
 * layers. Importance is how large a group's output is, times how much the output projection makes of it.
 *
 * <pre>
 * importance = sqrt(sum over tokens of |o_group|^2) * |W_o[:, group]|        Frobenius norm
 * </pre>
 *
 * <p>For families with projections q_proj, k_proj, v_proj and o_proj of their own. GPT-2's packed c_attn is refused: its config.json has
 * no size of a head but n_embd / n_head, so no reader could open what is left.
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
        Linear[] outs = IntStream.range(0, model.config().layers())
                .mapToObj(i -> projection(model, i, "o_proj"))
                .toArray(Linear[]::new);
        return InputImportance.of(outs, heads.query() / heads.kv() * heads.dim(), run);
    }

    private static Linear projection(Decoder model, int layer, String name) {
        Map<String, Module> parts = model.attention(layer).children();
        if (!parts.containsKey("q_proj")) {
            throw new IllegalArgumentException("prune: no heads can be taken out of a "
                    + model.config().family().modelType()
                    + ": its projections are packed in one and its config.json has no"
                    + " size of a head but n_embd / n_head");
        }
        return (Linear) parts.get(name);
    }

    /** The {@code count} most important groups of each layer, ascending. */
    public static int[][] mostImportant(double[][] importance, int count) {
        return InputImportance.most(importance, count);
    }

    /**
     * A copy of a model with some of its heads; every parameter can be trained.
     *
     * @param groups the key heads that stay in each layer, equally many in each
     * @param arena where the copy lives
     */
    public static Decoder keep(Decoder model, int[][] groups, Arena arena) {
        DecoderConfig.Heads heads = model.config().heads();
        InputImportance.requireKept(groups, "groups", model.config().layers(), heads.kv());
        Excerpt excerpt = Excerpt.of(model, arena);
        for (int i = 0; i < groups.length; i++) {
            int[] own = channels(groups[i], heads.dim());
            int[] shared = channels(groups[i], heads.query() / heads.kv() * heads.dim());
            excerpt.rows(projection(model, i, "q_proj"), shared);
            excerpt.rows(projection(model, i, "k_proj"), own);
            excerpt.rows(projection(model, i, "v_proj"), own);
            excerpt.columns(projection(model, i, "o_proj"), shared);
        }
        int count = groups[0].length;
        DecoderConfig config = model.config()
                .withHeads(new DecoderConfig.Heads(heads.query() / heads.kv() * count, count, heads.dim()));
        Decoder smaller = new Decoder(config, excerpt);
        smaller.unfreeze();
        return smaller;
    }

    private static int[] channels(int[] groups, int width) {
        return Arrays.stream(groups)
                .flatMap(g -> IntStream.range(g * width, (g + 1) * width))
                .toArray();
    }
}
