package anneal.kernels;

import java.util.concurrent.ForkJoinPool;
import java.util.concurrent.ForkJoinTask;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.IntConsumer;

/**
 * The one thread pool. A piece of work is cut into tasks by its size, never by the number of threads, so results are the
 * same bits whatever {@code -Danneal.threads} says.
 */
public final class Parallel {
    private static volatile int threads =
            Integer.getInteger("anneal.threads", Runtime.getRuntime().availableProcessors());
    private static final ForkJoinPool POOL =
            new ForkJoinPool(Math.max(1, Runtime.getRuntime().availableProcessors()));

    private Parallel() {}

    /** Number of threads that work together, the caller included. */
    public static int threads() {
        return threads;
    }

    /** Sets the number of threads; changes no result. */
    public static void threads(int n) {
        if (n < 1) {
            throw new IllegalArgumentException("threads: " + n + " must be at least 1");
        }
        threads = n;
    }

    /** Runs tasks 0 .. n-1, each once, in any order and on any thread, and returns when all are done. */
    public static void run(int n, IntConsumer task) {
        int workers = Math.min(threads, n);
        if (workers <= 1) {
            for (int i = 0; i < n; i++) {
                task.accept(i);
            }
            return;
        }
        AtomicInteger next = new AtomicInteger();
        Runnable loop = () -> {
            for (int i = next.getAndIncrement(); i < n; i = next.getAndIncrement()) {
                task.accept(i);
            }
        };
        ForkJoinTask<?>[] others = new ForkJoinTask<?>[workers - 1];
        for (int w = 0; w < others.length; w++) {
            others[w] = POOL.submit(loop);
        }
        try {
            loop.run();
        } finally {
            for (ForkJoinTask<?> other : others) {
                other.join();
            }
        }
    }
}
