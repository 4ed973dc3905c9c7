package anneal.kernels;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorSpecies;

/**
 * RMS and layer normalisation and rotary positions: kernels that go row by row.
 *
 * <p>The gradients of weights are summed by fixed parts of the rows, which are then added in order ({@link Chunks#sums}).
 */
final class VectorNorms {
    private static final VectorSpecies<Float> F = VectorMath.F;
    private static final int L = VectorMath.L;

    private VectorNorms() {}

    private static FloatVector load(MemorySegment s, long i) {
        return VectorElementwise.load(s, i);
    }

    private static void store(FloatVector x, MemorySegment s, long i) {
        VectorElementwise.store(x, s, i);
    }

    private static float get(MemorySegment s, long i) {
        return s.getAtIndex(JAVA_FLOAT_UNALIGNED, i);
    }

    private static void set(MemorySegment s, long i, float x) {
        s.setAtIndex(JAVA_FLOAT_UNALIGNED, i, x);
    }

    static void rmsNorm(
            MemorySegment y, MemorySegment rstd, MemorySegment x, MemorySegment w, int rows, int dim, float eps) {
        Chunks.rows(rows, dim, (from, to) -> {
            for (int i = from; i < to; i++) {
                long at = (long) i * dim;
                float r = (float) (1 / Math.sqrt(squares(x, at, dim, 0) / dim + eps));
                set(rstd, i, r);
                rmsRow(y, x, w, at, dim, r);
            }
        });
    }

    /** Sum of (x - mean)^2. */
    private static double squares(MemorySegment x, long at, int dim, float mean) {
        FloatVector s0 = FloatVector.zero(F), s1 = s0, mu = VectorMath.broadcast(mean);
        int c = 0;
        for (; c <= dim - 2 * L; c += 2 * L) {
            FloatVector x0 = load(x, at + c).sub(mu), x1 = load(x, at + c + L).sub(mu);
            s0 = x0.fma(x0, s0);
            s1 = x1.fma(x1, s1);
        }
        double sum = VectorMath.sum(s0.add(s1));
        for (; c < dim; c++) {
            sum += (double) (get(x, at + c) - mean) * (get(x, at + c) - mean);
        }
        return sum;
    }

    private static double sum(MemorySegment x, long at, int dim) {
        FloatVector s0 = FloatVector.zero(F), s1 = s0;
        int c = 0;
        for (; c <= dim - 2 * L; c += 2 * L) {
            s0 = s0.add(load(x, at + c));
            s1 = s1.add(load(x, at + c + L));
        }
        double sum = VectorMath.sum(s0.add(s1));
        for (; c < dim; c++) {
            sum += get(x, at + c);
        }
        return sum;
    }

    private static void rmsRow(MemorySegment y, MemorySegment x, MemorySegment w, long at, int dim, float r) {
        int c = 0;
        for (; c <= dim - L; c += L) {
            store(load(x, at + c).mul(r).mul(load(w, c)), y, at + c);
        }
        for (; c < dim; c++) {
            set(y, at + c, get(x, at + c) * r * get(w, c));
        }
    }

    static void rmsNormGrad(
            MemorySegment dx,
            MemorySegment dw,
            MemorySegment dy,
            MemorySegment x,
            MemorySegment w,
            MemorySegment rstd,
            int rows,
            int dim) {
        double[] sums = Chunks.sums(rows, dw == null ? 0 : dim, (from, to, dwPart) -> {
            for (int i = from; i < to; i++) {
                long at = (long) i * dim;
                float r = get(rstd, i);
                if (dx != null) {
                    float projection = (float) (weightedDot(dy, x, w, at, dim, 0) * r * r * r / dim);
                    rmsGradRow(dx, dy, x, w, at, dim, r, projection);
                }
                if (dw != null) {
                    normedProducts(dwPart, dy, x, at, dim, 0, r);
                }
            }
        });
        if (dw != null) {
            VectorElementwise.addSums(dw, sums);
        }
    }

    /** Sum of dy w (x - mean). */
    private static double weightedDot(
            MemorySegment dy, MemorySegment x, MemorySegment w, long at, int dim, float mean) {
        FloatVector s0 = FloatVector.zero(F), s1 = s0, mu = VectorMath.broadcast(mean);
        int c = 0;
        for (; c <= dim - 2 * L; c += 2 * L) {
            s0 = load(dy, at + c).mul(load(w, c)).fma(load(x, at + c).sub(mu), s0);
            s1 = load(dy, at + c + L)
                    .mul(load(w, c + L))
                    .fma(load(x, at + c + L).sub(mu), s1);
        }
        double sum = VectorMath.sum(s0.add(s1));
        for (; c < dim; c++) {
            sum += (double) get(dy, at + c) * get(w, c) * (get(x, at + c) - mean);
        }
        return sum;
    }

    /** dx += r dy w - projection x. */
    private static void rmsGradRow(
            MemorySegment dx,
            MemorySegment dy,
            MemorySegment x,
            MemorySegment w,
            long at,
            int dim,
            float r,
            float projection) {
        FloatVector scale = VectorMath.broadcast(r), back = VectorMath.broadcast(-projection);
        int c = 0;
        for (; c <= dim - L; c += L) {
            FloatVector g = load(x, at + c).mul(back);
            g = load(dy, at + c).mul(load(w, c)).fma(scale, g);
            store(load(dx, at + c).add(g), dx, at + c);
        }
        for (; c < dim; c++) {
            float g = get(dy, at + c) * get(w, c) * r - get(x, at + c) * projection;
            set(dx, at + c, get(dx, at + c) + g);
        }
    }

    /** sums += dy (x - mean) r. */
    private static void normedProducts(
            float[] sums, MemorySegment dy, MemorySegment x, long at, int dim, float mean, float r) {
        FloatVector mu = VectorMath.broadcast(mean), scale = VectorMath.broadcast(r);
        int c = 0;
        for (; c <= dim - L; c += L) {
            FloatVector normed = load(x, at + c).sub(mu).mul(scale);
            normed.fma(load(dy, at + c), FloatVector.fromArray(F, sums, c)).intoArray(sums, c);
        }
        for (; c < dim; c++) {
            sums[c] += (get(x, at + c) - mean) * r * get(dy, at + c);
        }
    }

    static void layerNorm(
            MemorySegment y,
            MemorySegment mean,
            MemorySegment rstd,
            MemorySegment x,
            MemorySegment w,
            MemorySegment b,
            int rows,
            int dim,
            float eps) {
        Chunks.rows(rows, dim, (from, to) -> {
            for (int i = from; i < to; i++) {
                long at = (long) i * dim;
                float mu = (float) (sum(x, at, dim) / dim);
                float r = (float) (1 / Math.sqrt(squares(x, at, dim, mu) / dim + eps));
                set(mean, i, mu);
                set(rstd, i, r);
                layerRow(y, x, w, b, at, dim, mu, r);
            }
        });
    }

    private static void layerRow(
            MemorySegment y, MemorySegment x, MemorySegment w, MemorySegment b, long at, int dim, float mean, float r) {
        FloatVector mu = VectorMath.broadcast(mean), scale = VectorMath.broadcast(r);
        int c = 0;
        for (; c <= dim - L; c += L) {
            FloatVector normed = load(x, at + c).sub(mu).mul(scale);
            store(normed.fma(load(w, c), load(b, c)), y, at + c);
        }
        for (; c < dim; c++) {
            set(y, at + c, (get(x, at + c) - mean) * r * get(w, c) + get(b, c));
        }
    }

    static void layerNormGrad(
            MemorySegment dx,
            MemorySegment dw,
            MemorySegment db,
            MemorySegment dy,
            MemorySegment x,
            MemorySegment w,
            MemorySegment mean,
            MemorySegment rstd,
            int rows,
            int dim) {
        double[] sums = Chunks.sums(rows, dw == null ? 0 : dim, (from, to, dwPart) -> {
            for (int i = from; i < to; i++) {
                long at = (long) i * dim;
                float mu = get(mean, i), r = get(rstd, i);
                if (dx != null) {
                    double projection = weightedDot(dy, x, w, at, dim, mu) * r * r * r / dim;
                    float total = (float) (weightedSum(dy, w, at, dim) * r / dim);
                    layerGradRow(dx, dy, x, w, at, dim, mu, r, (float) projection, total);
                }
                if (dw != null) {
                    normedProducts(dwPart, dy, x, at, dim, mu, r);
                }
            }
        });
        if (dw != null) {
            VectorElementwise.addSums(dw, sums);
        }
        if (db != null) {
            VectorElementwise.sumRows(db, dy, rows, dim);
        }
    }

    /** Sum of dy w. */
    private static double weightedSum(MemorySegment dy, MemorySegment w, long at, int dim) {
        FloatVector s0 = FloatVector.zero(F), s1 = s0;
        int c = 0;
        for (; c <= dim - 2 * L; c += 2 * L) {
            s0 = load(dy, at + c).fma(load(w, c), s0);
            s1 = load(dy, at + c + L).fma(load(w, c + L), s1);
        }
        double sum = VectorMath.sum(s0.add(s1));
        for (; c < dim; c++) {
            sum += (double) get(dy, at + c) * get(w, c);
        }
        return sum;
    }

    /** dx += r dy w - total - projection (x - mean). */
    private static void layerGradRow(
            MemorySegment dx,
            MemorySegment dy,
            MemorySegment x,
            MemorySegment w,
            long at,
            int dim,
            float mean,
            float r,
            float projection,
            float total) {
        FloatVector mu = VectorMath.broadcast(mean), scale = VectorMath.broadcast(r);
        FloatVector back = VectorMath.broadcast(-projection), all = VectorMath.broadcast(-total);
        int c = 0;
        for (; c <= dim - L; c += L) {
            FloatVector g = load(x, at + c).sub(mu).fma(back, all);
            g = load(dy, at + c).mul(load(w, c)).fma(scale, g);
            store(load(dx, at + c).add(g), dx, at + c);
        }
        for (; c < dim; c++) {
            float g = get(dy, at + c) * get(w, c) * r - total - (get(x, at + c) - mean) * projection;
            set(dx, at + c, get(dx, at + c) + g);
        }
    }

    // ---------------------------------------------------------------- rotary positions

    static void rope(
            MemorySegment y,
            MemorySegment x,
            MemorySegment cos,
            MemorySegment sin,
            Kernels.Rope s,
            boolean inverse,
            boolean add) {
        Chunks.rows(s.tokens(), s.heads() * s.headDim(), (from, to) -> {
            for (int t = from; t < to; t++) {
                for (int h = 0; h < s.heads(); h++) {
                    long at = ((long) t * s.heads() + h) * s.headDim(), angles = (long) t * (s.rotary() / 2);
                    if (s.interleaved()) {
                        rotatePairs(y, x, cos, sin, at, angles, s.rotary() / 2, inverse, add);
                    } else {
                        rotateHalves(y, x, cos, sin, at, angles, s.rotary() / 2, inverse, add);
                    }
                    for (int c = s.rotary(); c < s.headDim(); c++) {
                        set(y, at + c, add ? get(y, at + c) + get(x, at + c) : get(x, at + c));
                    }
                }
            }
        });
    }

    /** Pairs (i, i + pairs). */
    private static void rotateHalves(
            MemorySegment y,
            MemorySegment x,
            MemorySegment cos,
            MemorySegment sin,
            long at,
            long angles,
            int pairs,
            boolean inverse,
            boolean add) {
        int p = 0;
        for (; p <= pairs - L; p += L) {
            FloatVector a = load(x, at + p), b = load(x, at + pairs + p);
            FloatVector c = load(cos, angles + p), n = load(sin, angles + p);
            n = inverse ? n.neg() : n;
            FloatVector first = a.mul(c).sub(b.mul(n)), second = b.mul(c).add(a.mul(n));
            store(add ? load(y, at + p).add(first) : first, y, at + p);
            store(add ? load(y, at + pairs + p).add(second) : second, y, at + pairs + p);
        }
        for (; p < pairs; p++) {
            rotate(y, x, at + p, at + pairs + p, get(cos, angles + p), get(sin, angles + p), inverse, add);
        }
    }

    /** Pairs (2i, 2i + 1). */
    private static void rotatePairs(
            MemorySegment y,
            MemorySegment x,
            MemorySegment cos,
            MemorySegment sin,
            long at,
            long angles,
            int pairs,
            boolean inverse,
            boolean add) {
        for (int p = 0; p < pairs; p++) {
            rotate(y, x, at + 2 * p, at + 2 * p + 1, get(cos, angles + p), get(sin, angles + p), inverse, add);
        }
    }

    private static void rotate(
            MemorySegment y, MemorySegment x, long i, long j, float cos, float sin, boolean inverse, boolean add) {
        float n = inverse ? -sin : sin, a = get(x, i), b = get(x, j);
        float first = a * cos - b * n, second = b * cos + a * n;
        set(y, i, add ? get(y, i) + first : first);
        set(y, j, add ? get(y, j) + second : second);
    }
}
