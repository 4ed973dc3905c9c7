package anneal.quant;

import static anneal.kernels.PlainBlock.half;
import static anneal.quant.PlainBlocks.BYTE;
import static anneal.quant.PlainBlocks.SHORT;

import anneal.kernels.BlockFormat;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;

/**
 * Floats into GGUF's K blocks: 256 numbers in groups that have a scale each, and these scales are small integers times one of the
 * block. Scales are searched: of some candidates round the obvious one, the least squares fit with the smallest weighted error wins, as
 * in llama.cpp (ggml-quants.c, without an importance matrix).
 *
 * <p>Not for two threads at once: it keeps its working memory.
 */
final class KBlocks {
    private static final int SIZE = 256;
    /** Below this all numbers of a group count as zero. */
    private static final float TINY = 1e-15f;

    /** Candidates, in tenths of a code: the obvious one first, so that it stays where others are no better. */
    private static final int[] STEPS = {0, -9, -8, -7, -6, -5, -4, -3, -2, -1, 1, 2, 3, 4, 5, 6, 7, 8, 9};

    private final int[] codes = new int[SIZE];
    private final int[] trial = new int[SIZE];
    private final float[] weights = new float[SIZE];

    /** The minimum that was found with a group's scale, as a number that is subtracted. */
    private float minimum;

    /** Writes the block of the 256 floats from {@code at}. */
    void write(BlockFormat format, float[] x, int at, MemorySegment to, long byteAt) {
        switch (format) {
            case Q4_K -> withMinima(15, new Search(-1, 0.1f, 20), x, at, to, byteAt);
            case Q5_K -> withMinima(31, new Search(-0.5f, 0.1f, 15), x, at, to, byteAt);
            case Q6_K -> q6(x, at, to, byteAt);
            default -> throw new AssertionError(format + " is no K format");
        }
    }

    /** Candidates i = 0 .. steps: codes are (x - min) (first + i step + most) / (max - min). */
    private record Search(float first, float step, int steps) {}

    // ---------------------------------------------------------------- Q4_K, Q5_K

    /** 8 groups of 32, each d s q - dmin m with 6 bits for s and for m. */
    private void withMinima(int most, Search search, float[] x, int at, MemorySegment to, long byteAt) {
        float[] scales = new float[8], minima = new float[8];
        float maxScale = 0, maxMinimum = 0;
        for (int g = 0; g < 8; g++) {
            scales[g] = scaleAndMinimum(most, search, x, at + 32 * g, 32 * g);
            minima[g] = minimum;
            maxScale = Math.max(maxScale, scales[g]);
            maxMinimum = Math.max(maxMinimum, minima[g]);
        }
        float toScale = maxScale > 0 ? 63 / maxScale : 0, toMinimum = maxMinimum > 0 ? 63 / maxMinimum : 0;
        short d = half(maxScale / 63), dmin = half(maxMinimum / 63);
        to.set(SHORT, byteAt, d);
        to.set(SHORT, byteAt + 2, dmin);
        to.asSlice(byteAt + 4, 12).fill((byte) 0);
        for (int g = 0; g < 8; g++) {
            int s = Math.min(63, nearest(toScale * scales[g])), m = Math.min(63, nearest(toMinimum * minima[g]));
            putScale(to, byteAt + 4, g, s, m);
            float scale = Float.float16ToFloat(d) * s, less = Float.float16ToFloat(dmin) * m;
            for (int i = 32 * g; scale != 0 && i < 32 * g + 32; i++) {
                codes[i] = Math.clamp(nearest((x[at + i] + less) / scale), 0, most);
            }
        }
        long nibbles = byteAt + 16;
        if (most == 31) {
            for (int i = 0; i < 32; i++) {
                int fifths = 0;
                for (int g = 0; g < 8; g++) {
                    fifths |= codes[32 * g + i] >> 4 << g;
                }
                to.set(BYTE, nibbles + i, (byte) fifths);
            }
            nibbles += 32;
        }
        for (int g = 0; g < 8; g += 2) {
            for (int i = 0; i < 32; i++) {
                int low = codes[32 * g + i] & 15, high = codes[32 * g + 32 + i] & 15;
                to.set(BYTE, nibbles + 16 * g + i, (byte) (low | high << 4));
            }
        }
    }

    /** Scale and minimum of group g in the 12 bytes that all share: 6 bits each, the last four groups' upper two apart. */
    private static void putScale(MemorySegment to, long at, int g, int s, int m) {
        if (g < 4) {
            or(to, at + g, s);
            or(to, at + g + 4, m);
        } else {
            or(to, at + g + 4, s & 15 | (m & 15) << 4);
            or(to, at + g - 4, s >> 4 << 6);
            or(to, at + g, m >> 4 << 6);
        }
    }

    private static void or(MemorySegment to, long at, int bits) {
        to.set(BYTE, at, (byte) (to.get(BYTE, at) | bits));
    }

    /**
     * The scale of 32 numbers as codes 0 .. most times a scale, less a {@link #minimum}. A number weighs as much as it is large, and
     * none less than the root mean square.
     */
    private float scaleAndMinimum(int most, Search search, float[] x, int at, int to) {
        float min = 0, max = x[at], squares = 0;
        for (int i = 0; i < 32; i++) {
            min = Math.min(min, x[at + i]);
            max = Math.max(max, x[at + i]);
            squares += x[at + i] * x[at + i];
        }
        float rms = (float) Math.sqrt(squares / 32), sumW = 0, sumX = 0;
        for (int i = 0; i < 32; i++) {
            weights[i] = rms + Math.abs(x[at + i]);
            sumW += weights[i];
            sumX += weights[i] * x[at + i];
        }
        minimum = -min;
        float span = max - min;
        if (span == 0) {
            Arrays.fill(codes, to, to + 32, 0);
            return 0;
        }
        float scale = 1 / (most / span);
        round(most / span, min, most, x, at);
        System.arraycopy(trial, 0, codes, to, 32);
        float best = error(scale, min, x, at);
        for (int step = 0; step <= search.steps; step++) {
            // a candidate begins where the best one so far does
            round((search.first + search.step * step + most) / (max - min), min, most, x, at);
            Fit fit = fit(sumW, sumX, x, at);
            float error = fit == null ? best : error(fit.scale, fit.min, x, at);
            if (error < best) {
                System.arraycopy(trial, 0, codes, to, 32);
                best = error;
                scale = fit.scale;
                min = fit.min;
            }
        }
        minimum = -min;
        return scale;
    }

    /** Codes of 32 numbers. */
    private void round(float inverse, float min, int most, float[] x, int at) {
        for (int i = 0; i < 32; i++) {
            trial[i] = Math.clamp(nearest(inverse * (x[at + i] - min)), 0, most);
        }
    }

    private record Fit(float scale, float min) {}

    /** The weighted least squares fit of scale and min to 32 codes, min not above zero; null if all codes are equal. */
    private Fit fit(float sumW, float sumX, float[] x, int at) {
        float sumL = 0, sumLL = 0, sumXL = 0;
        for (int i = 0; i < 32; i++) {
            sumL += weights[i] * trial[i];
            sumLL += weights[i] * trial[i] * trial[i];
            sumXL += weights[i] * trial[i] * x[at + i];
        }
        float determinant = sumW * sumLL - sumL * sumL;
        if (determinant <= 0) {
            return null;
        }
        float min = (sumLL * sumX - sumL * sumXL) / determinant;
        return min > 0 ? new Fit(sumXL / sumLL, 0) : new Fit((sumW * sumXL - sumX * sumL) / determinant, min);
    }

    /** Weighted squares of what 32 codes miss. */
    private float error(float scale, float min, float[] x, int at) {
        float sum = 0;
        for (int i = 0; i < 32; i++) {
            float miss = scale * trial[i] + min - x[at + i];
            sum += weights[i] * miss * miss;
        }
        return sum;
    }

    // ---------------------------------------------------------------- Q6_K

    /** 16 groups of 16, each d s (q - 32) with 8 bits for s. */
    private void q6(float[] x, int at, MemorySegment to, long byteAt) {
        float[] scales = new float[16];
        float largest = 0;
        for (int g = 0; g < 16; g++) {
            scales[g] = symmetricScale(x, at + 16 * g, 16 * g);
            largest = Math.abs(scales[g]) > Math.abs(largest) ? scales[g] : largest;
        }
        to.asSlice(byteAt, 210).fill((byte) 0);
        if (Math.abs(largest) < TINY) {
            return;
        }
        float toScale = -128 / largest;
        short d = half(1 / toScale);
        to.set(SHORT, byteAt + 208, d);
        for (int g = 0; g < 16; g++) {
            int s = Math.min(127, nearest(toScale * scales[g]));
            to.set(BYTE, byteAt + 192 + g, (byte) s);
            float scale = Float.float16ToFloat(d) * s;
            for (int i = 16 * g; scale != 0 && i < 16 * g + 16; i++) {
                codes[i] = Math.clamp(nearest(x[at + i] / scale), -32, 31) + 32;
            }
        }
        for (int h = 0; h < 2; h++) {
            for (int i = 0; i < 32; i++) {
                int from = 128 * h + i;
                int q0 = codes[from], q1 = codes[from + 32], q2 = codes[from + 64], q3 = codes[from + 96];
                to.set(BYTE, byteAt + 64 * h + i, (byte) (q0 & 15 | (q2 & 15) << 4));
                to.set(BYTE, byteAt + 64 * h + 32 + i, (byte) (q1 & 15 | (q3 & 15) << 4));
                int upper = q0 >> 4 | q1 >> 4 << 2 | q2 >> 4 << 4 | q3 >> 4 << 6;
                to.set(BYTE, byteAt + 128 + 32 * h + i, (byte) upper);
            }
        }
    }

    /** The scale of 16 numbers as codes -32 .. 31; a number weighs its square. */
    private float symmetricScale(float[] x, int at, int to) {
        float largest = 0;
        for (int i = 0; i < 16; i++) {
            largest = Math.abs(x[at + i]) > Math.abs(largest) ? x[at + i] : largest;
        }
        if (Math.abs(largest) < TINY) {
            Arrays.fill(codes, to, to + 16, 32);
            return 0;
        }
        float scale = 0, best = -1;
        for (int step : STEPS) {
            float inverse = -(32 + 0.1f * step) / largest, sumXL = 0, sumLL = 0;
            for (int i = 0; i < 16; i++) {
                float w = x[at + i] * x[at + i];
                trial[i] = Math.clamp(nearest(inverse * x[at + i]), -32, 31);
                sumXL += w * x[at + i] * trial[i];
                sumLL += w * trial[i] * trial[i];
            }
            boolean better = best < 0 || sumLL > 0 && sumXL * sumXL > best * sumLL;
            if (better) {
                scale = sumLL > 0 ? sumXL / sumLL : 0;
                best = scale * sumXL;
                for (int i = 0; i < 16; i++) {
                    codes[to + i] = trial[i] + 32;
                }
            }
        }
        return scale;
    }

    /** To the nearest integer, halves to the even one. */
    private static int nearest(float x) {
        return (int) Math.rint(x);
    }
}
