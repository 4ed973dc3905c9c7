package anneal.kernels;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;

import java.lang.foreign.MemorySegment;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/**
 * Element-wise loops and reductions at the speed of memory. Whole vectors are done here, the few elements behind them by {@link
 * ScalarKernels}.
 */
final class VectorElementwise {
    private static final VectorSpecies<Float> F = VectorMath.F;
    private static final int L = VectorMath.L;
    private static final ByteOrder NATIVE = ByteOrder.nativeOrder();
    private static final Kernels PLAIN = new ScalarKernels();
    private static final IntVector LANES = IntVector.zero(VectorMath.I).addIndex(1);

    /** Elements that are summed in single precision before the sum goes into a double. */
    private static final int SINGLE = 512;

    private VectorElementwise() {}

    static FloatVector load(MemorySegment s, long i) {
        return FloatVector.fromMemorySegment(F, s, 4 * i, NATIVE);
    }

    static void store(FloatVector x, MemorySegment s, long i) {
        x.intoMemorySegment(s, 4 * i, NATIVE);
    }

    static void add(MemorySegment y, MemorySegment a, MemorySegment b, long n) {
        long whole = Chunks.whole(n);
        Chunks.run(whole, (at, m) -> {
            for (int c = 0; c < m; c += L) {
                store(load(a, at + c).add(load(b, at + c)), y, at + c);
            }
        });
        PLAIN.add(Chunks.rest(y, whole), Chunks.rest(a, whole), Chunks.rest(b, whole), n - whole);
    }

    static void axpy(MemorySegment y, MemorySegment x, float alpha, long n) {
        long whole = Chunks.whole(n);
        Chunks.run(whole, (at, m) -> {
            FloatVector factor = VectorMath.broadcast(alpha);
            for (int c = 0; c < m; c += L) {
                store(load(x, at + c).fma(factor, load(y, at + c)), y, at + c);
            }
        });
        PLAIN.axpy(Chunks.rest(y, whole), Chunks.rest(x, whole), alpha, n - whole);
    }

    static void mul(MemorySegment y, MemorySegment a, MemorySegment b, long n, boolean add) {
        long whole = Chunks.whole(n);
        if (add) {
            Chunks.run(whole, (at, m) -> {
                for (int c = 0; c < m; c += L) {
                    store(load(a, at + c).fma(load(b, at + c), load(y, at + c)), y, at + c);
                }
            });
        } else {
            Chunks.run(whole, (at, m) -> {
                for (int c = 0; c < m; c += L) {
                    store(load(a, at + c).mul(load(b, at + c)), y, at + c);
                }
            });
        }
        PLAIN.mul(Chunks.rest(y, whole), Chunks.rest(a, whole), Chunks.rest(b, whole), n - whole, add);
    }

    static void scale(MemorySegment y, MemorySegment x, float alpha, long n) {
        long whole = Chunks.whole(n);
        Chunks.run(whole, (at, m) -> {
            for (int c = 0; c < m; c += L) {
                store(load(x, at + c).mul(alpha), y, at + c);
            }
        });
        PLAIN.scale(Chunks.rest(y, whole), Chunks.rest(x, whole), alpha, n - whole);
    }

    static void dropout(MemorySegment y, MemorySegment x, long n, float p, long seed, boolean add) {
        long whole = Chunks.whole(n);
        float scale = (float) (1 / (1.0 - p));
        Chunks.run(whole, (at, m) -> dropout(y, x, at, m, p, scale, seed, add));
        for (long i = whole; i < n; i++) {
            float kept = Noise.keeps(seed, i, p) ? x.getAtIndex(JAVA_FLOAT_UNALIGNED, i) * scale : 0;
            float old = add ? y.getAtIndex(JAVA_FLOAT_UNALIGNED, i) : 0;
            y.setAtIndex(JAVA_FLOAT_UNALIGNED, i, kept + old);
        }
    }

    private static void dropout(
            MemorySegment y, MemorySegment x, long at, int n, float p, float scale, long seed, boolean add) {
        int threshold = VectorMath.threshold(p);
        // A chunk never straddles a multiple of 2^32.
        IntVector low = LANES.add((int) at), high = IntVector.broadcast(VectorMath.I, (int) (at >>> 32));
        FloatVector zero = FloatVector.zero(F);
        for (int c = 0; c < n; c += L) {
            IntVector bits = VectorMath.noise(seed, low, high).lanewise(VectorOperators.LSHR, 8);
            VectorMask<Float> keeps =
                    bits.compare(VectorOperators.GE, threshold).cast(F);
            FloatVector kept = zero.blend(load(x, at + c).mul(scale), keeps);
            store(add ? load(y, at + c).add(kept) : kept, y, at + c);
            low = low.add(L);
        }
    }

    static void scaleRows(MemorySegment y, MemorySegment s, int rows, int dim) {
        Chunks.rows(rows, dim, (from, to) -> {
            for (int i = from; i < to; i++) {
                long at = (long) i * dim;
                float factor = s.getAtIndex(JAVA_FLOAT_UNALIGNED, i);
                int c = 0;
                for (; c <= dim - L; c += L) {
                    store(load(y, at + c).mul(factor), y, at + c);
                }
                for (; c < dim; c++) {
                    y.setAtIndex(JAVA_FLOAT_UNALIGNED, at + c, y.getAtIndex(JAVA_FLOAT_UNALIGNED, at + c) * factor);
                }
            }
        });
    }

    static void addRow(MemorySegment y, MemorySegment x, MemorySegment b, int rows, int dim) {
        Chunks.rows(rows, dim, (from, to) -> {
            for (int i = from; i < to; i++) {
                long at = (long) i * dim;
                int c = 0;
                for (; c <= dim - L; c += L) {
                    store(load(x, at + c).add(load(b, c)), y, at + c);
                }
                for (; c < dim; c++) {
                    float sum = x.getAtIndex(JAVA_FLOAT_UNALIGNED, at + c) + b.getAtIndex(JAVA_FLOAT_UNALIGNED, c);
                    y.setAtIndex(JAVA_FLOAT_UNALIGNED, at + c, sum);
                }
            }
        });
    }

    static void sumRows(MemorySegment db, MemorySegment dy, int rows, int dim) {
        addSums(db, Chunks.sums(rows, dim, (from, to, sums) -> {
            for (int i = from; i < to; i++) {
                long at = (long) i * dim;
                int c = 0;
                for (; c <= dim - L; c += L) {
                    FloatVector.fromArray(F, sums, c).add(load(dy, at + c)).intoArray(sums, c);
                }
                for (; c < dim; c++) {
                    sums[c] += dy.getAtIndex(JAVA_FLOAT_UNALIGNED, at + c);
                }
            }
        }));
    }

    /** d += sums. */
    static void addSums(MemorySegment d, double[] sums) {
        for (int c = 0; c < sums.length; c++) {
            d.setAtIndex(JAVA_FLOAT_UNALIGNED, c, (float) (d.getAtIndex(JAVA_FLOAT_UNALIGNED, c) + sums[c]));
        }
    }

    static double sum(MemorySegment x, long n) {
        long whole = Chunks.whole(n);
        double[] parts = new double[(int) ((whole + Chunks.SIZE - 1) / Chunks.SIZE)];
        Chunks.run(whole, (at, m) -> {
            double sum = 0;
            for (int c = 0; c < m; c += SINGLE) {
                sum += single(x, at + c, Math.min(SINGLE, m - c));
            }
            parts[(int) (at / Chunks.SIZE)] = sum;
        });
        return total(parts) + PLAIN.sum(Chunks.rest(x, whole), n - whole);
    }

    static double dot(MemorySegment a, MemorySegment b, long n) {
        long whole = Chunks.whole(n);
        double[] parts = new double[(int) ((whole + Chunks.SIZE - 1) / Chunks.SIZE)];
        Chunks.run(whole, (at, m) -> {
            double sum = 0;
            for (int c = 0; c < m; c += SINGLE) {
                sum += single(a, b, at + c, Math.min(SINGLE, m - c));
            }
            parts[(int) (at / Chunks.SIZE)] = sum;
        });
        return total(parts) + PLAIN.dot(Chunks.rest(a, whole), Chunks.rest(b, whole), n - whole);
    }

    private static double total(double[] parts) {
        double sum = 0;
        for (double part : parts) {
            sum += part;
        }
        return sum;
    }

    private static float single(MemorySegment x, long at, int n) {
        FloatVector s0 = FloatVector.zero(F), s1 = s0;
        int c = 0;
        for (; c <= n - 2 * L; c += 2 * L) {
            s0 = s0.add(load(x, at + c));
            s1 = s1.add(load(x, at + c + L));
        }
        return VectorMath.sum((c < n ? s0.add(load(x, at + c)) : s0).add(s1));
    }

    private static float single(MemorySegment a, MemorySegment b, long at, int n) {
        FloatVector s0 = FloatVector.zero(F), s1 = s0;
        int c = 0;
        for (; c <= n - 2 * L; c += 2 * L) {
            s0 = load(a, at + c).fma(load(b, at + c), s0);
            s1 = load(a, at + c + L).fma(load(b, at + c + L), s1);
        }
        return VectorMath.sum((c < n ? load(a, at + c).fma(load(b, at + c), s0) : s0).add(s1));
    }
}
