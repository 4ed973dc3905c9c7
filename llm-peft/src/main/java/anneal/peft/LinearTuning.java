package anneal.peft;

import anneal.nn.Linear;
import anneal.nn.TransposedWeight;
import anneal.nn.Weight;
import anneal.tensor.Memory;
import anneal.tensor.Rng;
import anneal.tensor.Shape;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.BiFunction;

/** A method that works at linear layers: one {@link LayerAdapter} each, and perhaps parameters of the model beside them. */
abstract class LinearTuning implements Tuning {
    /** A layer, what is plugged in, and the weight that stands in it when nothing is merged. */
    private record Place(Linear linear, LayerAdapter adapter, Weight weight) {}

    private final Map<String, Place> places = new LinkedHashMap<>();
    private final Map<String, Tensor> parameters = new LinkedHashMap<>();
    private final Map<String, Tensor> stored = new LinkedHashMap<>();

    /** Weights that the layers had before a merge, and those that it put in. */
    private final Map<Linear, Weight> before = new IdentityHashMap<>();

    private final Map<Linear, Weight> after = new IdentityHashMap<>();

    /** Numbers that biases had before a merge. */
    private final Map<Tensor, float[]> biases = new IdentityHashMap<>();

    /** Adapters for these layers, made from path and layer. */
    LinearTuning(Map<String, Linear> targets, BiFunction<String, Linear, LayerAdapter> maker) {
        targets.forEach((path, linear) -> {
            LayerAdapter adapter = maker.apply(path, linear);
            places.put(path, new Place(linear, adapter, linear.weight()));
            adapter.parameters().forEach((end, t) -> parameters.put(path + "." + end, t));
            adapter.stored().forEach((end, t) -> stored.put(path + "." + end, t));
        });
    }

    /** Adapters for these layers and nothing else. */
    static LinearTuning of(Map<String, Linear> targets, BiFunction<String, Linear, LayerAdapter> maker) {
        return new LinearTuning(targets, maker) {};
    }

    /** Something else of the model that is trained and saved, under its name in the file. */
    final void also(String name, Tensor t) {
        parameters.put(name, t);
        stored.put(name, t);
    }

    /** The adapter of each layer, by path. */
    final Map<String, LayerAdapter> adapters() {
        Map<String, LayerAdapter> all = new LinkedHashMap<>();
        places.forEach((path, place) -> all.put(path, place.adapter));
        return all;
    }

    @Override
    public final Map<String, Tensor> parameters() {
        return Collections.unmodifiableMap(parameters);
    }

    @Override
    public Map<String, Tensor> stored() {
        return Collections.unmodifiableMap(stored);
    }

    @Override
    public void init(Rng rng) {
        long label = 0;
        for (Place p : places.values()) {
            p.adapter.init(rng.fork(label++));
        }
    }

    @Override
    public final List<String> paths() {
        return List.copyOf(places.keySet());
    }

    /** True if a layer's matrix stands as [in, out]: PEFT's "fan_in_fan_out". */
    final boolean transposed() {
        return places.values().stream().anyMatch(p -> p.weight instanceof TransposedWeight);
    }

    @Override
    public final void plug(boolean in) {
        places.values().forEach(p -> {
            if (in) {
                LayerAdapter.Stack.add(p.linear, p.adapter);
            } else {
                LayerAdapter.Stack.remove(p.linear, p.adapter);
            }
        });
    }

    @Override
    public final List<String> merge() {
        List<String> widened = new ArrayList<>();
        places.values().forEach(p -> {
            Weight weight = p.linear.weight(); // another adapter may have been merged since this one was made
            if (weight.parameter().isEmpty()) {
                widened.add(weight.format());
            }
            exchange(p.linear, exact(p));
        });
        plug(false);
        return widened;
    }

    @Override
    public final List<MergeReport.Layer> mergeStored() {
        List<MergeReport.Layer> layers = new ArrayList<>();
        places.forEach((path, p) -> {
            Weight weight = p.linear.weight(), exact = exact(p);
            Optional<Weight> rounded = weight.like(exact.matrix(), Arena.ofAuto());
            exchange(p.linear, rounded.orElse(exact));
            layers.add(new MergeReport.Layer(
                    path, weight.format(), rounded.isEmpty(), error(weight, exact, rounded.orElse(exact))));
        });
        plug(false);
        return layers;
    }

    /** Puts a merged weight in and remembers the one that was there. */
    private void exchange(Linear linear, Weight merged) {
        before.put(linear, linear.weight());
        linear.weight(merged);
        after.put(linear, merged);
    }

    /** |rounded - exact| / |exact - base|, Frobenius norms; 0 if nothing was learnt and nothing is lost. */
    private static double error(Weight base, Weight exact, Weight rounded) {
        int columns = base.in();
        float[] b = new float[columns], e = new float[columns], r = new float[columns];
        double update = 0, error = 0;
        for (int row = 0; row < base.out(); row++) {
            base.row(row, b);
            exact.row(row, e);
            rounded.row(row, r);
            for (int i = 0; i < columns; i++) {
                double u = (double) e[i] - b[i], d = (double) r[i] - e[i];
                update += u * u;
                error += d * d;
            }
        }
        return error == 0 ? 0 : Math.sqrt(error / update);
    }

    @Override
    public final void unmerge() {
        after.forEach((linear, weight) -> {
            if (linear.weight() != weight) {
                throw new IllegalStateException("unmerge: the weight of " + linear.path()
                        + " was exchanged since, perhaps by a later merge; undo that first");
            }
        });
        before.forEach(Linear::weight);
        biases.forEach(Tensor::set);
        before.clear();
        after.clear();
        biases.clear();
        plug(true);
    }

    /** A copy of the layer's matrix, as floats, with the adapter in it; the bias is changed in place. */
    private Weight exact(Place p) {
        if (p.linear.bias() != null) {
            biases.put(p.linear.bias(), p.linear.bias().toArray());
        }
        Weight dense = p.linear.weight().dense(Arena.ofAuto());
        Tensor w = dense.parameter().orElseThrow();
        try (var _ = Memory.scope();
                var _ = Tape.pause()) {
            if (dense instanceof TransposedWeight) { // stored [in, out]
                Tensor turned = transposed(w);
                p.adapter.mergeInto(turned, p.linear.bias());
                w.set(transposed(turned).toArray());
            } else {
                p.adapter.mergeInto(w, p.linear.bias());
            }
        }
        return dense;
    }

    /** x [n, m] -> [m, n]. */
    static Tensor transposed(Tensor x) {
        int rows = x.dim(0), columns = x.dim(1);
        float[] from = x.toArray(), to = new float[from.length];
        for (int i = 0; i < rows; i++) {
            for (int j = 0; j < columns; j++) {
                to[j * rows + i] = from[i * columns + j];
            }
        }
        return Tensor.of(to, columns, rows);
    }

    /** Memory for something trained, freed when nothing refers to it: a handle on adapters needs no close. */
    static Tensor allocate(int... dims) {
        return Tensor.allocate(Arena.ofAuto(), Shape.of(dims));
    }
}
