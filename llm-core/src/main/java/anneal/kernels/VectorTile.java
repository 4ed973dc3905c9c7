package anneal.kernels;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import java.lang.foreign.MemorySegment;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorSpecies;

/**
 * The innermost loops of the matrix product: a tile of {@link #ROWS} x {@link #COLS} sums that stays in registers while the
 * depth runs.
 *
 * <p>The left operand is packed as rows ({@link #STRIDE} floats apart, so that the offsets of the rows are constants of the
 * machine code), the right one as a strip: for each depth {@link #COLS} floats. Each step loads two vectors of the strip and
 * multiplies them with one float of each row.
 */
final class VectorTile {
    private static final VectorSpecies<Float> SPECIES = FloatVector.SPECIES_PREFERRED;
    private static final int LANES = SPECIES.length();
    private static final ByteOrder ORDER = ByteOrder.nativeOrder();

    /** Deepest block of a product: two strips' worth of it fit in the nearest caches. */
    static final int DEPTH = 1024;

    /** Floats from one packed row to the next; not a power of two, so that rows do not fall on one cache set. */
    static final int STRIDE = DEPTH + 16;

    /** Floats before the first packed row: no row then has offset 0, so that all share one index register. */
    static final int LEAD = 16;

    /** Columns of a tile. */
    static final int COLS = 2 * LANES;

    /** Rows of a tile: what 16 registers hold (256-bit x86), or 32 (AVX-512, NEON, SVE). */
    static final int ROWS = SPECIES.vectorBitSize() == 256 ? 5 : 12;

    /**
     * A depth that is never reached. It is a variable because the compiler must not know: the branch on it splits the loop's
     * body, so that C2 cannot load all rows' floats first, run out of registers and keep sums in memory (measured on 256-bit:
     * 100 against 34 GFLOP/s a core).
     */
    private static int never = -1;

    private VectorTile() {}

    /** sums[ROWS, COLS] = rows of a (the first at {@code at + LEAD}) times the strip of b (from {@code bt}). */
    static void multiply(float[] a, int at, float[] b, int bt, int depth, float[] sums) {
        if (ROWS == 5) {
            multiply5(a, at, b, bt, depth, sums, never);
        } else {
            multiply12(a, at, b, bt, depth, sums);
        }
    }

    static void multiply5(float[] a, int at, float[] b, int bt, int depth, float[] sums, int stop) {
        FloatVector zero = FloatVector.zero(SPECIES);
        FloatVector s0 = zero, t0 = zero;
        FloatVector s1 = zero, t1 = zero;
        FloatVector s2 = zero, t2 = zero;
        FloatVector s3 = zero, t3 = zero;
        FloatVector s4 = zero, t4 = zero;
        for (int p = 0; p < depth; p++) {
            FloatVector b0 = FloatVector.fromArray(SPECIES, b, bt + p * COLS);
            FloatVector b1 = FloatVector.fromArray(SPECIES, b, bt + p * COLS + LANES);
            FloatVector a0 = FloatVector.broadcast(SPECIES, a[at + p + LEAD]);
            s0 = a0.fma(b0, s0);
            t0 = a0.fma(b1, t0);
            FloatVector a1 = FloatVector.broadcast(SPECIES, a[at + p + LEAD + STRIDE]);
            s1 = a1.fma(b0, s1);
            t1 = a1.fma(b1, t1);
            FloatVector a2 = FloatVector.broadcast(SPECIES, a[at + p + LEAD + 2 * STRIDE]);
            s2 = a2.fma(b0, s2);
            t2 = a2.fma(b1, t2);
            if (p == stop) {
                break;
            }
            FloatVector a3 = FloatVector.broadcast(SPECIES, a[at + p + LEAD + 3 * STRIDE]);
            s3 = a3.fma(b0, s3);
            t3 = a3.fma(b1, t3);
            FloatVector a4 = FloatVector.broadcast(SPECIES, a[at + p + LEAD + 4 * STRIDE]);
            s4 = a4.fma(b0, s4);
            t4 = a4.fma(b1, t4);
        }
        store(sums, 0, s0, t0);
        store(sums, 1, s1, t1);
        store(sums, 2, s2, t2);
        store(sums, 3, s3, t3);
        store(sums, 4, s4, t4);
    }

    static void multiply12(float[] a, int at, float[] b, int bt, int depth, float[] sums) {
        FloatVector zero = FloatVector.zero(SPECIES);
        FloatVector s0 = zero, t0 = zero;
        FloatVector s1 = zero, t1 = zero;
        FloatVector s2 = zero, t2 = zero;
        FloatVector s3 = zero, t3 = zero;
        FloatVector s4 = zero, t4 = zero;
        FloatVector s5 = zero, t5 = zero;
        FloatVector s6 = zero, t6 = zero;
        FloatVector s7 = zero, t7 = zero;
        FloatVector s8 = zero, t8 = zero;
        FloatVector s9 = zero, t9 = zero;
        FloatVector s10 = zero, t10 = zero;
        FloatVector s11 = zero, t11 = zero;
        for (int p = 0; p < depth; p++) {
            FloatVector b0 = FloatVector.fromArray(SPECIES, b, bt + p * COLS);
            FloatVector b1 = FloatVector.fromArray(SPECIES, b, bt + p * COLS + LANES);
            FloatVector a0 = FloatVector.broadcast(SPECIES, a[at + p + LEAD]);
            s0 = a0.fma(b0, s0);
            t0 = a0.fma(b1, t0);
            FloatVector a1 = FloatVector.broadcast(SPECIES, a[at + p + LEAD + STRIDE]);
            s1 = a1.fma(b0, s1);
            t1 = a1.fma(b1, t1);
            FloatVector a2 = FloatVector.broadcast(SPECIES, a[at + p + LEAD + 2 * STRIDE]);
            s2 = a2.fma(b0, s2);
            t2 = a2.fma(b1, t2);
            FloatVector a3 = FloatVector.broadcast(SPECIES, a[at + p + LEAD + 3 * STRIDE]);
            s3 = a3.fma(b0, s3);
            t3 = a3.fma(b1, t3);
            FloatVector a4 = FloatVector.broadcast(SPECIES, a[at + p + LEAD + 4 * STRIDE]);
            s4 = a4.fma(b0, s4);
            t4 = a4.fma(b1, t4);
            FloatVector a5 = FloatVector.broadcast(SPECIES, a[at + p + LEAD + 5 * STRIDE]);
            s5 = a5.fma(b0, s5);
            t5 = a5.fma(b1, t5);
            FloatVector a6 = FloatVector.broadcast(SPECIES, a[at + p + LEAD + 6 * STRIDE]);
            s6 = a6.fma(b0, s6);
            t6 = a6.fma(b1, t6);
            FloatVector a7 = FloatVector.broadcast(SPECIES, a[at + p + LEAD + 7 * STRIDE]);
            s7 = a7.fma(b0, s7);
            t7 = a7.fma(b1, t7);
            FloatVector a8 = FloatVector.broadcast(SPECIES, a[at + p + LEAD + 8 * STRIDE]);
            s8 = a8.fma(b0, s8);
            t8 = a8.fma(b1, t8);
            FloatVector a9 = FloatVector.broadcast(SPECIES, a[at + p + LEAD + 9 * STRIDE]);
            s9 = a9.fma(b0, s9);
            t9 = a9.fma(b1, t9);
            FloatVector a10 = FloatVector.broadcast(SPECIES, a[at + p + LEAD + 10 * STRIDE]);
            s10 = a10.fma(b0, s10);
            t10 = a10.fma(b1, t10);
            FloatVector a11 = FloatVector.broadcast(SPECIES, a[at + p + LEAD + 11 * STRIDE]);
            s11 = a11.fma(b0, s11);
            t11 = a11.fma(b1, t11);
        }
        store(sums, 0, s0, t0);
        store(sums, 1, s1, t1);
        store(sums, 2, s2, t2);
        store(sums, 3, s3, t3);
        store(sums, 4, s4, t4);
        store(sums, 5, s5, t5);
        store(sums, 6, s6, t6);
        store(sums, 7, s7, t7);
        store(sums, 8, s8, t8);
        store(sums, 9, s9, t9);
        store(sums, 10, s10, t10);
        store(sums, 11, s11, t11);
    }

    private static void store(float[] sums, int row, FloatVector s, FloatVector t) {
        s.intoArray(sums, row * COLS);
        t.intoArray(sums, row * COLS + LANES);
    }

    /** y[i, j] = alpha sums[i, j] (+ y if {@code add}) for the tile's first {@code rows} and {@code cols}; y starts at float {@code at}, rows {@code width} apart. */
    static void put(MemorySegment y, long at, int width, int rows, int cols, float[] sums, float alpha, boolean add) {
        for (int i = 0; i < rows; i++) {
            long to = at + (long) i * width;
            int from = i * COLS;
            if (cols == COLS) {
                put(y, to, sums, from, alpha, add);
                put(y, to + LANES, sums, from + LANES, alpha, add);
            } else {
                for (int j = 0; j < cols; j++) {
                    float v = alpha * sums[from + j];
                    y.setAtIndex(JAVA_FLOAT, to + j, add ? v + y.getAtIndex(JAVA_FLOAT, to + j) : v);
                }
            }
        }
    }

    private static void put(MemorySegment y, long to, float[] sums, int from, float alpha, boolean add) {
        FloatVector v = FloatVector.fromArray(SPECIES, sums, from).mul(alpha);
        if (add) {
            v = v.add(FloatVector.fromMemorySegment(SPECIES, y, 4 * to, ORDER));
        }
        v.intoMemorySegment(y, 4 * to, ORDER);
    }
}
