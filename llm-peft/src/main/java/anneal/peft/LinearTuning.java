package anneal.peft;

import anneal.nn.LayerWatch;
import anneal.nn.Linear;
import anneal.nn.Module;
import anneal.nn.TransposedWeight;
import anneal.nn.Weight;
import anneal.tensor.Linalg;
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
    /** PEFT wraps an adapted layer, so its own bias has a longer name. */
    private static final String ADAPTED_BIAS = ".base_layer.bias";

    /** A layer, what is plugged in, the weight that stands in it while it is plugged in and not merged, and the model's own one. */
    private record Place(Linear linear, LayerAdapter adapter, Weight weight, Weight original) {}

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
            places.put(path, new Place(linear, adapter, linear.weight(), linear.weight()));
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

    /** Trains biases of the model too. */
    final void alsoBiases(Bias bias, Module root) {
        switch (bias) {
            case NONE -> {}
            case TARGETS ->
                places.forEach((path, p) -> {
                    if (p.linear.bias() != null) {
                        also(path + ADAPTED_BIAS, p.linear.bias());
                    }
                });
            case ALL ->
                root.parameters().forEach((name, p) -> {
                    if (name.endsWith(".bias")) {
                        String layer = name.substring(0, name.lastIndexOf('.'));
                        also(places.containsKey(layer) ? layer + ADAPTED_BIAS : name, p);
                    }
                });
        }
    }

    @Override
    public final Optional<LinearTuning> atLayers() {
        return Optional.of(this);
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
                exchange(p, p.weight);
            } else {
                LayerAdapter.Stack.remove(p.linear, p.adapter);
                exchange(p, p.original);
            }
        });
    }

    /** Most methods leave the weight alone: then it may be another one by now, that of a model in training. */
    private static void exchange(Place p, Weight w) {
        if (p.weight != p.original) {
            p.linear.weight(w);
        }
    }

    /** The matrix of the layer at a path as floats [out, in], a copy. */
    final Tensor matrix(String path) {
        Weight dense = places.get(path).original.dense(Arena.ofAuto());
        return upright(dense, dense.parameter().orElseThrow());
    }

    /** Gives the layer at a path another matrix [out, in] for as long as the adapters are in. */
    final void rebase(String path, Tensor w) {
        Place p = places.get(path);
        Weight dense = p.original.dense(Arena.ofAuto());
        dense.parameter().orElseThrow().set(upright(dense, w).toArray());
        places.put(path, new Place(p.linear, p.adapter, dense, p.original));
        p.linear.weight(dense);
    }

    /** A matrix in the order of a storage from [out, in], or back. */
    static Tensor upright(Weight storage, Tensor w) {
        return storage instanceof TransposedWeight ? Linalg.transposed(w) : w;
    }

    @Override
    public final List<String> merge(LayerWatch watch) {
        List<String> widened = new ArrayList<>();
        Map<Linear, Weight> merged = new IdentityHashMap<>();
        places.forEach((path, p) -> {
            if (base(p).parameter().isEmpty()) {
                widened.add(base(p).format());
            }
            merged.put(p.linear, exact(p));
            watch.layer(path, merged.size(), places.size());
        });
        exchange(merged);
        return widened;
    }

    @Override
    public final List<MergeReport.Layer> mergeStored(LayerWatch watch) {
        List<MergeReport.Layer> layers = new ArrayList<>();
        Map<Linear, Weight> merged = new IdentityHashMap<>();
        places.forEach((path, p) -> {
            StoredMerge one = StoredMerge.of(path, base(p), exact(p));
            merged.put(p.linear, one.weight());
            layers.add(one.layer());
            watch.layer(path, layers.size(), places.size());
        });
        exchange(merged);
        return layers;
    }

    /** What a layer has without this adapter; another one may have been merged since this one was made. */
    private static Weight base(Place p) {
        return p.weight != p.original ? p.original : p.linear.weight();
    }

    /** Takes the adapters out and puts merged weights in, and remembers the ones that were there. */
    private void exchange(Map<Linear, Weight> merged) {
        merged.keySet().forEach(linear -> before.put(linear, linear.weight()));
        plug(false);
        merged.forEach((linear, weight) -> {
            linear.weight(weight);
            after.put(linear, weight);
        });
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
            Tensor upright = upright(dense, w);
            p.adapter.mergeInto(upright, p.linear.bias());
            if (upright != w) {
                w.set(upright(dense, upright).toArray());
            }
        }
        return dense;
    }

    /** The highest rank that a layer can have; throws if it is to have more. */
    static int requireRank(String method, int rank, String path, int out, int in) {
        int most = Math.min(out, in);
        if (rank > most) {
            throw new IllegalArgumentException(method + ": rank " + rank + " is above what " + path + " [" + out + ", "
                    + in + "] can have: at most " + most);
        }
        return most;
    }

    /** Memory for something trained, freed when nothing refers to it: a handle on adapters needs no close. */
    static Tensor allocate(int... dims) {
        return Tensor.allocate(Arena.ofAuto(), Shape.of(dims));
    }
}
