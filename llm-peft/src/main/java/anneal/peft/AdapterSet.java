package anneal.peft;

import anneal.nn.Adapter;
import anneal.nn.Linear;
import anneal.nn.Module;
import anneal.tensor.Tensor;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashSet;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Supplier;
import java.util.stream.IntStream;

/**
 * Several adapters in one model, by name: add or load them, use one, some or none, exchange one while the model stays.
 *
 * <pre>
 * use("a", "b")            y = b(a(layer))(x); of LoRA  x Wt + delta_a(x) + delta_b(x)
 * rows("a", "b", BASE)     row 0 of the batch through a, row 1 through b, row 2 through neither
 * use()                    the base, bit for bit
 * </pre>
 *
 * <p>Only adapters that leave the numbers of the base alone can be members; what trains biases or norms of the base itself would change
 * them for all. Two adapters can be used together if they meet at linear layers only, or not at all. PEFT has the same as add_adapter,
 * set_adapter, disable_adapter, delete_adapter, hotswap_adapter and the argument adapter_names; there, rows are only for LoRA.
 *
 * <p>Not for several threads: which adapters are in use is a state of the model.
 */
public final class AdapterSet {
    /** In {@link #rows}: no adapter. PEFT's name for it. */
    public static final String BASE = "__base__";

    private final Module root;
    private final Map<String, Adapters> all = new LinkedHashMap<>();
    private List<String> used = List.of();
    private int scopes;
    private boolean merged;

    /** No adapters yet, for this model. */
    public AdapterSet(Module root) {
        this.root = root;
    }

    // ---------------------------------------------------------------- members

    /** Adds fresh adapters; they are trained once they are used. */
    public Adapters add(String name, Method method, long seed) {
        return join(name, () -> Adapters.attach(method, root, seed));
    }

    /** Adds fresh adapters. */
    public Adapters add(String name, Method method) {
        return add(name, method, 0);
    }

    /** Adds the adapters of a folder; see {@link Adapters#load}. */
    public Adapters load(String name, Path folder) {
        return join(name, () -> Adapters.load(root, folder));
    }

    /**
     * Puts the adapters of a folder in the place of those of a name, which go. Used adapters stay used. If the folder cannot be
     * loaded, everything is as it was.
     */
    public Adapters replace(String name, Path folder) {
        require(name);
        requireFree("replace");
        Adapters next = alone(() -> member(name, Adapters.load(root, folder)));
        List<String> now = used;
        use(List.of());
        all.put(name, next);
        use(now);
        return next;
    }

    /** Forgets adapters; they are taken out if they are used. */
    public void delete(String name) {
        require(name);
        requireFree("delete");
        use(used.stream().filter(n -> !n.equals(name)).toList());
        all.remove(name);
    }

    /** The adapters of a name, to be trained or saved. */
    public Adapters get(String name) {
        return require(name);
    }

    /** All names, in the order in which they were added. */
    public Set<String> names() {
        return Collections.unmodifiableSet(all.keySet());
    }

    /** Makes adapters of {@code maker} a member, not used yet. */
    private Adapters join(String name, Supplier<Adapters> maker) {
        requireFree("add");
        if (name.isBlank() || name.equals(BASE) || all.containsKey(name)) {
            throw new IllegalArgumentException("add: "
                    + (all.containsKey(name)
                            ? "there are adapters named " + name + " already"
                            : "\"" + name + "\" cannot be a name"));
        }
        Adapters added = alone(() -> member(name, maker.get()));
        all.put(name, added);
        return added;
    }

    /** Does something while no adapters are in the model. */
    private Adapters alone(Supplier<Adapters> work) {
        List<String> now = used;
        use(List.of());
        try {
            return work.get();
        } finally {
            use(now);
        }
    }

    private Adapters member(String name, Adapters adapters) {
        adapters.plug(false);
        Set<Tensor> base = Collections.newSetFromMap(new IdentityHashMap<>());
        base.addAll(root.parameters().values());
        adapters.parameters().forEach((parameter, tensor) -> {
            if (base.contains(tensor)) {
                tensor.trainable(false);
                throw new IllegalArgumentException("add: " + name + " changes " + parameter
                        + " of the base itself, which stays when it is not used; use it alone, without a set");
            }
        });
        return adapters;
    }

    /** A member made from tensors that exist. */
    Adapters join(String name, Method method, Map<String, float[]> numbers) {
        return join(name, () -> Adapters.of(method, root, numbers));
    }

    private Adapters require(String name) {
        Adapters adapters = all.get(name);
        if (adapters == null) {
            throw new IllegalArgumentException("there are no adapters named " + name + "; there are "
                    + (all.isEmpty() ? "none" : String.join(", ", new TreeSet<>(all.keySet()))));
        }
        return adapters;
    }

    private void requireFree(String op) {
        if (merged || scopes > 0) {
            throw new IllegalStateException(op + ": "
                    + (merged
                            ? "adapters are merged into the weights; call unmerge first"
                            : "a scope of disabled or rows is open; close it first"));
        }
    }

    // ---------------------------------------------------------------- use

    /** From now on exactly these adapters are in the model, in this order; without a name, none. */
    public void use(String... names) {
        requireFree("use");
        List<String> wanted = List.of(names);
        wanted.forEach(this::require);
        if (new HashSet<>(wanted).size() < wanted.size()) {
            throw new IllegalArgumentException("use: " + String.join(", ", wanted) + ": a name is given twice");
        }
        requireTogether(wanted);
        use(wanted);
    }

    private void use(List<String> names) {
        used.forEach(name -> all.get(name).plug(false));
        names.forEach(name -> all.get(name).plug(true));
        used = List.copyOf(names);
    }

    /** Adapters meet at linear layers, where they form a stack; no other place holds two. */
    private void requireTogether(List<String> names) {
        for (String a : names) {
            for (String b : names.subList(0, names.indexOf(a))) {
                Set<String> both = new LinkedHashSet<>(all.get(a).paths());
                both.retainAll(all.get(b).paths());
                Set<String> saved =
                        new LinkedHashSet<>(WholeTuning.saved(all.get(a).tuning()));
                saved.retainAll(WholeTuning.saved(all.get(b).tuning()));
                if (!saved.isEmpty()) {
                    throw new IllegalArgumentException("use: " + b + " and " + a + " each have a "
                            + saved.iterator().next() + " of their own; use one of them");
                }
                boolean linear = all.get(a).tuning().atLayers().isPresent()
                        && all.get(b).tuning().atLayers().isPresent();
                if (!both.isEmpty() && !linear) {
                    throw new IllegalArgumentException("use: " + b + " and " + a + " both change "
                            + both.iterator().next() + ", where only one can be; use one of them");
                }
            }
        }
    }

    /** Names of the adapters in use. */
    public List<String> used() {
        return used;
    }

    /** The base, bit for bit, until closed; may be nested. Keep it open until the backward pass of what was computed is done. */
    public Adapters.Disabled disabled() {
        requireUnmerged("disabled");
        return scope(() -> {});
    }

    /**
     * Until closed, row i of every batch goes through the adapters {@code names[i]}, {@link #BASE} for none, whatever is in use
     * outside. Keep it open until the backward pass of what was computed is done.
     *
     * @throws IllegalArgumentException if a method does more than change linear layers: vectors in front of a text or hooks behind
     *     a layer are there for all rows
     */
    public Adapters.Disabled rows(String... names) {
        requireFree("rows");
        if (names.length == 0) {
            throw new IllegalArgumentException("rows: name the adapters of each row of the batch");
        }
        Map<String, int[]> rowsOf = new LinkedHashMap<>();
        for (String name : new LinkedHashSet<>(Arrays.asList(names))) {
            if (!name.equals(BASE) && require(name).tuning().atLayers().isEmpty()) {
                throw new IllegalArgumentException("rows: " + name
                        + " changes more than linear layers, so it cannot be there for some rows of a batch only");
            }
            rowsOf.put(
                    name,
                    IntStream.range(0, names.length)
                            .filter(i -> names[i].equals(name))
                            .toArray());
        }
        return scope(() -> plugRows(names.length, rowsOf));
    }

    private void plugRows(int batch, Map<String, int[]> rowsOf) {
        root.find(Linear.class).forEach((path, linear) -> {
            List<RowAdapters.Group> groups = new ArrayList<>();
            boolean adapted = false;
            for (Map.Entry<String, int[]> e : rowsOf.entrySet()) {
                LayerAdapter adapter = e.getKey().equals(BASE)
                        ? null
                        : all.get(e.getKey())
                                .tuning()
                                .atLayers()
                                .orElseThrow()
                                .adapters()
                                .get(path);
                groups.add(new RowAdapters.Group(adapter, e.getValue()));
                adapted |= adapter != null;
            }
            if (adapted) {
                linear.adapter(new RowAdapters(batch, groups));
            }
        });
    }

    /** Takes out what is used, does {@code enter}, and puts everything back when closed. */
    private Adapters.Disabled scope(Runnable enter) {
        Map<Linear, Adapter> outside = new LinkedHashMap<>();
        List<String> now = used;
        root.find(Linear.class).values().forEach(linear -> {
            if (linear.adapter() instanceof RowAdapters) { // disabled inside rows
                outside.put(linear, linear.adapter());
                linear.adapter(Adapter.NONE);
            }
        });
        use(List.of());
        enter.run();
        scopes++;
        return new Adapters.Disabled() {
            private boolean closed;

            @Override
            public void close() {
                if (!closed) {
                    closed = true;
                    scopes--;
                    root.find(Linear.class).values().forEach(linear -> {
                        if (linear.adapter() instanceof RowAdapters) {
                            linear.adapter(Adapter.NONE);
                        }
                    });
                    use(now);
                    outside.forEach(Linear::adapter);
                }
            }
        };
    }

    // ---------------------------------------------------------------- merge, combine

    /** Adds the adapters in use into the weights, one after the other; see {@link Adapters#merge}. */
    public void merge() {
        requireFree("merge");
        if (used.isEmpty()) {
            throw new IllegalStateException("merge: no adapters are in use");
        }
        used.forEach(name -> all.get(name).merge());
        merged = true;
    }

    /** Takes them out of the weights, which are what they were, bit for bit. */
    public void unmerge() {
        if (!merged) {
            throw new IllegalStateException("unmerge: the adapters are not merged");
        }
        used.reversed().forEach(name -> all.get(name).unmerge());
        merged = false;
        use(used); // in their order again
    }

    private void requireUnmerged(String op) {
        if (merged) {
            throw new IllegalStateException(op + ": adapters are merged into the weights; call unmerge first");
        }
    }

    /**
     * Makes one LoRA adapter of several, or one IA3 adapter of several, under a new name, not used yet; the others stay.
     *
     * @param weights name and weight of each
     * @throws IllegalArgumentException if one of them is neither plain LoRA nor plain IA3 or the methods differ, or their ranks differ where the kind needs equal ones
     */
    public Adapters combine(String name, Combination combination, Map<String, Double> weights) {
        Map<String, Combination.Part> parts = new LinkedHashMap<>();
        weights.forEach((member, weight) -> parts.put(member, new Combination.Part(require(member), weight)));
        Combination.Result result = combination.of(parts);
        return join(name, result.method(), result.numbers());
    }
}
