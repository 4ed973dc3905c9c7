package anneal.peft;

import anneal.nn.Embedding;
import anneal.nn.LayerWatch;
import anneal.nn.Linear;
import anneal.nn.Module;
import anneal.nn.Norm;
import anneal.nn.TaskModel;
import anneal.nn.Weight;
import anneal.tensor.Rng;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Deque;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.Consumer;

/** {@link Lisa} in a model: copies of all that it is, and which of the blocks' are trained. */
final class LisaTuning implements Tuning {
    /** A storage that is exchanged: by its user's path, what there was, what there is, and how it gets there. */
    private record Table(String path, Weight original, Weight copy, Consumer<Weight> place) {}

    private final Lisa method;
    private final CopyTuning copies;
    private final List<Table> tables;
    private final Map<String, Tensor> parameters = new LinkedHashMap<>();
    private final int blockCount;

    /** The numbers of the blocks in use, -1 before they are drawn, and the random state in four pieces of 16 bits. */
    private final Tensor chosen;

    private final Tensor random = LinearTuning.allocate(4);

    /** What may be trained of each block: found when a run begins, since some of it may have been frozen for good. */
    private Map<Integer, List<Tensor>> pool;

    private LisaTuning(Lisa method, CopyTuning copies, List<Table> tables, int blockCount) {
        this.method = method;
        this.copies = copies;
        this.tables = tables;
        this.blockCount = blockCount;
        Map<Weight, Boolean> seen = new IdentityHashMap<>();
        tables.stream()
                .filter(t -> seen.put(t.copy, true) == null)
                .forEach(t ->
                        parameters.put(t.path + ".weight", t.copy.parameter().orElseThrow()));
        parameters.putAll(copies.parameters());
        chosen = LinearTuning.allocate(method.blocks());
        chosen.set(filled(method.blocks(), -1));
        remember(new Rng(0));
    }

    private static float[] filled(int n, float value) {
        float[] x = new float[n];
        Arrays.fill(x, value);
        return x;
    }

    static LisaTuning of(Lisa method, Module root) {
        Map<String, Linear> linears = root.find(Linear.class);
        int blocks = Targets.requireBlocks(linears.keySet(), "Lisa: blocks", method.blocks());
        Map<Weight, Weight> dense = new IdentityHashMap<>();
        List<Table> tables = new ArrayList<>();
        root.find(Embedding.class).forEach((path, e) -> tables.add(table(path, e.weight(), dense, e::weight)));
        if (root instanceof TaskModel) { // its head is trained whatever the method is, and no other is in use
            linears.entrySet()
                    .removeIf(e -> Targets.block(e.getKey()).isEmpty()
                            && !dense.containsKey(e.getValue().weight()));
        }
        linears.forEach((path, l) -> {
            if (Targets.block(path).isEmpty() && l.bias() == null) {
                tables.add(table(path, l.weight(), dense, l::weight));
            }
        });
        tables.forEach(t -> linears.remove(t.path));
        return new LisaTuning(
                method, new CopyTuning(linears, root.find(Norm.class), CopyTuning.Part.ALL, ""), tables, blocks);
    }

    /** Exchanged and not adapted: a projection that is the embedding stays it, and the loss needs no logits. */
    private static Table table(String path, Weight w, Map<Weight, Weight> dense, Consumer<Weight> place) {
        return new Table(path, w, dense.computeIfAbsent(w, x -> x.dense(Arena.ofAuto())), place);
    }

    // ---------------------------------------------------------------- which blocks are trained

    @Override
    public void init(Rng rng) {
        remember(rng);
    }

    private void remember(Rng rng) {
        float[] pieces = new float[4];
        for (int i = 0; i < 4; i++) {
            pieces[i] = rng.state() >>> 16 * i & 0xFFFF;
        }
        random.set(pieces);
    }

    private Rng recall() {
        long state = 0;
        for (int i = 0; i < 4; i++) {
            state |= (long) random.get(i) << 16 * i;
        }
        return new Rng(state);
    }

    @Override
    public void begin(long total) {
        findPool();
        if (chosen.get(0) < 0) {
            draw();
        }
        use();
    }

    @Override
    public void restored() {
        findPool();
        use();
    }

    @Override
    public void updated(Step step) {
        if (step.step() % method.every() == 0) {
            draw();
            use();
        }
    }

    private void findPool() {
        if (pool == null) {
            pool = new HashMap<>();
            copies.parameters().forEach((name, p) -> {
                OptionalInt block = Targets.block(name);
                if (block.isPresent() && p.tracked()) {
                    pool.computeIfAbsent(block.getAsInt(), b -> new ArrayList<>())
                            .add(p);
                }
            });
        }
    }

    private void draw() {
        int[] all = new int[blockCount];
        Arrays.setAll(all, i -> i);
        Rng rng = recall();
        rng.shuffle(all);
        remember(rng);
        float[] first = new float[method.blocks()];
        for (int i = 0; i < first.length; i++) {
            first[i] = all[i];
        }
        chosen.set(first);
    }

    /** Numbers of the blocks that are trained now. */
    List<Integer> inUse() {
        List<Integer> all = new ArrayList<>();
        for (float block : chosen.toArray()) {
            all.add((int) block);
        }
        return all;
    }

    /** Trains the chosen blocks and no other; those that come take the memory of gradients from those that go. */
    private void use() {
        Map<Long, Deque<Tensor>> going = new HashMap<>();
        pool.forEach((block, tensors) -> {
            if (!inUse().contains(block)) {
                tensors.forEach(t ->
                        going.computeIfAbsent(t.size(), s -> new ArrayDeque<>()).add(t));
            }
        });
        going.values().forEach(same -> same.removeIf(t -> !t.tracked()));
        for (int block : inUse()) {
            for (Tensor t : pool.getOrDefault(block, List.of())) {
                if (!t.tracked()) {
                    t.trainable(true);
                    Optional.ofNullable(going.get(t.size())).map(Deque::poll).ifPresent(from -> {
                        t.inheritGrad(from);
                        from.trainable(false);
                    });
                }
            }
        }
        going.values().forEach(same -> same.forEach(t -> t.trainable(false)));
    }

    @Override
    public Map<String, Tensor> state() {
        return Map.of("lisa.blocks", chosen, "lisa.random", random);
    }

    // ---------------------------------------------------------------- in the model

    @Override
    public Map<String, Tensor> parameters() {
        return Collections.unmodifiableMap(parameters);
    }

    @Override
    public List<String> paths() {
        List<String> all = new ArrayList<>(copies.paths());
        tables.forEach(t -> all.add(t.path));
        return all;
    }

    @Override
    public void plug(boolean in) {
        copies.plug(in);
        tables.forEach(t -> t.place.accept(in ? t.copy : t.original));
    }

    /** What was exchanged stays. */
    @Override
    public List<String> merge(LayerWatch watch) {
        List<String> widened = new ArrayList<>(copies.merge(watch));
        tables.stream().filter(t -> t.original.parameter().isEmpty()).forEach(t -> widened.add(t.original.format()));
        return widened;
    }

    @Override
    public List<MergeReport.Layer> mergeStored(LayerWatch watch) {
        List<MergeReport.Layer> layers = new ArrayList<>(copies.mergeStored(watch));
        Map<Weight, Weight> written = new IdentityHashMap<>(); // a tied projection stays the embedding
        for (Table t : tables) {
            if (!written.containsKey(t.copy)) {
                StoredMerge stored = StoredMerge.of(t.path, t.original, t.copy);
                written.put(t.copy, stored.weight());
                layers.add(stored.layer());
            }
            t.place.accept(written.get(t.copy));
        }
        return layers;
    }

    @Override
    public void unmerge() {
        copies.unmerge();
        tables.forEach(t -> t.place.accept(t.copy));
    }
}
