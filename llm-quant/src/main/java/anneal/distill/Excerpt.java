package anneal.distill;

import anneal.model.Decoder;
import anneal.model.WeightSource;
import anneal.nn.DenseWeight;
import anneal.nn.Embedding;
import anneal.nn.Linear;
import anneal.nn.Weight;
import anneal.tensor.Shape;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.IdentityHashMap;
import java.util.Map;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.IntStream;

/** The weights of some blocks, rows and columns of a model, under the numbers that the blocks have in the smaller one. */
final class Excerpt implements WeightSource {
    /** Name, number and rest: the first number in a path is the block's. */
    private static final Pattern LAYER = Pattern.compile("(.*?\\.)(\\d+)(\\..*)");

    private final Map<String, Linear> linears;
    private final Map<String, Embedding> embeddings;
    private final Map<String, Tensor> vectors;
    private final int[] layers;
    private final Map<Linear, int[]> rows = new IdentityHashMap<>();
    private final Map<Linear, int[]> columns = new IdentityHashMap<>();
    private final Arena arena;
    private boolean shared;

    /**
     * An excerpt of a model.
     *
     * @param layers that stay
     */
    Excerpt(Decoder model, int[] layers, Arena arena) {
        linears = model.root().find(Linear.class);
        embeddings = model.root().find(Embedding.class);
        vectors = model.root().parameters();
        this.layers = layers;
        this.arena = arena;
    }

    /** All blocks of a model. */
    static Excerpt of(Decoder model, Arena arena) {
        return new Excerpt(model, IntStream.range(0, model.config().layers()).toArray(), arena);
    }

    /** Whole matrices are the model's own, not copies as floats. */
    Excerpt sharing() {
        shared = true;
        return this;
    }

    /** Of a layer's outputs these stay. */
    void rows(Linear layer, int[] kept) {
        rows.put(layer, kept);
    }

    /** Of a layer's inputs these stay. */
    void columns(Linear layer, int[] kept) {
        columns.put(layer, kept);
    }

    private String original(String name) {
        Matcher m = LAYER.matcher(name);
        return m.matches() ? m.group(1) + layers[Integer.parseInt(m.group(2))] + m.group(3) : name;
    }

    @Override
    public Weight matrix(String name, int out, int in, Role role) {
        String path = original(name).replaceFirst("\\.weight$", "");
        Linear linear = linears.get(path);
        Weight weight = linear != null
                ? linear.weight()
                : require(embeddings.get(path), path).weight();
        int[] rowsKept = rows.get(linear), columnsKept = columns.get(linear);
        if (rowsKept == null && columnsKept == null) {
            return shared ? weight : DenseWeight.copy(weight.matrix(), arena);
        }
        Tensor picked = Tensor.allocate(arena, Shape.of(out, in));
        float[] row = new float[weight.in()];
        for (int i = 0; i < out; i++) {
            weight.row(rowsKept == null ? i : rowsKept[i], row);
            MemorySegment.copy(picked(row, columnsKept), 0, picked.buf(), ValueLayout.JAVA_FLOAT, 4L * i * in, in);
        }
        return new DenseWeight(picked);
    }

    @Override
    public Tensor vector(String name, int size, float fresh) {
        String path = original(name);
        Tensor from = require(vectors.get(path), name), to = Tensor.allocate(arena, Shape.of(size));
        to.set(picked(from.toArray(), rows.get(linears.get(path.replaceFirst("\\.bias$", "")))));
        return to;
    }

    /** The values at {@code chosen} places; all if that is null. */
    private static float[] picked(float[] values, int[] chosen) {
        if (chosen == null) {
            return values;
        }
        float[] some = new float[chosen.length];
        for (int i = 0; i < some.length; i++) {
            some[i] = values[chosen[i]];
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
