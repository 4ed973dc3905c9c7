package anneal.kernels;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicIntegerArray;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class ParallelTest {
    private final int threads = Parallel.threads();

    @AfterEach
    void restore() {
        Parallel.threads(threads);
    }

    @Test
    void everyTaskRunsOnceForAnyNumberOfThreads() {
        for (int t = 1; t <= 5; t++) {
            Parallel.threads(t);
            for (int n : new int[] {0, 1, 2, 3, 100}) {
                for (int repeat = 0; repeat < 200; repeat++) {
                    AtomicIntegerArray runs = new AtomicIntegerArray(n);
                    Parallel.run(n, runs::incrementAndGet);
                    for (int i = 0; i < n; i++) {
                        assertThat(runs.get(i)).as("task %d of %d", i, n).isEqualTo(1);
                    }
                }
            }
        }
    }

    @Test
    void noMoreThreadsThanAsked() throws InterruptedException {
        Parallel.threads(4);
        Parallel.run(8, i -> pause());
        Parallel.threads(2);
        var names = ConcurrentHashMap.newKeySet();
        for (int repeat = 0; repeat < 20; repeat++) {
            var seen = ConcurrentHashMap.newKeySet();
            Parallel.run(16, i -> {
                pause();
                seen.add(Thread.currentThread());
            });
            assertThat(seen.size()).isLessThanOrEqualTo(2);
            names.addAll(seen);
        }
        assertThat(names).as("threads that ever took part").hasSizeGreaterThan(1);
    }

    private static void pause() {
        try {
            Thread.sleep(1);
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    @Test
    void nestedRegionsRunOnTheThreadThatAsks() {
        Parallel.threads(2);
        AtomicInteger sum = new AtomicInteger();
        Parallel.run(8, i -> {
            Thread outer = Thread.currentThread();
            Parallel.run(8, j -> {
                assertThat(Thread.currentThread()).isSameAs(outer);
                sum.addAndGet(j);
            });
        });
        assertThat(sum).hasValue(8 * 28);
    }

    @Test
    void regionsOfSeveralThreadsDoNotMix() throws InterruptedException {
        Parallel.threads(2);
        int[] counts = new int[3];
        Thread[] callers = new Thread[3];
        for (int c = 0; c < callers.length; c++) {
            int me = c;
            callers[c] = Thread.ofPlatform().start(() -> {
                for (int repeat = 0; repeat < 500; repeat++) {
                    AtomicInteger runs = new AtomicInteger();
                    Parallel.run(7, i -> runs.incrementAndGet());
                    counts[me] += runs.get();
                }
            });
        }
        for (Thread caller : callers) {
            caller.join();
        }
        assertThat(counts).containsOnly(3500);
    }

    @Test
    void exceptionsComeBackAndThePoolLivesOn() {
        Parallel.threads(2);
        for (int bad : new int[] {0, 5, 9}) {
            assertThatThrownBy(() -> Parallel.run(10, i -> {
                        if (i == bad) {
                            throw new IllegalStateException("task " + i);
                        }
                    }))
                    .isInstanceOf(IllegalStateException.class)
                    .hasMessage("task " + bad);
        }
        assertThatThrownBy(() -> Parallel.run(4, i -> {
                    throw new AssertionError("all");
                }))
                .isInstanceOf(AssertionError.class);
        AtomicInteger runs = new AtomicInteger();
        Parallel.run(10, i -> runs.incrementAndGet());
        assertThat(runs).hasValue(10);
    }

    @Test
    void rejectsNoThreads() {
        assertThatThrownBy(() -> Parallel.threads(0))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("threads: 0 must be at least 1");
    }
}
