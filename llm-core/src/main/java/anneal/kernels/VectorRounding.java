package anneal.kernels;

import static jdk.incubator.vector.VectorOperators.LSHR;
import static jdk.incubator.vector.VectorOperators.MAX;
import static jdk.incubator.vector.VectorOperators.NE;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorSpecies;

/** {@link Rounding} in vectors, the same bits. */
final class VectorRounding {
    private static final VectorSpecies<Float> F = VectorMath.F;
    private static final int L = VectorMath.L;

    private VectorRounding() {}

    static void round(MemorySegment y, MemorySegment x, long n, Compute compute) {
        switch (compute) {
            case F32 -> Rounding.round(y, x, n, compute);
            case BF16 -> bfloats(y, x, n);
            case INT8 -> int8(y, x, n);
        }
    }

    private static void bfloats(MemorySegment y, MemorySegment x, long n) {
        long whole = Chunks.whole(n);
        Chunks.run(whole, (at, m) -> {
            for (int c = 0; c < m; c += L) {
                VectorElementwise.store(bfloat(VectorElementwise.load(x, at + c)), y, at + c);
            }
        });
        Rounding.round(Chunks.rest(y, whole), Chunks.rest(x, whole), n - whole, Compute.BF16);
    }

    /** As {@link Rounding#bfloats}. */
    static void bfloats(float[] x, int at, int count) {
        int whole = (int) Chunks.whole(count);
        for (int i = at; i < at + whole; i += L) {
            bfloat(FloatVector.fromArray(F, x, i)).intoArray(x, i);
        }
        Rounding.bfloats(x, at + whole, count - whole);
    }

    private static FloatVector bfloat(FloatVector x) {
        IntVector bits = x.reinterpretAsInts();
        IntVector nearest = bits.add(0x7FFF).add(bits.lanewise(LSHR, 16).and(1));
        return nearest.blend(bits.or(0x400000), x.compare(NE, x).cast(VectorMath.I))
                .and(0xFFFF0000)
                .reinterpretAsFloats();
    }

    /** Blocks of 32 are whole vectors: a vector has at most 16 floats. */
    private static void int8(MemorySegment y, MemorySegment x, long n) {
        Chunks.run(n, (at, m) -> {
            for (long block = at; block < at + m; block += Rounding.BLOCK) {
                FloatVector most = VectorElementwise.load(x, block).abs();
                for (int i = L; i < Rounding.BLOCK; i += L) {
                    most = most.max(VectorElementwise.load(x, block + i).abs());
                }
                float largest = most.reduceLanes(MAX);
                float scale = Rounding.scale(largest), inverse = Rounding.inverse(largest);
                for (int i = 0; i < Rounding.BLOCK; i += L) {
                    // The sum has no bits for fractions, so the addition rounds to a whole number, nearest even.
                    FloatVector code = VectorElementwise.load(x, block + i)
                            .mul(inverse)
                            .add(VectorMath.ROUND)
                            .sub(VectorMath.ROUND);
                    VectorElementwise.store(code.mul(scale), y, block + i);
                }
            }
        });
    }
}
