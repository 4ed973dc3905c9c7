package anneal.distill;

import anneal.kernels.Matrix;
import anneal.model.Decoder;
import anneal.model.DecoderConfig;
import anneal.model.WeightSource;
import anneal.nn.DenseWeight;
import anneal.nn.Embedding;
import anneal.nn.Linear;
import anneal.nn.Weight;
import anneal.tensor.Shape;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.Map;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.IntStream;

/** The weights of some blocks and heads of a model, under the numbers that the blocks have in the smaller one. */
final class Excerpt implements WeightSource {
    /** Name, number and rest: the first number in a path is the block's. */
    private static final Pattern LAYER = Pattern.compile("(.*?\\.)(\\d+)(\\..*)");

    private final Map<String, Linear> linears;
    private final Map<String, Embedding> embeddings;
    private final Map<String, Tensor> vectors;
    private final DecoderConfig.Heads heads;
    private final int[] layers;
    private final int[][] groups;
    private final Arena arena;

    /**
     * An excerpt of a model.
     *
     * @param layers that stay
     * @param groups key heads that stay in each of them with the query heads that read them, or null for all
     */
    Excerpt(Decoder model, int[] layers, int[][] groups, Arena arena) {
        linears = model.root().find(Linear.class);
        embeddings = model.root().find(Embedding.class);
        vectors = model.root().parameters();
        heads = model.config().heads();
        this.layers = layers;
        this.groups = groups;
        this.arena = arena;
    }

    private String original(String name) {
        Matcher m = LAYER.matcher(name);
        return m.matches() ? m.group(1) + layers[Integer.parseInt(m.group(2))] + m.group(3) : name;
    }

    @Override
    public Weight matrix(String name, int out, int in, Role role) {
        String path = original(name).replaceFirst("\\.weight$", "");
        Weight weight = linears.containsKey(path)
                ? linears.get(path).weight()
                : require(embeddings.get(path), path).weight();
        Matrix matrix = weight.matrix();
        int[] rows = channels(name), columns = name.endsWith(".o_proj.weight") ? channels(name) : null;
        if (rows == null) {
            return DenseWeight.copy(matrix, arena);
        }
        Tensor picked = Tensor.allocate(arena, Shape.of(out, in));
        float[] row = new float[matrix.cols()], all = new float[out * in];
        for (int i = 0; i < out; i++) {
            matrix.widen(columns == null ? rows[i] : i, 0, row.length, row, 0);
            for (int j = 0; j < in; j++) {
                all[i * in + j] = row[columns == null ? j : columns[j]];
            }
        }
        picked.set(all);
        return new DenseWeight(picked);
    }

    /** The channels of the heads that stay, if this is a projection from or to heads; else null: all of it stays. */
    private int[] channels(String name) {
        Matcher m = LAYER.matcher(name);
        if (groups == null || !m.matches() || !m.group(3).matches(".*\\.[qkvo]_proj\\.(weight|bias)")) {
            return null;
        }
        boolean own = m.group(3).matches(".*\\.[kv]_proj\\..*");
        int width = own ? heads.dim() : heads.query() / heads.kv() * heads.dim();
        return Arrays.stream(groups[Integer.parseInt(m.group(2))])
                .flatMap(g -> IntStream.range(g * width, (g + 1) * width))
                .toArray();
    }

    @Override
    public Tensor vector(String name, int size, float fresh) {
        Tensor from = require(vectors.get(original(name)), name), to = Tensor.allocate(arena, Shape.of(size));
        int[] channels = name.endsWith(".o_proj.bias") ? null : channels(name);
        float[] values = from.toArray();
        to.set(channels == null ? values : picked(values, channels));
        return to;
    }

    private static float[] picked(float[] values, int[] channels) {
        float[] some = new float[channels.length];
        for (int i = 0; i < some.length; i++) {
            some[i] = values[channels[i]];
        }
        return some;
    }

    private <T> T require(T found, String name) {
        if (found == null) {
            throw new IllegalStateException(
                    "student: the model has no " + name + " among " + new TreeSet<>(vectors.keySet()));
        }
        return found;
    }
}
