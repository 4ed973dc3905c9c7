package anneal.peft;

import anneal.nn.Embedding;
import anneal.nn.LayerWatch;
import anneal.nn.Linear;
import anneal.nn.Module;
import anneal.tensor.Linalg;
import anneal.tensor.Memory;
import anneal.tensor.Rng;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** {@link Lora} in a model: an addition at each target, and biases of the model if asked for. */
final class LoraTuning implements Tuning {
    /** A and B that came with another base matrix. */
    private record First(Tensor a, Tensor b) {}

    private final Lora lora;
    private final Map<String, Linear> targets;
    private final LinearTuning linears;
    private final Map<String, LoraEmbedding> embeddings = new LinkedHashMap<>();
    private final Map<String, Tensor> parameters = new LinkedHashMap<>();
    private final Map<String, Tensor> stored = new LinkedHashMap<>();
    private final Map<String, First> first = new LinkedHashMap<>();

    private LoraTuning(Lora lora, Module root, boolean everyName) {
        this.lora = lora;
        Map<String, Embedding> tables = lora.targets().findEmbeddings(root);
        targets = lora.targets().find(root, everyName, tables.keySet());
        if (everyName) {
            requireRanks(lora, targets);
            tables.forEach((path, e) ->
                    requireRank(lora, path, e.weight().out(), e.weight().in()));
        }
        requirePossible(tables);
        linears = LinearTuning.of(targets, (path, linear) -> new LoraLayer(linear, lora, path));
        tables.forEach((path, e) -> embeddings.put(path, new LoraEmbedding(e, lora, path)));
    }

    static LoraTuning of(Lora lora, Module root, boolean everyName) {
        LoraTuning tuning = new LoraTuning(lora, root, everyName);
        tuning.linears.alsoBiases(lora.bias(), root);
        tuning.parameters.putAll(tuning.linears.parameters());
        tuning.stored.putAll(tuning.linears.stored());
        tuning.embeddings.forEach((path, e) -> {
            e.parameters().forEach((end, t) -> tuning.parameters.put(path + "." + end, t));
            e.stored().forEach((end, t) -> tuning.stored.put(path + "." + end, t));
        });
        return tuning;
    }

    /** Throws if a layer cannot have its rank. */
    static void requireRanks(Lora lora, Map<String, Linear> layers) {
        layers.forEach((path, l) -> requireRank(lora, path, l.out(), l.in()));
    }

    private static void requireRank(Lora lora, String path, int out, int in) {
        int rank = lora.rank(path), most = LinearTuning.requireRank("lora", rank, path, out, in);
        if (lora.init() instanceof LoraInit.LoraGa && 2 * rank > most) {
            throw new IllegalArgumentException("lora_ga: twice the rank " + rank + " must be at most " + most
                    + ", the rank of " + path + " [" + out + ", " + in + "]");
        }
    }

    private void requirePossible(Map<String, Embedding> tables) {
        if (!tables.isEmpty()) {
            String path = tables.keySet().iterator().next();
            if (!(lora.init() instanceof Lora.Init)) {
                throw new IllegalArgumentException(
                        "lora: init " + lora.init() + " needs a linear layer, " + path + " is an embedding");
            }
        }
    }

    @Override
    public Optional<LinearTuning> atLayers() {
        return embeddings.isEmpty() ? Optional.of(linears) : Optional.empty();
    }

    boolean transposed() {
        return linears.transposed();
    }

    @Override
    public Map<String, Tensor> parameters() {
        return Collections.unmodifiableMap(parameters);
    }

    @Override
    public Map<String, Tensor> stored() {
        return Collections.unmodifiableMap(stored);
    }

    @Override
    public List<String> paths() {
        List<String> all = new ArrayList<>(linears.paths());
        all.addAll(embeddings.keySet());
        return all;
    }

    // ---------------------------------------------------------------- first numbers

    @Override
    public void init(Rng rng) {
        linears.init(rng);
        long label = linears.paths().size();
        for (LoraEmbedding e : embeddings.values()) {
            e.init(rng.fork(label++));
        }
        if (lora.init().needsData()) {
            return; // and start follows
        }
        start(Map.of());
    }

    /** Numbers from the layers' matrices, and from what data gave, by path. */
    void start(Map<String, Tensor> seen) {
        linears.adapters().forEach((path, adapter) -> {
            LoraLayer layer = (LoraLayer) adapter;
            if (!(lora.init() instanceof Lora.Init)) {
                start(path, layer, seen.get(path));
            }
            layer.startMagnitude(targets.get(path).weight());
        });
    }

    private void start(String path, LoraLayer layer, Tensor seen) {
        try (var _ = Memory.scope();
                var _ = Tape.pause()) {
            LoraStart start =
                    LoraStart.of(lora.init(), linears.matrix(path), lora.rank(path), lora.scaling(path), seen);
            layer.start(start.a(), start.b());
            if (start.base() != null) {
                linears.rebase(path, start.base());
                first.put(path, new First(CopyLayer.copy(start.a()), CopyLayer.copy(start.b())));
            }
        }
    }

    /** The base matrices that an init gives, which no file of an adapter holds. */
    @Override
    public void derive() {
        if (lora.init().changesBase()) {
            start(Map.of());
        }
    }

    // ---------------------------------------------------------------- in and out

    @Override
    public void plug(boolean in) {
        linears.plug(in);
        embeddings.values().forEach(e -> e.plug(in));
    }

    @Override
    public List<String> merge(LayerWatch watch) {
        List<String> widened = linears.merge(watch);
        embeddings.values().forEach(LoraEmbedding::merge);
        return widened;
    }

    @Override
    public List<MergeReport.Layer> mergeStored(LayerWatch watch) {
        List<MergeReport.Layer> layers = new ArrayList<>(linears.mergeStored(watch));
        embeddings.forEach((path, e) -> layers.add(e.mergeStored(path)));
        return layers;
    }

    @Override
    public void unmerge() {
        linears.unmerge();
        embeddings.values().forEach(e -> e.plug(true));
    }

    // ---------------------------------------------------------------- as an addition to the model as it was

    /** An adapter as a file holds it. */
    record Plain(Lora lora, Map<String, Tensor> stored) {}

    /**
     * What the trained A, B are to the model as it was: W0 + s B A = W + s (B A - B0 A0), a plain addition with the rows of A over those
     * of A0 and the columns of B beside those of -B0, of twice the rank.
     */
    Plain plain() {
        if (lora.dora() || first.isEmpty()) {
            throw new IllegalStateException("saveAsPlainLora: "
                    + (lora.dora() ? "the lengths of dora are no addition" : "this adapter is one already; call save"));
        }
        if (lora.init() instanceof LoraInit.LoftQ) {
            throw new IllegalStateException(
                    "saveAsPlainLora: loftq's base is a quantised matrix, which is no addition of low rank to the model's");
        }
        Map<String, Tensor> tensors = new LinkedHashMap<>(stored);
        linears.adapters().forEach((path, adapter) -> {
            LoraLayer layer = (LoraLayer) adapter;
            First f = first.get(path);
            tensors.put(path + ".lora_A.weight", beneath(layer.a(), f.a, 1));
            tensors.put(
                    path + ".lora_B.weight",
                    CopyLayer.copy(
                            Linalg.transposed(beneath(Linalg.transposed(layer.b()), Linalg.transposed(f.b), -1))));
        });
        return new Plain(lora.doubled(), tensors);
    }

    /** x over factor times y: [n, d], [m, d] -> [n + m, d]. */
    private static Tensor beneath(Tensor x, Tensor y, float factor) {
        float[] upper = x.toArray(), lower = y.toArray(), all = new float[upper.length + lower.length];
        System.arraycopy(upper, 0, all, 0, upper.length);
        for (int i = 0; i < lower.length; i++) {
            all[upper.length + i] = factor * lower[i];
        }
        Tensor both = LinearTuning.allocate(x.dim(0) + y.dim(0), x.dim(1));
        both.set(all);
        return both;
    }
}
