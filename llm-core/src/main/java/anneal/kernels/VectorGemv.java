package anneal.kernels;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorSpecies;

/**
 * Products with few rows, as in decoding: what counts is that each weight is read from memory once, in its stored form.
 *
 * <p>Threads take ranges of the weight's rows (or columns), cut by its size.
 */
final class VectorGemv {
    /** Up to so many rows are done here, more by {@link VectorGemm}. */
    static final int ROWS = 8;

    private static final VectorSpecies<Float> SPECIES = VectorMath.F;
    private static final int LANES = SPECIES.length();
    /** Weights that are worth a task. */
    private static final int GRAIN = 1 << 15;

    private VectorGemv() {}

    static void matmulT(MemorySegment y, MemorySegment x, Matrix w, int m, float alpha, boolean add) {
        int n = w.rows(), k = w.cols();
        float[] left = VectorScratch.mine().shared(m * k + k / 32 + 1);
        MemorySegment.copy(x, JAVA_FLOAT, 0, left, 0, m * k);
        boolean direct = m == 1 && VectorDot.reads(w);
        float[] sums = direct ? new float[k / 32 + 1] : null;
        if (direct) {
            VectorDot.sums(left, k, sums);
        }
        int rows = rowsOfTask(n, k);
        Parallel.run(VectorGemm.ceil(n, rows), t -> {
            int from = t * rows, to = Math.min(n, from + rows);
            float[] out = VectorScratch.mine().strips(m * rows);
            if (direct) {
                VectorDot.rows(w, from, to, left, sums, out);
            } else {
                widened(w, from, to, left, m, out);
            }
            put(y, n, from, out, to - from, m, alpha, add);
        });
    }

    /** How many rows of a matrix [n, k] are worth a task. */
    static int rowsOfTask(int n, int k) {
        return Math.clamp(GRAIN / Math.max(1, k), 1, Math.max(1, n));
    }

    /** Rows [from, to) of w, each widened once, times the m rows of x; out [m, to - from]. */
    private static void widened(Matrix w, int from, int to, float[] x, int m, float[] out) {
        int k = w.cols();
        float[] row = VectorScratch.mine().piece(k);
        for (int j = from; j < to; j++) {
            VectorWiden.row(w, j, 0, k, row, 0);
            int i = 0;
            for (; i <= m - 4; i += 4) {
                dot4(row, x, i * k, k, out, i * (to - from) + j - from, to - from);
            }
            for (; i < m; i++) {
                out[i * (to - from) + j - from] = dot(row, x, i * k, k);
            }
        }
    }

    private static float dot(float[] row, float[] x, int at, int k) {
        FloatVector s0 = FloatVector.zero(SPECIES), s1 = s0;
        int i = 0;
        for (; i <= k - 2 * LANES; i += 2 * LANES) {
            s0 = vector(row, i).fma(vector(x, at + i), s0);
            s1 = vector(row, i + LANES).fma(vector(x, at + i + LANES), s1);
        }
        float sum = VectorMath.sum(s0.add(s1));
        for (; i < k; i++) {
            sum += row[i] * x[at + i];
        }
        return sum;
    }

    /** Four inner products that share the loads of the row; two sums each, to keep the multiply-adds from waiting. */
    private static void dot4(float[] row, float[] x, int at, int k, float[] out, int to, int apart) {
        FloatVector s0 = FloatVector.zero(SPECIES), s1 = s0, s2 = s0, s3 = s0, t0 = s0, t1 = s0, t2 = s0, t3 = s0;
        int i = 0;
        for (; i <= k - 2 * LANES; i += 2 * LANES) {
            FloatVector v = vector(row, i), w = vector(row, i + LANES);
            s0 = v.fma(vector(x, at + i), s0);
            s1 = v.fma(vector(x, at + k + i), s1);
            s2 = v.fma(vector(x, at + 2 * k + i), s2);
            s3 = v.fma(vector(x, at + 3 * k + i), s3);
            t0 = w.fma(vector(x, at + i + LANES), t0);
            t1 = w.fma(vector(x, at + k + i + LANES), t1);
            t2 = w.fma(vector(x, at + 2 * k + i + LANES), t2);
            t3 = w.fma(vector(x, at + 3 * k + i + LANES), t3);
        }
        float r0 = VectorMath.sum(s0.add(t0)), r1 = VectorMath.sum(s1.add(t1));
        float r2 = VectorMath.sum(s2.add(t2)), r3 = VectorMath.sum(s3.add(t3));
        for (; i < k; i++) {
            r0 += row[i] * x[at + i];
            r1 += row[i] * x[at + k + i];
            r2 += row[i] * x[at + 2 * k + i];
            r3 += row[i] * x[at + 3 * k + i];
        }
        out[to] = r0;
        out[to + apart] = r1;
        out[to + 2 * apart] = r2;
        out[to + 3 * apart] = r3;
    }

    /** y[m, K] = alpha x[m, N] w (+ y): tasks take columns, each of which sums the rows of w in their order. */
    static void matmul(MemorySegment y, MemorySegment x, Matrix w, int m, float alpha, boolean add) {
        int n = w.rows(), k = w.cols();
        float[] left = VectorScratch.mine().shared(m * n);
        MemorySegment.copy(x, JAVA_FLOAT, 0, left, 0, m * n);
        int cols = VectorGemm.roundUp(Math.clamp(GRAIN / Math.max(1, n), 128, 1024), Math.max(64, w.block()));
        Parallel.run(VectorGemm.ceil(k, cols), t -> {
            int col = t * cols, count = Math.min(cols, k - col);
            float[] rows = VectorScratch.mine().piece(4 * count),
                    out = VectorScratch.mine().strips(m * count);
            Arrays.fill(out, 0, m * count, 0);
            for (int j = 0; j < n; j += 4) {
                int some = Math.min(4, n - j);
                for (int r = 0; r < some; r++) {
                    VectorWiden.row(w, j + r, col, count, rows, r * count);
                }
                for (int i = 0; i < m; i++) {
                    if (some == 4) {
                        axpy4(out, i * count, left, i * n + j, rows, count);
                    } else {
                        axpy(out, i * count, left, i * n + j, rows, count, some);
                    }
                }
            }
            put(y, k, col, out, count, m, alpha, add);
        });
    }

    /** y += a[0] x[0] + .. + a[3] x[3], four rows of x at once so that y is read and written once for them. */
    private static void axpy4(float[] y, int at, float[] a, int from, float[] x, int count) {
        FloatVector a0 = FloatVector.broadcast(SPECIES, a[from]), a1 = FloatVector.broadcast(SPECIES, a[from + 1]);
        FloatVector a2 = FloatVector.broadcast(SPECIES, a[from + 2]), a3 = FloatVector.broadcast(SPECIES, a[from + 3]);
        int i = 0;
        for (; i <= count - LANES; i += LANES) {
            FloatVector sum = a0.fma(vector(x, i), vector(y, at + i));
            sum = a1.fma(vector(x, count + i), sum);
            sum = a2.fma(vector(x, 2 * count + i), sum);
            a3.fma(vector(x, 3 * count + i), sum).intoArray(y, at + i);
        }
        for (; i < count; i++) {
            float sum = y[at + i] + a[from] * x[i] + a[from + 1] * x[count + i];
            y[at + i] = sum + a[from + 2] * x[2 * count + i] + a[from + 3] * x[3 * count + i];
        }
    }

    private static void axpy(float[] y, int at, float[] a, int from, float[] x, int count, int rows) {
        for (int r = 0; r < rows; r++) {
            for (int i = 0; i < count; i++) {
                y[at + i] += a[from + r] * x[r * count + i];
            }
        }
    }

    private static FloatVector vector(float[] a, int i) {
        return FloatVector.fromArray(SPECIES, a, i);
    }

    /** y[i, col + j] = alpha sums[i, j] (+ y) for [m, count] sums and y of rows {@code width} apart. */
    private static void put(
            MemorySegment y, int width, int col, float[] sums, int count, int m, float alpha, boolean add) {
        for (int i = 0; i < m; i++) {
            for (int j = 0; j < count; j++) {
                long to = (long) i * width + col + j;
                float v = alpha * sums[i * count + j];
                y.setAtIndex(JAVA_FLOAT, to, add ? v + y.getAtIndex(JAVA_FLOAT, to) : v);
            }
        }
    }
}
