package anneal.nn;

import anneal.tensor.Tensor;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.BiConsumer;

/**
 * A named part of a model: parameters of its own and child modules, both under the names of the family's weight files
 * ({@code model.layers.3.self_attn.q_proj}).
 *
 * <p>What changes a model from outside plugs into one of five sockets, none of which knows a method by name: storage and adapter of
 * a {@link Linear}, scale and shift of a {@link Norm}, the key/value prefix of an attention, the output of a sub-layer, the input
 * embedding.
 */
public abstract class Module {
    private final Map<String, Module> children = new LinkedHashMap<>();
    private final Map<String, Tensor> parameters = new LinkedHashMap<>();
    private String path = "";

    /** Adds a child under a name relative to this module; it may contain dots. */
    protected final <M extends Module> M child(String name, M module) {
        if (children.putIfAbsent(name, module) != null) {
            throw new IllegalArgumentException("module " + path + " already has a child " + name);
        }
        ((Module) module).rename(join(path, name));
        return module;
    }

    /** Adds a parameter of this module's own, for example "weight". */
    protected final Tensor parameter(String name, Tensor tensor) {
        parameters.put(name, tensor);
        return tensor;
    }

    /** Takes a parameter away: its storage was exchanged. */
    protected final void dropParameter(String name) {
        parameters.remove(name);
    }

    private void rename(String to) {
        path = to;
        children.forEach((name, module) -> module.rename(join(to, name)));
    }

    private static String join(String path, String name) {
        return path.isEmpty() ? name : name.isEmpty() ? path : path + "." + name;
    }

    /** The full name from the root: "model.layers.3.self_attn.q_proj"; empty for the root. */
    public final String path() {
        return path;
    }

    /** Direct children by relative name. */
    public final Map<String, Module> children() {
        return Collections.unmodifiableMap(children);
    }

    /** This module and all below it, parents first, with their full names. */
    public final void walk(BiConsumer<String, Module> visitor) {
        visitor.accept(path, this);
        children.values().forEach(m -> m.walk(visitor));
    }

    /** All parameters at and below this module by full name, in the order of the model; a shared one appears once. */
    public final Map<String, Tensor> parameters() {
        Map<String, Tensor> all = new LinkedHashMap<>();
        Map<Tensor, Boolean> seen = new java.util.IdentityHashMap<>();
        walk((name, module) -> module.parameters.forEach((own, tensor) -> {
            if (seen.put(tensor, true) == null) {
                all.put(join(name, own), tensor);
            }
        }));
        return all;
    }

    /** All parameters that are trained, by full name. */
    public final Map<String, Tensor> trainable() {
        Map<String, Tensor> all = parameters();
        all.values().removeIf(t -> !t.tracked());
        return all;
    }

    /** All modules of a type at and below this one, by full name. */
    public final <M extends Module> Map<String, M> find(Class<M> type) {
        Map<String, M> found = new LinkedHashMap<>();
        walk((name, module) -> {
            if (type.isInstance(module)) {
                found.put(name, type.cast(module));
            }
        });
        return found;
    }

    /** Stops the training of every parameter at and below this module. */
    public final void freeze() {
        parameters().values().forEach(t -> t.trainable(false));
    }

    /** Trains every parameter at and below this module. */
    public final void unfreeze() {
        parameters().values().forEach(t -> t.trainable(true));
    }
}
