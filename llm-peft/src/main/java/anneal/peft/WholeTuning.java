package anneal.peft;

import anneal.nn.Embedding;
import anneal.nn.LayerWatch;
import anneal.nn.Linear;
import anneal.nn.Module;
import anneal.nn.TaskModel;
import anneal.nn.Weight;
import anneal.tensor.Rng;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * Any method with modules that are trained and saved whole beside it: PEFT's modules_to_save, and the head of a model that is new to its
 * task. A copy of the weight stands in the module while adapters are in; the model's own one comes back when they are out.
 */
final class WholeTuning implements Tuning {
    private final Tuning method;
    private final String task;
    private final Map<String, Tensor> parameters = new LinkedHashMap<>();
    private final Map<String, Copy> copies = new LinkedHashMap<>();

    private WholeTuning(Tuning method, String task) {
        this.method = method;
        this.task = task;
    }

    /** The method with copies of the linear layers and embeddings whose path is or ends with one of these names, and of a new head. */
    static Tuning of(Tuning method, Module root, List<String> names) {
        TaskModel withHead = root instanceof TaskModel m ? m : null;
        if (names.isEmpty() && withHead == null) {
            return method;
        }
        WholeTuning whole = new WholeTuning(method, withHead == null ? null : withHead.task());
        if (withHead != null) {
            whole.add(withHead.head().path(), withHead.head());
        }
        names.forEach(name -> whole.addAll(root, name));
        method.paths().stream().filter(whole.copies::containsKey).findFirst().ifPresent(path -> {
            throw new IllegalArgumentException("modules_to_save: " + path + " is a target of the method too");
        });
        return whole;
    }

    /** The method alone, whether or not modules are trained whole beside it. */
    static Tuning method(Tuning tuning) {
        return tuning instanceof WholeTuning w ? w.method : tuning;
    }

    /** The task of a new head, in PEFT's words; null if there is none. */
    static String task(Tuning tuning) {
        return tuning instanceof WholeTuning w ? w.task : null;
    }

    /** Paths of the modules that are trained whole. */
    static Set<String> saved(Tuning tuning) {
        return tuning instanceof WholeTuning w ? w.copies.keySet() : Set.of();
    }

    // ---------------------------------------------------------------- copies

    private void addAll(Module root, String name) {
        boolean[] fits = new boolean[1];
        root.walk((path, module) -> {
            if (path.equals(name) || path.endsWith("." + name)) {
                fits[0] = true;
                add(path, module);
            }
        });
        if (!fits[0]) {
            throw new IllegalArgumentException("modules_to_save: no module fits " + name);
        }
    }

    private void add(String path, Module module) {
        if (copies.containsKey(path)) {
            return;
        }
        Copy copy = switch (module) {
            case Linear l -> new LinearCopy(l);
            case Embedding e -> new TableCopy(e);
            default ->
                throw new IllegalArgumentException("modules_to_save: " + path + " is a "
                        + module.getClass().getSimpleName()
                        + "; linear layers and embeddings can be trained whole");
        };
        copies.put(path, copy);
        parameters.put(path + ".weight", copy.copy.parameter().orElseThrow());
        if (module instanceof Linear l && l.bias() != null) {
            parameters.put(path + ".bias", l.bias());
        }
    }

    /** A module with two weights. */
    private abstract static class Copy {
        final Weight original;
        final Weight copy;

        Copy(Weight original) {
            this.original = original;
            copy = original.dense(Arena.ofAuto());
        }

        abstract void weight(Weight w);

        void plug(boolean in) {
            weight(in ? copy : original);
        }
    }

    private static final class TableCopy extends Copy {
        private final Embedding embedding;

        TableCopy(Embedding embedding) {
            super(embedding.weight());
            this.embedding = embedding;
        }

        @Override
        void weight(Weight w) {
            embedding.weight(w);
        }
    }

    /** A layer's bias is one tensor: its numbers are exchanged. */
    private static final class LinearCopy extends Copy {
        private final Linear linear;
        private final float[] bias;
        private float[] trained;
        private boolean plugged;

        LinearCopy(Linear linear) {
            super(linear.weight());
            this.linear = linear;
            bias = linear.bias() == null ? null : linear.bias().toArray();
            trained = bias;
        }

        @Override
        void weight(Weight w) {
            linear.weight(w);
        }

        @Override
        void plug(boolean in) {
            if (bias != null && in != plugged) {
                if (plugged) {
                    trained = linear.bias().toArray();
                }
                linear.bias().set(in ? trained : bias);
            }
            plugged = in;
            super.plug(in);
        }
    }

    // ---------------------------------------------------------------- both together

    private Map<String, Tensor> with(Map<String, Tensor> tensors) {
        Map<String, Tensor> all = new LinkedHashMap<>(tensors);
        all.putAll(parameters);
        return Collections.unmodifiableMap(all);
    }

    @Override
    public Map<String, Tensor> parameters() {
        return with(method.parameters());
    }

    @Override
    public Map<String, Tensor> stored() {
        return with(method.stored());
    }

    @Override
    public Map<String, Tensor> shared() {
        return method.shared();
    }

    @Override
    public void init(Rng rng) {
        method.init(rng);
    }

    @Override
    public void derive() {
        method.derive();
    }

    @Override
    public void begin(long total) {
        method.begin(total);
    }

    @Override
    public Optional<Tensor> penalty() {
        return method.penalty();
    }

    @Override
    public void updated(Step step) {
        method.updated(step);
    }

    @Override
    public void restored() {
        method.restored();
    }

    @Override
    public Map<String, Tensor> state() {
        return method.state();
    }

    @Override
    public List<String> paths() {
        return method.paths();
    }

    @Override
    public void plug(boolean in) {
        method.plug(in);
        copies.values().forEach(c -> c.plug(in));
    }

    /** Copies are in their modules already. */
    @Override
    public List<String> merge(LayerWatch watch) {
        return method.merge(watch);
    }

    @Override
    public List<MergeReport.Layer> mergeStored(LayerWatch watch) {
        List<MergeReport.Layer> layers = new ArrayList<>(method.mergeStored(watch));
        copies.forEach((path, c) -> {
            StoredMerge merged = StoredMerge.of(path, c.original, c.copy);
            c.weight(merged.weight());
            layers.add(merged.layer());
        });
        return layers;
    }

    @Override
    public void unmerge() {
        method.unmerge();
        copies.values().forEach(c -> c.plug(true));
    }
}
