package anneal.peft;

import anneal.nn.Embedding;
import anneal.nn.LayerWatch;
import anneal.nn.Linear;
import anneal.nn.Module;
import anneal.nn.Weight;
import anneal.tensor.AdapterOps;
import anneal.tensor.Ops;
import anneal.tensor.Rng;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** {@link TrainableTokens} in a model: a plug of the embedding, and an adapter of each layer that is the same matrix. */
final class TokensTuning implements Tuning {
    private static final String END = ".trainable_tokens_delta";

    private final TrainableTokens method;
    private final String path;
    private final Embedding embedding;
    private final Weight weight;
    private final Map<String, Linear> tied;
    private final Tensor rows;
    private final int[] ids;
    private final Embedding.Plug plug;
    private final LayerAdapter head;

    private TokensTuning(TrainableTokens method, String path, Embedding embedding, Map<String, Linear> tied) {
        this.method = method;
        this.path = path;
        this.embedding = embedding;
        this.tied = tied;
        weight = embedding.weight();
        ids = method.tokens().stream().mapToInt(Integer::intValue).toArray();
        rows = LinearTuning.allocate(ids.length, weight.in());
        rows.set(weight.rows(ids));
        Map<Integer, Integer> place = new HashMap<>();
        for (int k = 0; k < ids.length; k++) {
            place.put(ids[k], k);
        }
        plug = new Embedding.Plug() {
            @Override
            public Tensor rows(int[] read, Tensor plain) {
                int[] from = new int[read.length];
                for (int i = 0; i < from.length; i++) {
                    from[i] = place.getOrDefault(read[i], -1);
                }
                return AdapterOps.replaceRowsInPlace(plain, from, rows);
            }
        };
        head = new Head();
    }

    static TokensTuning of(TrainableTokens method, Module root, boolean everyName) {
        Map<String, Embedding> found = method.targets() == null
                ? root.find(Embedding.class)
                : method.targets().find(root, Embedding.class, "embedding", everyName);
        if (found.isEmpty() || method.targets() != null && found.size() > 1) {
            throw new IllegalArgumentException(
                    "TrainableTokens: there must be one embedding to change, not " + found.keySet());
        }
        String path = found.keySet().iterator().next();
        Embedding embedding = found.get(path);
        if (embedding.plug() != Embedding.Plug.NONE) {
            throw Tuning.occupied(path);
        }
        int size = embedding.weight().out();
        method.tokens().stream().filter(id -> id < 0 || id >= size).findFirst().ifPresent(id -> {
            throw new IllegalArgumentException(
                    "TrainableTokens: id " + id + " is outside the " + size + " tokens of " + path);
        });
        Map<String, Linear> tied = root.find(Linear.class);
        tied.values().removeIf(l -> l.weight() != embedding.weight());
        return new TokensTuning(method, path, embedding, tied);
    }

    /** A projection on the embedding's vectors: the columns of the trained tokens are made from the trained rows. */
    private final class Head implements LayerAdapter {
        @Override
        public Tensor apply(Tensor x, Linear base, Inner inner) {
            Tensor y = inner == null ? base.plain(x) : inner.forward(x);
            Tensor z = Ops.matmulT(x, rows);
            if (base.bias() != null) {
                z = Ops.addBiasInPlace(
                        z, Ops.rows(base.bias().view(base.out(), 1), ids).view(ids.length));
            }
            return AdapterOps.replaceColumnsInPlace(y, ids, z);
        }

        @Override
        public Map<String, Tensor> parameters() {
            return Map.of();
        }

        @Override
        public void init(Rng rng) {}

        @Override
        public void mergeInto(Tensor w, Tensor bias) {
            putRows(w);
        }
    }

    private void putRows(Tensor w) {
        int[] from = new int[w.dim(0)];
        Arrays.fill(from, -1);
        for (int k = 0; k < ids.length; k++) {
            from[ids[k]] = k;
        }
        AdapterOps.replaceRowsInPlace(w, from, rows.detach());
    }

    @Override
    public Map<String, Tensor> parameters() {
        Map<String, Tensor> all = new LinkedHashMap<>();
        all.put(path + END, rows);
        return all;
    }

    @Override
    public Map<String, Tensor> stored() {
        Map<String, Tensor> all = new LinkedHashMap<>(parameters());
        tied.keySet().forEach(name -> all.put(name + END, rows));
        return all;
    }

    @Override
    public void init(Rng rng) {
        if (method.random()) {
            Inits.normal(rows, 1, rng);
        }
    }

    @Override
    public List<String> paths() {
        return List.of(path);
    }

    @Override
    public void plug(boolean in) {
        embedding.plug(in ? plug : Embedding.Plug.NONE);
        for (Linear l : tied.values()) {
            if (in) {
                LayerAdapter.Stack.add(l, head);
            } else {
                LayerAdapter.Stack.remove(l, head);
            }
        }
    }

    /** One matrix before, one matrix after: a tied projection gets the same new storage. */
    @Override
    public List<String> merge(LayerWatch watch) {
        Weight dense = merged();
        plug(false);
        exchange(dense);
        List<String> widened = new ArrayList<>();
        if (weight.parameter().isEmpty()) {
            widened.add(weight.format());
        }
        return widened;
    }

    @Override
    public List<MergeReport.Layer> mergeStored(LayerWatch watch) {
        StoredMerge stored = StoredMerge.of(path, weight, merged());
        plug(false);
        exchange(stored.weight());
        return List.of(stored.layer());
    }

    private Weight merged() {
        Weight dense = weight.dense(Arena.ofAuto());
        putRows(dense.parameter().orElseThrow());
        return dense;
    }

    @Override
    public void unmerge() {
        exchange(weight);
        plug(true);
    }

    private void exchange(Weight w) {
        embedding.weight(w);
        tied.values().forEach(l -> l.weight(w));
    }
}
