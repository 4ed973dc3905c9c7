package anneal.nn;

/** Is told of each layer of a model that is done: what a progress display needs to know of a task that takes minutes. */
@FunctionalInterface
public interface LayerWatch {
    /** Looks away. */
    LayerWatch NONE = (path, done, total) -> {};

    /** The layer of this path is done, so many of {@code total} with it. */
    void layer(String path, int done, int total);
}
