package anneal.kernels;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;
import java.util.function.IntConsumer;

/**
 * The one thread pool. A piece of work is cut into tasks by its size, never by the number of threads where that would change
 * the order of a sum, so results are the same bits whatever {@code -Danneal.threads} says.
 *
 * <p>A model is thousands of short parallel regions a second, so handing one out must cost about a microsecond: workers wait
 * for the next one by spinning for a moment before they park, and so does the caller for the last task of a worker. A region
 * that starts inside another one, or while another thread has one, runs on the thread that asked.
 */
public final class Parallel {
    /** Turns of a spinning wait, some tens of microseconds; none where threads have to share processors. */
    private static final int SPINS = 2_000;

    private static final AtomicBoolean BUSY = new AtomicBoolean();
    private static final List<Worker> WORKERS = new ArrayList<>();
    private static volatile Region current;
    private static volatile int threads = initialThreads();

    private Parallel() {}

    private static int initialThreads() {
        int n = Integer.getInteger("anneal.threads", Runtime.getRuntime().availableProcessors());
        return check(n);
    }

    private static int check(int n) {
        if (n < 1) {
            throw new IllegalArgumentException("threads: " + n + " must be at least 1");
        }
        return n;
    }

    /** Number of threads that work together, the caller included. */
    public static int threads() {
        return threads;
    }

    /** Sets the number of threads; changes no result. */
    public static void threads(int n) {
        threads = check(n);
    }

    /**
     * Runs tasks 0 .. n-1, each once, in any order and on any thread, and returns when all are done. If a task throws, tasks
     * that have not begun are left out and the first exception is thrown here.
     */
    public static void run(int n, IntConsumer task) {
        int helpers = Math.min(threads, n) - 1;
        if (helpers <= 0 || !BUSY.compareAndSet(false, true)) {
            for (int i = 0; i < n; i++) {
                task.accept(i);
            }
            return;
        }
        try {
            Region region = new Region(n, task, helpers);
            wake(region, helpers);
            region.work();
            region.await();
            region.rethrow();
        } finally {
            current = null;
            BUSY.set(false);
        }
    }

    /** Publishes a region; only the thread that holds BUSY comes here. */
    private static void wake(Region region, int helpers) {
        while (WORKERS.size() < helpers) {
            Worker worker = new Worker("anneal-" + (WORKERS.size() + 1));
            WORKERS.add(worker);
            worker.start();
        }
        current = region;
        for (int i = 0; i < helpers; i++) {
            Worker worker = WORKERS.get(i);
            if (worker.parked) {
                LockSupport.unpark(worker);
            }
        }
    }

    private static int spins() {
        return threads <= Runtime.getRuntime().availableProcessors() ? SPINS : 0;
    }

    /** One call of {@link #run}: tasks are taken from a counter, finished ones are counted. */
    private static final class Region {
        private final int tasks;
        private final IntConsumer task;
        private final Thread caller = Thread.currentThread();
        private final AtomicInteger places;
        private final AtomicInteger next = new AtomicInteger();
        private final AtomicInteger done = new AtomicInteger();
        private final AtomicReference<Throwable> failure = new AtomicReference<>();
        private volatile boolean callerParked;

        Region(int tasks, IntConsumer task, int helpers) {
            this.tasks = tasks;
            this.task = task;
            this.places = new AtomicInteger(helpers);
        }

        void help() {
            if (places.getAndDecrement() > 0) {
                work();
            }
        }

        void work() {
            for (int i = next.getAndIncrement(); i < tasks; i = next.getAndIncrement()) {
                try {
                    if (failure.get() == null) {
                        task.accept(i);
                    }
                } catch (Throwable e) {
                    failure.compareAndSet(null, e);
                } finally {
                    if (done.incrementAndGet() == tasks && callerParked) {
                        LockSupport.unpark(caller);
                    }
                }
            }
        }

        void await() {
            for (int spin = spins(); spin > 0 && done.get() < tasks; spin--) {
                Thread.onSpinWait();
            }
            callerParked = true;
            while (done.get() < tasks) {
                LockSupport.park(this);
            }
        }

        void rethrow() {
            switch (failure.get()) {
                case null -> {}
                case RuntimeException e -> throw e;
                case Error e -> throw e;
                case Throwable e -> throw new IllegalStateException(e);
            }
        }
    }

    private static final class Worker extends Thread {
        private volatile boolean parked;

        Worker(String name) {
            super(name);
            setDaemon(true);
        }

        @Override
        public void run() {
            Region last = null;
            while (true) {
                last = await(last);
                last.help();
            }
        }

        /** The next region after {@code last}. */
        private Region await(Region last) {
            for (int spin = spins(); spin > 0; spin--) {
                Region region = current;
                if (region == null) {
                    last = null; // what a finished region holds must not live on in a waiting worker
                } else if (region != last) {
                    return region;
                }
                Thread.onSpinWait();
            }
            // parked is set before current is read, and wake() writes current before it reads parked: no wake-up is
            // lost
            parked = true;
            Region region = current;
            while (region == null || region == last) {
                last = region == null ? null : last;
                LockSupport.park(this);
                region = current;
            }
            parked = false;
            return region;
        }
    }
}
