package anneal.kernels;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/**
 * Softmax, its logarithm and the cross entropy by row, and the tables of vectors.
 *
 * <p>A row of a vocabulary is read three times, but only the first time from memory: it stays in the second-level cache. The
 * first pass finds the maximum, the second leaves e^(x - max) in the row and sums it, the third makes the result of it, so each
 * exponential is taken once.
 */
final class VectorLosses {
    private static final VectorSpecies<Float> F = VectorMath.F;
    private static final int L = VectorMath.L;

    /** Elements that are summed in single precision before the sum goes into a double. */
    private static final int SINGLE = 1024;

    /** Tasks of {@link #embeddingGrad}. */
    private static final int BUCKETS = 16;

    private VectorLosses() {}

    private static FloatVector load(MemorySegment s, long i) {
        return VectorElementwise.load(s, i);
    }

    private static void store(FloatVector x, MemorySegment s, long i) {
        VectorElementwise.store(x, s, i);
    }

    private static float get(MemorySegment s, long i) {
        return s.getAtIndex(JAVA_FLOAT_UNALIGNED, i);
    }

    private static void set(MemorySegment s, long i, double x) {
        s.setAtIndex(JAVA_FLOAT_UNALIGNED, i, (float) x);
    }

    // ---------------------------------------------------------------- rows

    /** The largest of a row; NaN counts for nothing here and shows in the sum. */
    private static float max(MemorySegment x, long at, int dim) {
        FloatVector m0 = VectorMath.broadcast(Float.NEGATIVE_INFINITY), m1 = m0;
        int c = 0;
        for (; c <= dim - 2 * L; c += 2 * L) {
            FloatVector x0 = load(x, at + c), x1 = load(x, at + c + L);
            m0 = m0.blend(x0, x0.compare(VectorOperators.GT, m0));
            m1 = m1.blend(x1, x1.compare(VectorOperators.GT, m1));
        }
        float max = m0.blend(m1, m1.compare(VectorOperators.GT, m0)).reduceLanes(VectorOperators.MAX);
        for (; c < dim; c++) {
            max = get(x, at + c) > max ? get(x, at + c) : max;
        }
        return max;
    }

    /** Sum of e^(x - max); y may be x. */
    private static double exponentials(MemorySegment y, MemorySegment x, long at, int dim, float max) {
        double sum = 0;
        for (int c = 0; c < dim; c += SINGLE) {
            sum += exponentialPart(y, x, at + c, Math.min(SINGLE, dim - c), max);
        }
        return sum;
    }

    private static double exponentialPart(MemorySegment y, MemorySegment x, long at, int n, float max) {
        FloatVector sums = FloatVector.zero(F), top = VectorMath.broadcast(max);
        int c = 0;
        for (; c <= n - L; c += L) {
            FloatVector e = VectorMath.exp2(load(x, at + c).sub(top).mul(VectorMath.LOG2E));
            sums = sums.add(e);
            store(e, y, at + c);
        }
        double sum = VectorMath.sum(sums);
        for (; c < n; c++) {
            double e = Math.exp(get(x, at + c) - max);
            sum += e;
            set(y, at + c, e);
        }
        return sum;
    }

    /** The same sum for a row that must stay as it is. */
    private static double exponentialSum(MemorySegment x, long at, int dim, float max) {
        double sum = 0;
        for (int c = 0; c < dim; c += SINGLE) {
            sum += exponentialSumPart(x, at + c, Math.min(SINGLE, dim - c), max);
        }
        return sum;
    }

    private static double exponentialSumPart(MemorySegment x, long at, int n, float max) {
        FloatVector sums = FloatVector.zero(F), top = VectorMath.broadcast(max);
        int c = 0;
        for (; c <= n - L; c += L) {
            sums = sums.add(VectorMath.exp2(load(x, at + c).sub(top).mul(VectorMath.LOG2E)));
        }
        double sum = VectorMath.sum(sums);
        for (; c < n; c++) {
            sum += Math.exp(get(x, at + c) - max);
        }
        return sum;
    }

    /** y = scale x + shift for one row. */
    private static void line(MemorySegment y, MemorySegment x, long at, int dim, float scale, float shift) {
        FloatVector a = VectorMath.broadcast(scale), b = VectorMath.broadcast(shift);
        int c = 0;
        for (; c <= dim - L; c += L) {
            store(load(x, at + c).fma(a, b), y, at + c);
        }
        for (; c < dim; c++) {
            set(y, at + c, Math.fma(get(x, at + c), scale, shift));
        }
    }

    static void softmax(MemorySegment y, MemorySegment x, int rows, int dim) {
        Chunks.rows(rows, dim, (from, to) -> {
            for (int i = from; i < to; i++) {
                long at = (long) i * dim;
                double sum = exponentials(y, x, at, dim, max(x, at, dim));
                line(y, y, at, dim, (float) (1 / sum), 0);
            }
        });
    }

    static void softmaxGrad(MemorySegment dx, MemorySegment dy, MemorySegment y, int rows, int dim) {
        Chunks.rows(rows, dim, (from, to) -> {
            for (int i = from; i < to; i++) {
                long at = (long) i * dim;
                softmaxGradRow(dx, dy, y, at, dim, Panels.dot(dy, at, y, at, dim));
            }
        });
    }

    private static void softmaxGradRow(
            MemorySegment dx, MemorySegment dy, MemorySegment y, long at, int dim, float sum) {
        int c = 0;
        for (; c <= dim - L; c += L) {
            FloatVector g = load(dy, at + c).sub(sum);
            store(load(y, at + c).fma(g, load(dx, at + c)), dx, at + c);
        }
        for (; c < dim; c++) {
            set(dx, at + c, get(dx, at + c) + get(y, at + c) * (get(dy, at + c) - sum));
        }
    }

    static void logSoftmax(MemorySegment y, MemorySegment x, int rows, int dim) {
        Chunks.rows(rows, dim, (from, to) -> {
            for (int i = from; i < to; i++) {
                long at = (long) i * dim;
                float max = max(x, at, dim);
                line(y, x, at, dim, 1, (float) -(max + Math.log(exponentialSum(x, at, dim, max))));
            }
        });
    }

    static void logSoftmaxGrad(MemorySegment dx, MemorySegment dy, MemorySegment y, int rows, int dim) {
        Chunks.rows(rows, dim, (from, to) -> {
            for (int i = from; i < to; i++) {
                long at = (long) i * dim;
                double sum = 0;
                for (int c = 0; c < dim; c += SINGLE) {
                    sum += sum(dy, at + c, Math.min(SINGLE, dim - c));
                }
                logSoftmaxGradRow(dx, dy, y, at, dim, (float) sum);
            }
        });
    }

    private static double sum(MemorySegment x, long at, int n) {
        FloatVector sums = FloatVector.zero(F);
        int c = 0;
        for (; c <= n - L; c += L) {
            sums = sums.add(load(x, at + c));
        }
        double sum = VectorMath.sum(sums);
        for (; c < n; c++) {
            sum += get(x, at + c);
        }
        return sum;
    }

    private static void logSoftmaxGradRow(
            MemorySegment dx, MemorySegment dy, MemorySegment y, long at, int dim, float sum) {
        int c = 0;
        for (; c <= dim - L; c += L) {
            FloatVector p = VectorMath.exp2(load(y, at + c).mul(VectorMath.LOG2E));
            FloatVector g = load(dy, at + c).sub(p.mul(sum));
            store(load(dx, at + c).add(g), dx, at + c);
        }
        for (; c < dim; c++) {
            set(dx, at + c, get(dx, at + c) + get(dy, at + c) - Math.exp(get(y, at + c)) * sum);
        }
    }

    // ---------------------------------------------------------------- cross entropy

    static void crossEntropy(MemorySegment nll, MemorySegment logits, int[] targets, int at, Kernels.CrossEntropy s) {
        Chunks.rows(s.rows(), s.dim(), (from, to) -> {
            for (int i = from; i < to; i++) {
                crossEntropyRow(nll, i, logits, targets[at + i], s);
            }
        });
    }

    private static void crossEntropyRow(
            MemorySegment nll, int row, MemorySegment logits, int target, Kernels.CrossEntropy s) {
        int dim = s.dim();
        long at = (long) row * dim;
        if (target < 0) {
            set(nll, row, 0);
            if (s.grad()) {
                logits.asSlice(4 * at, 4L * dim).fill((byte) 0);
            }
            return;
        }
        double e = s.smoothing(), x = get(logits, at + target), mean = 0;
        for (int c = 0; e > 0 && c < dim; c += SINGLE) {
            mean += sum(logits, at + c, Math.min(SINGLE, dim - c)) / dim;
        }
        float max = max(logits, at, dim);
        double sum = s.grad() ? exponentials(logits, logits, at, dim, max) : exponentialSum(logits, at, dim, max);
        double lse = max + Math.log(sum);
        set(nll, row, (1 - e) * (lse - x) + (e > 0 ? e * (lse - mean) : 0) + s.zLoss() * lse * lse);
        if (s.grad()) {
            double scale = 1 + 2 * s.zLoss() * lse;
            line(logits, logits, at, dim, (float) (scale / sum), (float) (-e / dim));
            set(logits, at + target, get(logits, at + target) - (1 - e));
        }
    }

    // ---------------------------------------------------------------- tables

    static void embedding(MemorySegment y, Matrix table, int[] ids) {
        int dim = table.cols();
        Chunks.rows(ids.length, dim, (from, to) -> {
            float[] row = new float[dim];
            for (int i = from; i < to; i++) {
                table.widen(ids[i], 0, dim, row, 0);
                MemorySegment.copy(row, 0, y, JAVA_FLOAT_UNALIGNED, 4L * i * dim, dim);
            }
        });
    }

    /** Rows go to tasks by their number modulo {@link #BUCKETS}, so that equal rows meet in one task, in the order of i. */
    static void embeddingGrad(MemorySegment dtable, MemorySegment dy, int[] ids, int dim) {
        int buckets = (long) ids.length * dim < Chunks.SIZE ? 1 : BUCKETS;
        Parallel.run(buckets, bucket -> {
            for (int i = 0; i < ids.length; i++) {
                if (ids[i] % buckets == bucket) {
                    addRow(dtable, (long) ids[i] * dim, dy, (long) i * dim, dim);
                }
            }
        });
    }

    private static void addRow(MemorySegment y, long yt, MemorySegment x, long xt, int dim) {
        int c = 0;
        for (; c <= dim - L; c += L) {
            store(load(y, yt + c).add(load(x, xt + c)), y, yt + c);
        }
        for (; c < dim; c++) {
            set(y, yt + c, get(y, yt + c) + get(x, xt + c));
        }
    }
}
