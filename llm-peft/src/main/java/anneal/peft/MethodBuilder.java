package anneal.peft;

import anneal.nn.Module;
import java.util.List;

/**
 * Collects what every method at named layers has: which layers, and the base model's name.
 *
 * @param <B> the builder itself
 */
public abstract class MethodBuilder<B extends MethodBuilder<B>> {
    private List<String> names = List.of();
    private String regex;
    private List<String> exclude = List.of();
    private List<Integer> layers = List.of();
    private String baseModel;

    MethodBuilder() {}

    abstract B self();

    /** The options, checked. */
    public abstract Method build();

    /** Targets by name, or "all-linear". */
    public final B on(String... layerNames) {
        names = List.of(layerNames);
        return self();
    }

    /** Targets by a regular expression for the whole path. */
    public final B onMatching(String pathRegex) {
        regex = pathRegex;
        return self();
    }

    /** Modules that stay as they are although they fit. */
    public final B except(String... layerNames) {
        exclude = List.of(layerNames);
        return self();
    }

    /** Only blocks with these numbers. */
    public final B layers(Integer... numbers) {
        layers = List.of(numbers);
        return self();
    }

    /** Name or path of the base model, for the readers of the file. */
    public final B baseModel(String name) {
        baseModel = name;
        return self();
    }

    final String baseModel() {
        return baseModel;
    }

    final Targets targets() {
        return new Targets(names, regex, exclude, layers, List.of());
    }

    /** {@link #build}, then {@link Method#attach(Module)}. */
    public final Adapters attach(Module root) {
        return build().attach(root);
    }

    /** {@link #build}, then {@link Method#attach(Module, long)}. */
    public final Adapters attach(Module root, long seed) {
        return build().attach(root, seed);
    }
}
