package anneal.quant;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * A sum of floats in the order in which PyTorch adds them on one thread: 8 lanes, 4 sums each, and four levels of partial sums, so that
 * no sum grows long. A mean must have the bits of bitsandbytes' for the codes of what is left to have them.
 */
final class CascadeSum {
    private static final int LANES = 8, SUMS = 4, LEVELS = 4;

    private CascadeSum() {}

    /** The sum of the first {@code count} floats. */
    static float of(MemorySegment x, long count) {
        int vectors = Math.toIntExact(count / LANES), quads = vectors / SUMS;
        float[] sums = levels(x, quads);
        for (int v = quads * SUMS; v < vectors; v++) {
            for (int lane = 0; lane < LANES; lane++) {
                sums[lane] += get(x, (long) v * LANES + lane);
            }
        }
        for (int s = 1; s < SUMS; s++) {
            for (int lane = 0; lane < LANES; lane++) {
                sums[lane] += sums[s * LANES + lane];
            }
        }
        float sum = 0;
        for (long i = (long) vectors * LANES; i < count; i++) {
            sum += get(x, i);
        }
        for (int lane = 0; lane < LANES; lane++) {
            sum += sums[lane];
        }
        return sum;
    }

    /** Sums of {@code quads} times 32 floats, 32 apart: a level is emptied into the next one when it has taken its share. */
    private static float[] levels(MemorySegment x, int quads) {
        int width = LANES * SUMS, power = Math.max(4, ceilLog2(quads) / LEVELS), step = 1 << power;
        float[][] level = new float[LEVELS][width];
        int i = 0;
        while (i + step <= quads) {
            for (int j = 0; j < step; j++, i++) {
                add(level[0], x, i);
            }
            for (int l = 1; l < LEVELS; l++) {
                carry(level, l);
                if ((i & (long) (step - 1) << l * power) != 0) {
                    break;
                }
            }
        }
        for (; i < quads; i++) {
            add(level[0], x, i);
        }
        for (int l = 1; l < LEVELS; l++) {
            for (int k = 0; k < width; k++) {
                level[0][k] += level[l][k];
            }
        }
        return level[0];
    }

    private static void add(float[] sums, MemorySegment x, int quad) {
        for (int k = 0; k < sums.length; k++) {
            sums[k] += get(x, (long) quad * sums.length + k);
        }
    }

    private static void carry(float[][] level, int to) {
        for (int k = 0; k < level[to].length; k++) {
            level[to][k] += level[to - 1][k];
            level[to - 1][k] = 0;
        }
    }

    private static int ceilLog2(int n) {
        return n <= 1 ? 0 : 32 - Integer.numberOfLeadingZeros(n - 1);
    }

    private static float get(MemorySegment x, long i) {
        return x.get(ValueLayout.JAVA_FLOAT_UNALIGNED, 4 * i);
    }
}
