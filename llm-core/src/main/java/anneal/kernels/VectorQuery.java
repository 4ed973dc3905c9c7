package anneal.kernels;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;

import java.lang.foreign.MemorySegment;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorSpecies;

/** The products of {@link AttentionDecode} with the Vector API. */
record VectorQuery(MemorySegment q, MemorySegment k, MemorySegment v, int dim, long stride)
        implements AttentionDecode.Products {
    private static final VectorSpecies<Float> F = VectorMath.F;
    private static final int L = VectorMath.L;
    private static final ByteOrder NATIVE = ByteOrder.nativeOrder();

    VectorQuery(MemorySegment q, MemorySegment k, MemorySegment v, Attention s) {
        this(q, k, v, s.headDim(), (long) s.kvHeads() * s.headDim());
    }

    /** Four keys at a time, so that one waits for its sums while the others multiply. */
    @Override
    public void dots(float[] scores, long query, long keys, int n) {
        float[] x = new float[dim];
        MemorySegment.copy(q, JAVA_FLOAT_UNALIGNED, 4 * query, x, 0, dim);
        int j = 0;
        for (; j <= n - 4; j += 4) {
            dots4(x, k, keys + j * stride, stride, dim, scores, j);
        }
        for (; j < n; j++) {
            // The last ones as if there were four: the sums are the same for a key wherever it stands.
            dots4(x, k, keys + j * stride, 0, dim, scores, j);
        }
    }

    /** Scores of four keys; {@code scores} has room for them behind the last key. */
    private static void dots4(float[] q, MemorySegment k, long at, long stride, int dim, float[] scores, int j) {
        FloatVector s0 = FloatVector.zero(F), s1 = s0, s2 = s0, s3 = s0;
        long at1 = at + stride, at2 = at1 + stride, at3 = at2 + stride;
        int c = 0;
        for (; c <= dim - L; c += L) {
            FloatVector x = FloatVector.fromArray(F, q, c);
            s0 = x.fma(FloatVector.fromMemorySegment(F, k, 4 * (at + c), NATIVE), s0);
            s1 = x.fma(FloatVector.fromMemorySegment(F, k, 4 * (at1 + c), NATIVE), s1);
            s2 = x.fma(FloatVector.fromMemorySegment(F, k, 4 * (at2 + c), NATIVE), s2);
            s3 = x.fma(FloatVector.fromMemorySegment(F, k, 4 * (at3 + c), NATIVE), s3);
        }
        float d0 = VectorMath.sum(s0), d1 = VectorMath.sum(s1), d2 = VectorMath.sum(s2), d3 = VectorMath.sum(s3);
        for (; c < dim; c++) {
            d0 = Math.fma(q[c], k.getAtIndex(JAVA_FLOAT_UNALIGNED, at + c), d0);
            d1 = Math.fma(q[c], k.getAtIndex(JAVA_FLOAT_UNALIGNED, at1 + c), d1);
            d2 = Math.fma(q[c], k.getAtIndex(JAVA_FLOAT_UNALIGNED, at2 + c), d2);
            d3 = Math.fma(q[c], k.getAtIndex(JAVA_FLOAT_UNALIGNED, at3 + c), d3);
        }
        scores[j] = d0;
        scores[j + 1] = d1;
        scores[j + 2] = d2;
        scores[j + 3] = d3;
    }

    @Override
    public void weigh(float[] out, int to, float[] weights, long at, int n) {
        int c = 0;
        for (; c <= dim - 4 * L; c += 4 * L) {
            weighted4(weights, n, v, at + c, stride, out, to + c);
        }
        for (; c <= dim - L; c += L) {
            weighted1(weights, n, v, at + c, stride, out, to + c);
        }
        for (; c < dim; c++) {
            float sum = 0;
            for (int j = 0; j < n; j++) {
                sum = Math.fma(weights[j], v.getAtIndex(JAVA_FLOAT_UNALIGNED, at + j * stride + c), sum);
            }
            out[to + c] = sum;
        }
    }

    private static void weighted4(float[] w, int n, MemorySegment v, long at, long stride, float[] out, int to) {
        FloatVector s0 = FloatVector.zero(F), s1 = s0, s2 = s0, s3 = s0;
        for (int j = 0; j < n; j++) {
            FloatVector x = FloatVector.broadcast(F, w[j]);
            long row = 4 * (at + j * stride);
            s0 = x.fma(FloatVector.fromMemorySegment(F, v, row, NATIVE), s0);
            s1 = x.fma(FloatVector.fromMemorySegment(F, v, row + 4L * L, NATIVE), s1);
            s2 = x.fma(FloatVector.fromMemorySegment(F, v, row + 8L * L, NATIVE), s2);
            s3 = x.fma(FloatVector.fromMemorySegment(F, v, row + 12L * L, NATIVE), s3);
        }
        s0.intoArray(out, to);
        s1.intoArray(out, to + L);
        s2.intoArray(out, to + 2 * L);
        s3.intoArray(out, to + 3 * L);
    }

    private static void weighted1(float[] w, int n, MemorySegment v, long at, long stride, float[] out, int to) {
        FloatVector sum = FloatVector.zero(F);
        for (int j = 0; j < n; j++) {
            FloatVector x = FloatVector.fromMemorySegment(F, v, 4 * (at + j * stride), NATIVE);
            sum = x.fma(FloatVector.broadcast(F, w[j]), sum);
        }
        sum.intoArray(out, to);
    }
}
