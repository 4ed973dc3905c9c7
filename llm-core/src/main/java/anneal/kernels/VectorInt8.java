package anneal.kernels;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import java.lang.foreign.MemorySegment;

/**
 * Products of signed bytes by the product of floats, exactly: a sum of 1,024 products of two bytes is at most 2^24, and up to
 * there a float holds every whole number. Deeper products are cut into parts of that depth, whose sums are added as integers.
 */
final class VectorInt8 {
    private static final int DEPTH = 1024;

    /** Floats of one part of a result. */
    private static final int PART = 1 << 22;

    private VectorInt8() {}

    /**
     * Some columns of a matrix of signed bytes.
     *
     * @param width bytes from one row to the next
     * @param from the first column
     */
    private record Bytes(MemorySegment data, int rows, int cols, int width, int from) implements Matrix {
        @Override
        public void widen(int row, int col, int count, float[] dst, int at) {
            byte[] raw = VectorScratch.mine().raw(count);
            MemorySegment.copy(data, JAVA_BYTE, (long) row * width + from + col, raw, 0, count);
            for (int i = 0; i < count; i++) {
                dst[at + i] = raw[i];
            }
        }

        @Override
        public long bytes() {
            return (long) rows * cols;
        }
    }

    /** See {@link Kernels#matmulTInt8}. */
    static void matmulT(MemorySegment y, MemorySegment x, MemorySegment w, int m, int n, int k) {
        if (k == 0) {
            y.asSlice(0, 4L * m * n).fill((byte) 0);
        }
        int some = Math.clamp(PART / Math.max(1, n), 1, Math.max(1, m));
        for (int row = 0; row < m; row += some) {
            int rows = Math.min(some, m - row);
            MemorySegment part = y.asSlice(4L * row * n, 4L * rows * n);
            for (int from = 0; from < k; from += DEPTH) {
                int depth = Math.min(DEPTH, k - from);
                Bytes left = new Bytes(x.asSlice((long) row * k), rows, depth, k, from);
                addPart(part, left, new Bytes(w, n, depth, k, from), from > 0);
            }
        }
    }

    /** y = x wT, or y += x wT, of depth 1,024 at most. */
    private static void addPart(MemorySegment y, Bytes x, Bytes w, boolean add) {
        int m = x.rows, n = w.rows, k = x.cols;
        MemorySegment room = VectorScratch.mine().result(4L * m * (n + k));
        MemorySegment sums = room.asSlice(0, 4L * m * n), left = room.asSlice(4L * m * n, 4L * m * k);
        Chunks.rows(m, k, (from, to) -> {
            for (int i = from; i < to; i++) {
                float[] row = VectorScratch.mine().piece(k);
                x.widen(i, 0, k, row, 0);
                MemorySegment.copy(row, 0, left, JAVA_FLOAT, 4L * i * k, k);
            }
        });
        VectorGemm.matmulT(sums, left, w, m, 1, false);
        Chunks.run((long) m * n, (at, count) -> {
            for (long i = at; i < at + count; i++) {
                int sum = (int) sums.getAtIndex(JAVA_FLOAT, i);
                y.setAtIndex(JAVA_INT, i, add ? sum + y.getAtIndex(JAVA_INT, i) : sum);
            }
        });
    }
}
