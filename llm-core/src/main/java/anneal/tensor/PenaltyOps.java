package anneal.tensor;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import anneal.kernels.Parallel;
import java.lang.foreign.MemorySegment;

/**
 * Penalties on parameters: one number each, to be added to a loss. Sums are taken in double precision and in the same order for any
 * number of threads; they are no products that {@link Tape#compute} could make less precise.
 */
public final class PenaltyOps {
    /** Numbers that one task sums up. */
    private static final int CHUNK = 1 << 14;

    private PenaltyOps() {}

    /**
     * How far a parameter has moved, each direction by its own weight: the sum of weight (p - from)^2. Kirkpatrick et al.,
     * arXiv:1612.00796, equation 3, where the weight is the Fisher information.
     *
     * <p>Shapes: all equal -> [1]. Gradient: dp = 2 dy weight (p - from); {@code from} and {@code weight} get none.
     */
    public static Tensor drift(Tensor p, Tensor from, Tensor weight) {
        Shape.require(p.shape().equals(from.shape()), "drift", p, from, "shapes must be equal");
        Shape.require(p.shape().equals(weight.shape()), "drift", p, weight, "shapes must be equal");
        MemorySegment ps = p.buf(), fs = from.buf(), ws = weight.buf();
        double sum = sum(p.size(), i -> {
            double moved = (double) ps.getAtIndex(JAVA_FLOAT, i) - fs.getAtIndex(JAVA_FLOAT, i);
            return ws.getAtIndex(JAVA_FLOAT, i) * moved * moved;
        });
        Tensor y = Tensor.of(new float[] {(float) sum}, 1);
        return Tape.record(
                y,
                () -> {
                    double by = 2.0 * y.grad().item();
                    addEach(
                            p,
                            i -> by
                                    * ws.getAtIndex(JAVA_FLOAT, i)
                                    * ((double) ps.getAtIndex(JAVA_FLOAT, i) - fs.getAtIndex(JAVA_FLOAT, i)));
                },
                p);
    }

    /**
     * How far the rows of two matrices are from orthogonal to one another: the sum of all |a_j b_k|. Wang et al., arXiv:2310.14152, whose
     * code takes the absolute values and not their squares.
     *
     * <p>Shapes: a [R, D], b [Q, D] -> [1]. Gradient: da = dy sign(a bT) b, and zero for rows that are orthogonal; b gets none.
     */
    public static Tensor overlap(Tensor a, Tensor b) {
        Shape.require(
                a.shape().rank() == 2 && b.shape().rank() == 2 && a.dim(1) == b.dim(1),
                "overlap",
                a,
                b,
                "both must be matrices with equally long rows");
        int rows = a.dim(0), others = b.dim(0), length = a.dim(1);
        double[][] signs = new double[rows][others];
        double[] sums = new double[rows];
        Parallel.run(rows, j -> {
            for (int k = 0; k < others; k++) {
                double product = 0;
                for (int d = 0; d < length; d++) {
                    product += (double) a.get((long) j * length + d) * b.get((long) k * length + d);
                }
                signs[j][k] = Math.signum(product);
                sums[j] += Math.abs(product);
            }
        });
        double sum = 0;
        for (double s : sums) {
            sum += s;
        }
        Tensor y = Tensor.of(new float[] {(float) sum}, 1);
        return Tape.record(
                y,
                () -> {
                    double dy = y.grad().item();
                    addEach(a, i -> {
                        double[] sign = signs[(int) (i / length)];
                        double g = 0;
                        for (int k = 0; k < others; k++) {
                            g += sign[k] * b.get(k * (long) length + i % length);
                        }
                        return dy * g;
                    });
                },
                a);
    }

    /**
     * |x|, the root of the sum of all squares.
     *
     * <p>Shapes: x [..] -> [1]. Gradient: dx = dy x / |x|, and zero where the norm is.
     */
    public static Tensor norm(Tensor x) {
        double norm = Math.sqrt(sum(x.size(), i -> (double) x.get(i) * x.get(i)));
        Tensor y = Tensor.of(new float[] {(float) norm}, 1);
        return Tape.record(
                y,
                () -> {
                    if (norm > 0) {
                        double by = y.grad().item() / norm;
                        addEach(x, i -> by * x.get(i));
                    }
                },
                x);
    }

    /** mean += (x^2 - mean) / n in place, outside the tape: the mean of the squares of n tensors of which x is the last. */
    public static void averageSquares(Tensor mean, Tensor x, long n) {
        Shape.require(mean.shape().equals(x.shape()), "averageSquares", mean, x, "shapes must be equal");
        MemorySegment ms = mean.buf(), xs = x.buf();
        Parallel.run(chunks(x.size()), part -> {
            long end = Math.min(x.size(), (part + 1L) * CHUNK);
            for (long i = (long) part * CHUNK; i < end; i++) {
                double v = xs.getAtIndex(JAVA_FLOAT, i), m = ms.getAtIndex(JAVA_FLOAT, i);
                ms.setAtIndex(JAVA_FLOAT, i, (float) (m + (v * v - m) / n));
            }
        });
    }

    private static int chunks(long n) {
        return Math.toIntExact((n + CHUNK - 1) / CHUNK);
    }

    @FunctionalInterface
    private interface Each {
        double at(long i);
    }

    private static double sum(long n, Each f) {
        double[] parts = new double[chunks(n)];
        Parallel.run(parts.length, part -> {
            double s = 0;
            long end = Math.min(n, (part + 1L) * CHUNK);
            for (long i = (long) part * CHUNK; i < end; i++) {
                s += f.at(i);
            }
            parts[part] = s;
        });
        double sum = 0;
        for (double part : parts) {
            sum += part;
        }
        return sum;
    }

    /** x.grad[i] += f(i). */
    private static void addEach(Tensor x, Each f) {
        if (!x.tracked()) {
            return;
        }
        MemorySegment grad = x.gradBuf();
        long n = x.size();
        Parallel.run(chunks(n), part -> {
            long end = Math.min(n, (part + 1L) * CHUNK);
            for (long i = (long) part * CHUNK; i < end; i++) {
                grad.setAtIndex(JAVA_FLOAT, i, (float) (grad.getAtIndex(JAVA_FLOAT, i) + f.at(i)));
            }
        });
    }
}
