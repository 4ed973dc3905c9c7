package anneal.quant;

import anneal.kernels.Parallel;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;

/**
 * The 8-bit dynamic data type: 256 numbers in [-1, 1], or [0, 1], whose spacing grows with their size. A byte is a sign, zeros that
 * are the exponent to the base 10, a one, and as many bits of fraction as are left. Dettmers, arXiv:1511.04561 and arXiv:2110.02861.
 *
 * <p>Numbers are quantised by blocks: code = nearest of the map to x / absmax of the block. bitsandbytes on a CPU, whose codes these
 * are, first rounds x / absmax to one of 65,536 steps, so that of two neighbours the farther one is chosen now and then.
 */
public final class DynamicMap {
    /** With negative numbers: for scales less their mean, for an optimiser's first moments. */
    public static final DynamicMap SIGNED = new DynamicMap(true);

    /** Without: for second moments. */
    public static final DynamicMap UNSIGNED = new DynamicMap(false);

    private static final int CODES = 256, EXPONENTS = 7, STEPS = 1 << 16;
    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;

    private final float[] values;
    /** The code of each of the steps from -1 to 1. */
    private final byte[] codes;

    private DynamicMap(boolean signed) {
        values = values(signed);
        codes = codes(values);
    }

    /** For exponent e = -6 .. 0 the middles of 2^(e+6) equal parts of [0.1, 1] (twice as many if unsigned) times 10^e; 0 and 1. */
    private static float[] values(boolean signed) {
        float[] all = new float[CODES];
        int n = 0;
        for (int i = 0; i < EXPONENTS; i++) {
            int parts = (signed ? 1 : 2) << i;
            float power = (float) Math.pow(10, i - (EXPONENTS - 1));
            for (int p = 0; p < parts; p++) {
                float middle = power * ((boundary(p, parts) + boundary(p + 1, parts)) / 2);
                all[n++] = middle;
                if (signed) {
                    all[n++] = -middle;
                }
            }
        }
        all[n] = 0; // the array ends with 0 and 1
        all[n + 1] = 1;
        Arrays.sort(all);
        return all;
    }

    /** Boundary i of equal parts of [0.1, 1], counted from the nearer end and rounded once: PyTorch's linspace. */
    private static float boundary(int i, int parts) {
        float step = (1 - 0.1f) / parts;
        return i < (parts + 1) / 2 ? Math.fma(step, i, 0.1f) : Math.fma(-step, parts - i, 1);
    }

    private static byte[] codes(float[] values) {
        byte[] codes = new byte[STEPS];
        int code = 0;
        for (int i = 0; i < STEPS; i++) {
            float x = -1 + 2f * i / (STEPS - 1);
            while (code < CODES - 1 && 0.5f * (values[code] + values[code + 1]) < x) {
                code++;
            }
            codes[i] = (byte) code;
        }
        return codes;
    }

    /** The 256 numbers, ascending. */
    public float[] values() {
        return values.clone();
    }

    /** The 256 numbers as 1024 bytes. */
    MemorySegment table(Arena arena) {
        return arena.allocateFrom(ValueLayout.JAVA_FLOAT, values);
    }

    /** The code of a number in [-1, 1]; what is outside counts as the nearer end. */
    byte code(float x) {
        float inside = Math.clamp(x, -1f, 1f);
        return codes[(int) ((inside + 1) * 0.5f * (STEPS - 1) + 0.5f)];
    }

    /**
     * Numbers as codes.
     *
     * @param codes one byte for each number
     * @param absmax one float for each block: the largest absolute value
     */
    public record Blocks(MemorySegment codes, MemorySegment absmax, int blockSize) {}

    /**
     * Quantises floats.
     *
     * @param x floats in native memory
     * @param blockSize numbers that share an absmax; the last block may be shorter
     * @param arena where the result lives
     */
    public Blocks quantize(MemorySegment x, int blockSize, Arena arena) {
        if (blockSize < 1) {
            throw new IllegalArgumentException("DynamicMap: a block has at least one number, not " + blockSize);
        }
        long count = x.byteSize() / 4;
        int blocks = Math.toIntExact(Math.ceilDiv(count, (long) blockSize));
        Blocks to =
                new Blocks(arena.allocate(Math.max(1, count)), arena.allocate(Math.max(4, 4L * blocks), 4), blockSize);
        Parallel.run(blocks, b -> {
            long from = (long) b * blockSize, end = Math.min(count, from + blockSize);
            float absmax = 0;
            for (long i = from; i < end; i++) {
                absmax = Math.max(absmax, Math.abs(x.get(FLOAT, 4 * i)));
            }
            to.absmax.set(FLOAT, 4L * b, absmax);
            float inverse = 1 / absmax;
            for (long i = from; i < end; i++) {
                // a block of zeros has code 0 throughout: times an absmax of 0 it does not matter which
                to.codes.set(ValueLayout.JAVA_BYTE, i, absmax == 0 ? 0 : code(x.get(FLOAT, 4 * i) * inverse));
            }
        });
        return to;
    }

    /** The numbers that codes stand for: map[code] * absmax of the block. */
    public void dequantize(Blocks from, MemorySegment to) {
        long count = to.byteSize() / 4;
        for (long i = 0; i < count; i++) {
            float value = values[from.codes.get(ValueLayout.JAVA_BYTE, i) & 0xFF];
            to.set(FLOAT, 4 * i, value * from.absmax.get(FLOAT, 4 * (i / from.blockSize)));
        }
    }
}
