package anneal.kernels;

import java.lang.foreign.MemorySegment;

/**
 * Cuts element-wise and row-wise loops into tasks by size alone.
 *
 * <p>The body is called through an interface that has many implementations. That is wanted: no body is inlined here, so each is
 * compiled on its own with its own profile, and stays within what C2 inlines of the Vector API in one method.
 */
final class Chunks {
    /** Elements of a task: 128 kB an operand, long enough to pay for a thread. Divides 2^32. */
    static final int SIZE = 1 << 15;

    /** At most this many partial sums of rows are kept. */
    private static final int PARTS = 64;

    private Chunks() {}

    interface Body {
        /** Elements {@code at} to {@code at + n}. */
        void run(long at, int n);
    }

    interface Rows {
        /** Rows {@code from} to {@code to}. */
        void run(int from, int to);
    }

    interface Sums {
        /** Adds what rows {@code from} to {@code to} give to {@code sums}. */
        void run(int from, int to, float[] sums);
    }

    /** All n elements. */
    static void run(long n, Body body) {
        Parallel.run(
                Math.toIntExact((n + SIZE - 1) / SIZE),
                c -> body.run((long) c * SIZE, (int) Math.min(SIZE, n - (long) c * SIZE)));
    }

    /** All rows, several short ones to a task. */
    static void rows(int rows, int dim, Rows body) {
        int each = Math.max(1, SIZE / Math.max(1, dim));
        Parallel.run((rows + each - 1) / each, c -> body.run(c * each, Math.min(rows, (c + 1) * each)));
    }

    /** All rows, with {@code width} sums that are taken by parts of rows and then added in the order of the parts. */
    static double[] sums(int rows, int width, Sums body) {
        int each = Math.max(16, (rows + PARTS - 1) / PARTS), parts = (rows + each - 1) / each;
        float[][] partial = new float[parts][width];
        Parallel.run(parts, c -> body.run(c * each, Math.min(rows, (c + 1) * each), partial[c]));
        double[] total = new double[width];
        for (float[] part : partial) {
            for (int c = 0; c < width; c++) {
                total[c] += part[c];
            }
        }
        return total;
    }

    /** The part of n that is whole vectors. */
    static long whole(long n) {
        return n / VectorMath.L * VectorMath.L;
    }

    /** What is left of a buffer from element {@code at} on; null stays null. */
    static MemorySegment rest(MemorySegment s, long at) {
        return s == null ? null : s.asSlice(4 * at);
    }
}
