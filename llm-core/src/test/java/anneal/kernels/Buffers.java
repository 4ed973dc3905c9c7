package anneal.kernels;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static org.assertj.core.api.Assertions.assertThat;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;

/**
 * Native buffers for one test, each between two runs of guard words that a kernel must not touch.
 *
 * <p>The guards are NaNs of a pattern that no arithmetic makes, so that reading past the end shows as well as writing.
 */
final class Buffers implements AutoCloseable {
    private static final int GUARD = 0x7fc0abcd, GUARDS = 32;

    private final Arena arena = Arena.ofShared();
    private final List<MemorySegment> whole = new ArrayList<>();

    /** n floats, all {@code value}. */
    MemorySegment filled(long n, float value) {
        MemorySegment all = arena.allocate(4 * (n + 2 * GUARDS), 64);
        for (long i = 0; i < n + 2 * GUARDS; i++) {
            all.setAtIndex(JAVA_INT, i, GUARD);
        }
        whole.add(all);
        MemorySegment s = all.asSlice(4L * GUARDS, 4 * n);
        for (long i = 0; i < n; i++) {
            s.setAtIndex(JAVA_FLOAT, i, value);
        }
        return s;
    }

    MemorySegment of(float... values) {
        MemorySegment s = filled(values.length, 0);
        MemorySegment.copy(values, 0, s, JAVA_FLOAT, 0, values.length);
        return s;
    }

    /** n normal numbers times {@code scale}. */
    MemorySegment normal(Random random, long n, double scale) {
        MemorySegment s = filled(n, 0);
        for (long i = 0; i < n; i++) {
            s.setAtIndex(JAVA_FLOAT, i, (float) (random.nextGaussian() * scale));
        }
        return s;
    }

    MemorySegment copy(MemorySegment from) {
        return of(floats(from));
    }

    static float[] floats(MemorySegment s) {
        return s.toArray(JAVA_FLOAT);
    }

    static double[] doubles(MemorySegment s) {
        double[] d = new double[(int) (s.byteSize() / 4)];
        for (int i = 0; i < d.length; i++) {
            d[i] = s.getAtIndex(JAVA_FLOAT, i);
        }
        return d;
    }

    /** Fails if a word outside a buffer changed. */
    void assertGuards() {
        for (MemorySegment all : whole) {
            long n = all.byteSize() / 4;
            for (long i = 0; i < GUARDS; i++) {
                assertThat(all.getAtIndex(JAVA_INT, i))
                        .as("guard before a buffer")
                        .isEqualTo(GUARD);
                assertThat(all.getAtIndex(JAVA_INT, n - 1 - i))
                        .as("guard behind a buffer")
                        .isEqualTo(GUARD);
            }
        }
    }

    /**
     * Compares with a tolerance relative to the larger of the expected value and {@code floor}.
     *
     * @return the worst ratio of difference to allowed difference
     */
    static double assertClose(String what, MemorySegment got, double[] expected, double relative, double floor) {
        double worst = 0;
        for (int i = 0; i < expected.length; i++) {
            double x = got.getAtIndex(JAVA_FLOAT, i), e = expected[i];
            if (Double.isNaN(e) || Double.isInfinite(e)) {
                assertThat((double) (float) x).as("%s[%d]", what, i).isEqualTo(e);
                continue;
            }
            double allowed = relative * Math.max(Math.abs(e), floor);
            if (!(Math.abs(x - e) <= allowed)) {
                throw new AssertionError(what + "[" + i + "] is " + x + ", expected " + e + " within " + allowed);
            }
            worst = Math.max(worst, Math.abs(x - e) / allowed);
        }
        return worst;
    }

    @Override
    public void close() {
        arena.close();
    }
}
