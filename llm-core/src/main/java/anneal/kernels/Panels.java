package anneal.kernels;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;

import java.lang.foreign.MemorySegment;
import java.nio.ByteOrder;
import java.util.Arrays;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorSpecies;

/**
 * Small matrices as panels of 64 columns on the heap, and the two register-tiled products that tiled attention is made of.
 *
 * <p>A panel [rows, 64] is a run of rows that are 64 floats apart; a matrix of more columns is several panels, 4096 floats
 * apart. One constant row distance for every operand lets the compiler fold all row addresses into one index and check its
 * bounds once, so no operand needs an interleaved copy. Results are 4 rows by 2 vectors: 8 sums, 2 right-hand vectors and the
 * broadcast values stay in 16 registers (6 by 2 spills a sum to memory, which halves the speed).
 */
final class Panels {
    private static final VectorSpecies<Float> F = VectorMath.F;
    private static final int L = F.length();
    private static final ByteOrder NATIVE = ByteOrder.nativeOrder();

    /** Columns of a panel, and the rows of a full one. */
    static final int WIDTH = 64;

    /** Floats of a full panel. */
    static final int SIZE = WIDTH * WIDTH;

    /** Columns of one register tile. */
    static final int STEP = 2 * L;

    private static final int W = WIDTH;

    private Panels() {}

    /** Panels that hold {@code cols} columns. */
    static int count(int cols) {
        return (cols + W - 1) / W;
    }

    /** Columns of panel p when the matrix has {@code cols}. */
    static int width(int cols, int p) {
        return Math.min(W, cols - p * W);
    }

    /** n rounded up to whole register tiles. */
    static int padded(int n) {
        return (n + STEP - 1) / STEP * STEP;
    }

    /** c[4, STEP] = (or +=) a[4, n] b[n, STEP]: both summed over the columns of a. */
    static void rows(float[] a, int at, float[] b, int bt, int n, float[] c, int ct, boolean add) {
        FloatVector c00, c01, c10, c11, c20, c21, c30, c31;
        if (add) {
            c00 = FloatVector.fromArray(F, c, ct);
            c01 = FloatVector.fromArray(F, c, ct + L);
            c10 = FloatVector.fromArray(F, c, ct + W);
            c11 = FloatVector.fromArray(F, c, ct + W + L);
            c20 = FloatVector.fromArray(F, c, ct + 2 * W);
            c21 = FloatVector.fromArray(F, c, ct + 2 * W + L);
            c30 = FloatVector.fromArray(F, c, ct + 3 * W);
            c31 = FloatVector.fromArray(F, c, ct + 3 * W + L);
        } else {
            c00 = c01 = c10 = c11 = c20 = c21 = c30 = c31 = FloatVector.zero(F);
        }
        for (int p = 0; p < n; p++) {
            FloatVector b0 = FloatVector.fromArray(F, b, bt + p * W);
            FloatVector b1 = FloatVector.fromArray(F, b, bt + p * W + L);
            FloatVector x0 = FloatVector.broadcast(F, a[at + p]);
            c00 = x0.fma(b0, c00);
            c01 = x0.fma(b1, c01);
            FloatVector x1 = FloatVector.broadcast(F, a[at + p + W]);
            c10 = x1.fma(b0, c10);
            c11 = x1.fma(b1, c11);
            FloatVector x2 = FloatVector.broadcast(F, a[at + p + 2 * W]);
            c20 = x2.fma(b0, c20);
            c21 = x2.fma(b1, c21);
            FloatVector x3 = FloatVector.broadcast(F, a[at + p + 3 * W]);
            c30 = x3.fma(b0, c30);
            c31 = x3.fma(b1, c31);
        }
        c00.intoArray(c, ct);
        c01.intoArray(c, ct + L);
        c10.intoArray(c, ct + W);
        c11.intoArray(c, ct + W + L);
        c20.intoArray(c, ct + 2 * W);
        c21.intoArray(c, ct + 2 * W + L);
        c30.intoArray(c, ct + 3 * W);
        c31.intoArray(c, ct + 3 * W + L);
    }

    /** c[4, STEP] += aT b, a [n, 4], b [n, STEP]: both summed over the rows of a. */
    static void cols(float[] a, int at, float[] b, int bt, int n, float[] c, int ct) {
        FloatVector c00 = FloatVector.fromArray(F, c, ct);
        FloatVector c01 = FloatVector.fromArray(F, c, ct + L);
        FloatVector c10 = FloatVector.fromArray(F, c, ct + W);
        FloatVector c11 = FloatVector.fromArray(F, c, ct + W + L);
        FloatVector c20 = FloatVector.fromArray(F, c, ct + 2 * W);
        FloatVector c21 = FloatVector.fromArray(F, c, ct + 2 * W + L);
        FloatVector c30 = FloatVector.fromArray(F, c, ct + 3 * W);
        FloatVector c31 = FloatVector.fromArray(F, c, ct + 3 * W + L);
        for (int p = 0; p < n; p++) {
            FloatVector b0 = FloatVector.fromArray(F, b, bt + p * W);
            FloatVector b1 = FloatVector.fromArray(F, b, bt + p * W + L);
            FloatVector x0 = FloatVector.broadcast(F, a[at + p * W]);
            c00 = x0.fma(b0, c00);
            c01 = x0.fma(b1, c01);
            FloatVector x1 = FloatVector.broadcast(F, a[at + p * W + 1]);
            c10 = x1.fma(b0, c10);
            c11 = x1.fma(b1, c11);
            FloatVector x2 = FloatVector.broadcast(F, a[at + p * W + 2]);
            c20 = x2.fma(b0, c20);
            c21 = x2.fma(b1, c21);
            FloatVector x3 = FloatVector.broadcast(F, a[at + p * W + 3]);
            c30 = x3.fma(b0, c30);
            c31 = x3.fma(b1, c31);
        }
        c00.intoArray(c, ct);
        c01.intoArray(c, ct + L);
        c10.intoArray(c, ct + W);
        c11.intoArray(c, ct + W + L);
        c20.intoArray(c, ct + 2 * W);
        c21.intoArray(c, ct + 2 * W + L);
        c30.intoArray(c, ct + 3 * W);
        c31.intoArray(c, ct + 3 * W + L);
    }

    /**
     * Copies {@code rows} rows of {@code dim} floats, {@code stride} floats apart from float {@code at} of {@code src}, into
     * panels. Columns up to whole register tiles and rows up to {@code fill} become zero.
     */
    static void load(MemorySegment src, long at, long stride, int rows, int dim, float[] dst, int to, int fill) {
        for (int p = 0; p < count(dim); p++) {
            int width = width(dim, p), full = width / L * L;
            for (int r = 0; r < rows; r++) {
                long from = 4 * (at + r * stride + (long) p * W);
                int row = to + p * SIZE + r * W;
                for (int c = 0; c < full; c += L) {
                    FloatVector.fromMemorySegment(F, src, from + 4L * c, NATIVE).intoArray(dst, row + c);
                }
                if (width % STEP != 0) {
                    MemorySegment.copy(src, JAVA_FLOAT_UNALIGNED, from + 4L * full, dst, row + full, width - full);
                    Arrays.fill(dst, row + width, row + padded(width), 0f);
                }
            }
            Arrays.fill(dst, to + p * SIZE + rows * W, to + p * SIZE + fill * W, 0f);
        }
    }

    /** dst += alpha src, for rows of panels onto rows of native memory; the reverse of {@link #load}. */
    static void addTo(MemorySegment dst, long at, long stride, int rows, int dim, float[] src, int from, float alpha) {
        for (int p = 0; p < count(dim); p++) {
            int width = width(dim, p), full = width / L * L;
            for (int r = 0; r < rows; r++) {
                long to = at + r * stride + (long) p * W;
                int row = from + p * SIZE + r * W;
                for (int c = 0; c < full; c += L) {
                    FloatVector.fromArray(F, src, row + c)
                            .mul(alpha)
                            .add(FloatVector.fromMemorySegment(F, dst, 4 * (to + c), NATIVE))
                            .intoMemorySegment(dst, 4 * (to + c), NATIVE);
                }
                for (int c = full; c < width; c++) {
                    float old = dst.getAtIndex(JAVA_FLOAT_UNALIGNED, to + c);
                    dst.setAtIndex(JAVA_FLOAT_UNALIGNED, to + c, alpha * src[row + c] + old);
                }
            }
        }
    }

    /** Inner product of n floats from {@code at} of a and {@code bt} of b. */
    static float dot(MemorySegment a, long at, MemorySegment b, long bt, int n) {
        FloatVector sum0 = FloatVector.zero(F), sum1 = sum0;
        int c = 0;
        for (; c <= n - STEP; c += STEP) {
            sum0 = FloatVector.fromMemorySegment(F, a, 4 * (at + c), NATIVE)
                    .fma(FloatVector.fromMemorySegment(F, b, 4 * (bt + c), NATIVE), sum0);
            sum1 = FloatVector.fromMemorySegment(F, a, 4 * (at + c + L), NATIVE)
                    .fma(FloatVector.fromMemorySegment(F, b, 4 * (bt + c + L), NATIVE), sum1);
        }
        float sum = VectorMath.sum(sum0.add(sum1));
        for (; c < n; c++) {
            sum = Math.fma(a.getAtIndex(JAVA_FLOAT_UNALIGNED, at + c), b.getAtIndex(JAVA_FLOAT_UNALIGNED, bt + c), sum);
        }
        return sum;
    }

    /** dst[c, r] = alpha src[r, c] for one panel: {@code cols} columns, all 64 rows. */
    static void transpose(float[] src, int from, int cols, float alpha, float[] dst, int to) {
        for (int c = 0; c < cols; c++) {
            for (int r = 0; r < W; r++) {
                dst[to + c * W + r] = alpha * src[from + r * W + c];
            }
        }
    }
}
