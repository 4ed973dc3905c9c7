package anneal.kernels;

import java.util.concurrent.ConcurrentLinkedDeque;
import java.util.function.Consumer;
import java.util.function.Supplier;

/**
 * Buffers that the tasks of one call hand on to one another, so that as many sets are made as there are threads and not as there
 * are tasks: fresh memory would have to be cleared and would push what is being worked on out of the cache.
 */
final class Workspaces<T> {
    private final ConcurrentLinkedDeque<T> idle = new ConcurrentLinkedDeque<>();
    private final Supplier<T> maker;

    Workspaces(Supplier<T> maker) {
        this.maker = maker;
    }

    /** Runs a task with a set of buffers that nobody else has meanwhile; what is in them is left over from another task. */
    void use(Consumer<T> task) {
        T space = idle.pollFirst();
        if (space == null) {
            space = maker.get();
        }
        task.accept(space);
        idle.addFirst(space);
    }
}
