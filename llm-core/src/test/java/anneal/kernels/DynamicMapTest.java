package anneal.kernels;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Random;
import org.junit.jupiter.api.Test;

class DynamicMapTest {
    private static final DynamicMap[] MAPS = {DynamicMap.SIGNED, DynamicMap.UNSIGNED};

    @Test
    void everyValueHasItsOwnCode() {
        for (DynamicMap map : MAPS) {
            for (int code = 0; code < 256; code++) {
                float value = map.value(code);
                if (value == 0 || Math.abs(value) > 1e-4f) {
                    boolean lowest = map == DynamicMap.UNSIGNED && value == 0;
                    assertThat(map.code(value)).as("code of %s", value).isEqualTo(lowest ? 7 : code);
                }
            }
            assertThat(map.value(255)).isOne();
        }
    }

    @Test
    void givesTheNearestValue() {
        Random random = new Random(1);
        for (DynamicMap map : MAPS) {
            for (int i = 0; i < 20_000; i++) {
                float x = map == DynamicMap.SIGNED ? 2 * random.nextFloat() - 1 : random.nextFloat();
                double have = Math.abs(x - map.value(map.code(x)));
                double best = Double.MAX_VALUE;
                for (float value : map.values()) {
                    best = Math.min(best, Math.abs(x - value));
                }
                // A point of the grid is at most 1/65535 away, so the distance to the value of the point is at most
                // twice that more.
                assertThat(have).as("distance of %s", x).isLessThanOrEqualTo(best + 2.0 / 65_535);
            }
        }
    }

    @Test
    void zeroStaysZeroAndSmallNumbersKeepTheirSign() {
        DynamicMap map = DynamicMap.SIGNED;
        assertThat(map.value(map.code(0f))).isZero();
        assertThat(map.value(map.code(-0f))).isZero();
        assertThat(map.value(map.code(1e-9f))).isPositive();
        assertThat(map.value(map.code(-1e-6f))).isNegative();
    }

    /** Blocks of 100 in 777 numbers, some of them all zero, denormal, infinite or no numbers. */
    @Test
    void blocksComeBackWithinTheirScale() {
        int n = 777, block = 100;
        float[] x = new float[n];
        Random random = new Random(2);
        for (int i = 0; i < n; i++) {
            x[i] = (float) (random.nextGaussian() * (i < 100 ? 0 : i < 200 ? 1e-40 : 5));
        }
        x[250] = Float.NaN;
        x[350] = Float.POSITIVE_INFINITY;
        try (Arena arena = Arena.ofShared()) {
            MemorySegment from = arena.allocateFrom(ValueLayout.JAVA_FLOAT, x), to = arena.allocate(4 * n + 4);
            MemorySegment codes = arena.allocate(n + 1), scales = arena.allocate(4 * 8);
            to.setAtIndex(ValueLayout.JAVA_FLOAT, n, 42);
            codes.set(ValueLayout.JAVA_BYTE, n, (byte) 42);
            DynamicMap.SIGNED.quantize(codes, scales, from, n, block);
            DynamicMap.SIGNED.dequantize(to, codes, scales, n, block);
            float[] y = to.toArray(ValueLayout.JAVA_FLOAT);
            assertThat(y[n]).isEqualTo(42);
            assertThat(codes.get(ValueLayout.JAVA_BYTE, n)).isEqualTo((byte) 42);
            for (int i = 0; i < n; i++) {
                float scale = scales.getAtIndex(ValueLayout.JAVA_FLOAT, i / block);
                if (i / block == 2) {
                    assertThat(y[i]).as("in the block of a NaN").isNaN();
                } else if (i / block != 3) {
                    assertThat(Math.abs(y[i] - x[i])).as("number %d", i).isLessThanOrEqualTo(0.0071f * scale);
                }
            }
            assertThat(y[350]).isInfinite();
        }
    }
}
