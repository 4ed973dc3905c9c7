package anneal.kernels;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.bytedeco.javacpp.FloatPointer;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;

/**
 * The three products through ND4J's gemm, on our memory.
 *
 * <p>BLAS thinks in columns: a row-major [m, k] buffer is a column-major [k, m] matrix. So y = x wT is computed as
 * yT = w xT, and nothing is copied or transposed. ND4J's {@code mmul} would return a new column-major array; {@code gemm}
 * writes into ours.
 */
final class Nd4jGemm {
    /** Widening a weight that is not f32 is done by so many floats at a time. */
    private static final int SCRATCH = 1 << 22;

    /** A pointer to memory that somebody else owns. */
    private static final class Borrowed extends FloatPointer {
        Borrowed(MemorySegment s, long count) {
            super((org.bytedeco.javacpp.Pointer) null);
            address = s.address();
            limit = capacity = count;
        }
    }

    void matmulT(MemorySegment y, MemorySegment x, Matrix w, int m, float alpha, boolean add) {
        if (w instanceof TransposedMatrix t) {
            matmul(y, x, t.stored(), m, alpha, add);
            return;
        }
        int n = w.rows(), k = w.cols();
        if (nothing(y, (long) m * n, k, add)) {
            return;
        }
        INDArray xKM = columns(x, k, m, k);
        eachPart(w, (from, count, part) -> {
            INDArray yNM = columns(y.asSlice(4L * from), count, m, n);
            Nd4j.gemm(columns(part, k, count, k), xKM, yNM, true, false, alpha, add ? 1 : 0);
        });
    }

    void matmul(MemorySegment y, MemorySegment x, Matrix w, int m, float alpha, boolean add) {
        if (w instanceof TransposedMatrix t) {
            matmulT(y, x, t.stored(), m, alpha, add);
            return;
        }
        int n = w.rows(), k = w.cols();
        if (nothing(y, (long) m * k, n, add)) {
            return;
        }
        INDArray yKM = columns(y, k, m, k);
        eachPart(w, (from, count, part) -> {
            INDArray xNM = columns(x.asSlice(4L * from), count, m, n);
            Nd4j.gemm(columns(part, k, count, k), xNM, yKM, false, false, alpha, add || from > 0 ? 1 : 0);
        });
    }

    void matmulTN(MemorySegment y, MemorySegment a, MemorySegment b, int n, int k, int m, float alpha, boolean add) {
        if (!nothing(y, (long) n * k, m, add)) {
            Nd4j.gemm(columns(b, k, m, k), columns(a, n, m, n), columns(y, k, n, k), false, true, alpha, add ? 1 : 0);
        }
    }

    /** One small product by both: a BLAS that is set up wrongly is found at the start, not in a loss curve. */
    void checkAgainst(Kernels other) {
        int m = 7, n = 19, k = 33;
        try (Arena arena = Arena.ofShared()) {
            MemorySegment x = arena.allocate(JAVA_FLOAT, m * k), w = arena.allocate(JAVA_FLOAT, n * k);
            MemorySegment ours = arena.allocate(JAVA_FLOAT, m * n), theirs = arena.allocate(JAVA_FLOAT, m * n);
            for (int i = 0; i < m * k; i++) {
                x.setAtIndex(JAVA_FLOAT, i, Noise.bits(1, i) * 0x1p-31f);
            }
            for (int i = 0; i < n * k; i++) {
                w.setAtIndex(JAVA_FLOAT, i, Noise.bits(2, i) * 0x1p-31f);
            }
            Matrix matrix = new F32Matrix(w, n, k);
            other.matmulT(ours, x, matrix, m, 1, false);
            matmulT(theirs, x, matrix, m, 1, false);
            for (int i = 0; i < m * n; i++) {
                float a = ours.getAtIndex(JAVA_FLOAT, i), b = theirs.getAtIndex(JAVA_FLOAT, i);
                if (!(Math.abs(a - b) <= 1e-4f)) {
                    throw new IllegalStateException("ND4J's gemm gives " + b + " where " + other.name() + " gives " + a
                            + ": its native library does not fit this machine, use -Danneal.kernels=" + other.name());
                }
            }
        }
    }

    /** True if a size is 0: then there is nothing to multiply, and y is zeroed unless it is added to. */
    private static boolean nothing(MemorySegment y, long results, int inner, boolean add) {
        if (results > 0 && inner == 0 && !add) {
            y.asSlice(0, 4 * results).fill((byte) 0);
        }
        return results == 0 || inner == 0;
    }

    private interface Part {
        void accept(int from, int count, MemorySegment floats);
    }

    /** Walks over w as f32 by groups of rows: the whole matrix in place if it is f32, else through one widened buffer. */
    private static void eachPart(Matrix w, Part use) {
        if (w instanceof F32Matrix f32) {
            use.accept(0, w.rows(), f32.data());
            return;
        }
        int k = w.cols(), rows = Math.clamp(SCRATCH / k, 1, w.rows());
        try (Arena arena = Arena.ofShared()) {
            MemorySegment floats = arena.allocate(4L * rows * k, 64);
            for (int from = 0; from < w.rows(); from += rows) {
                int start = from, count = Math.min(rows, w.rows() - from);
                Parallel.run(count, j -> {
                    float[] row = new float[k];
                    w.widen(start + j, 0, k, row, 0);
                    MemorySegment.copy(row, 0, floats, JAVA_FLOAT, 4L * j * k, k);
                });
                use.accept(from, count, floats);
            }
        }
    }

    /** The column-major matrix [rows, cols] at the start of s, columns {@code apart} floats apart. */
    private static INDArray columns(MemorySegment s, long rows, long cols, long apart) {
        long length = (cols - 1) * apart + rows;
        var buffer = Nd4j.createBuffer(new Borrowed(s, length), length, DataType.FLOAT);
        return Nd4j.create(buffer, new long[] {rows, cols}, new long[] {1, apart}, 0, 'f', DataType.FLOAT);
    }
}
