package anneal.bench;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import anneal.kernels.Attention;
import anneal.kernels.F32Matrix;
import anneal.kernels.Kernels;
import anneal.kernels.Parallel;
import com.sun.management.ThreadMXBean;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.management.ManagementFactory;
import java.util.Random;

/**
 * How much memory causal attention needs beyond its inputs and outputs, and how long it takes, against the length T: the tiled
 * kernel beside the textbook's softmax(q kT) v with the whole matrix of scores.
 *
 * <p>The numbers behind the plot in the documentation. One thread, so that all of a call's memory is the calling thread's.
 */
public final class AttentionMemory {
    private static final ThreadMXBean THREADS = (ThreadMXBean) ManagementFactory.getThreadMXBean();

    private AttentionMemory() {}

    /** What one length costs: bytes beyond q, k, v and o, and seconds of a forward pass. */
    public record Point(int length, long tiledBytes, long plainBytes, double tiledSeconds, double plainSeconds) {}

    /** The plain way's memory is H T^2 floats and a few copies: choose T with that in mind. */
    public static Point measure(int heads, int length, int headDim) {
        int threads = Parallel.threads();
        Parallel.threads(1);
        try (Arena arena = Arena.ofShared()) {
            Kernels kernels = Kernels.get();
            long n = (long) length * heads * headDim;
            MemorySegment q = normal(arena, n, 1), k = normal(arena, n, 2), v = normal(arena, n, 3);
            MemorySegment o = arena.allocate(4 * n, 64), lse = arena.allocate(4L * heads * length, 64);
            Attention s = Attention.causal(1, length, heads, heads, headDim);
            warmUp(kernels, q, k, v, heads, headDim, Math.min(length, 128));
            long heap = allocated(), start = System.nanoTime();
            kernels.attention(o, lse, q, k, v, s);
            double tiledSeconds = (System.nanoTime() - start) / 1e9;
            long tiledBytes = allocated() - heap + 4L * heads * length;
            start = System.nanoTime();
            long plainBytes = plain(kernels, o, q, k, v, s);
            return new Point(length, tiledBytes, plainBytes, tiledSeconds, (System.nanoTime() - start) / 1e9);
        } finally {
            Parallel.threads(threads);
        }
    }

    /**
     * Short calls until they allocate no less any more: before the JIT has compiled a loop every vector in it is an object, and
     * that garbage is not what the algorithm needs.
     */
    private static void warmUp(
            Kernels kernels, MemorySegment q, MemorySegment k, MemorySegment v, int heads, int headDim, int length) {
        Attention s = Attention.causal(1, length, heads, heads, headDim);
        try (Arena arena = Arena.ofShared()) {
            MemorySegment o = arena.allocate(4L * length * heads * headDim, 64);
            MemorySegment lse = arena.allocate(4L * heads * length, 64);
            long least = Long.MAX_VALUE, end = System.nanoTime() + 60_000_000_000L;
            for (int same = 0; same < 200 && System.nanoTime() < end; ) {
                long before = allocated();
                kernels.attention(o, lse, q, k, v, s);
                long bytes = allocated() - before;
                same = bytes < least ? 0 : same + 1;
                least = Math.min(least, bytes);
            }
        }
    }

    private static long allocated() {
        return THREADS.getThreadAllocatedBytes(Thread.currentThread().threadId());
    }

    private static MemorySegment normal(Arena arena, long n, long seed) {
        Random random = new Random(seed);
        MemorySegment s = arena.allocate(4 * n, 64);
        for (long i = 0; i < n; i++) {
            s.setAtIndex(JAVA_FLOAT, i, (float) random.nextGaussian());
        }
        return s;
    }

    /** softmax(scale q kT + mask) v with all scores of all heads in memory; returns the bytes it took. */
    static long plain(
            Kernels kernels, MemorySegment o, MemorySegment q, MemorySegment k, MemorySegment v, Attention s) {
        int t = s.queryLen(), dim = s.headDim();
        try (Arena arena = Arena.ofShared()) {
            long matrix = (long) t * t, all = 4 * s.heads() * matrix, piece = 4L * t * dim;
            MemorySegment scores = arena.allocate(all, 64), out = arena.allocate(piece, 64);
            MemorySegment qh = arena.allocate(piece, 64),
                    kh = arena.allocate(piece, 64),
                    vh = arena.allocate(piece, 64);
            for (int h = 0; h < s.heads(); h++) {
                MemorySegment p = scores.asSlice(4 * h * matrix, 4 * matrix);
                head(qh, q, h, s, true);
                head(kh, k, h, s, true);
                head(vh, v, h, s, true);
                kernels.matmulT(p, qh, new F32Matrix(kh, t, dim), t, s.scale(), false);
                for (int i = 0; i < t; i++) {
                    for (int j = i + 1; j < t; j++) {
                        p.setAtIndex(JAVA_FLOAT, (long) i * t + j, Float.NEGATIVE_INFINITY);
                    }
                }
                kernels.softmax(p, p, t, t);
                kernels.matmul(out, p, new F32Matrix(vh, t, dim), t, 1, false);
                head(out, o, h, s, false);
            }
            return all + 4 * piece;
        }
    }

    /** Copies the rows of one head from [T, H, K] to [T, K], or back. */
    private static void head(MemorySegment one, MemorySegment all, int h, Attention s, boolean out) {
        long bytes = 4L * s.headDim();
        for (int i = 0; i < s.queryLen(); i++) {
            long at = ((long) i * s.heads() + h) * bytes;
            MemorySegment.copy(out ? all : one, out ? at : i * bytes, out ? one : all, out ? i * bytes : at, bytes);
        }
    }
}
