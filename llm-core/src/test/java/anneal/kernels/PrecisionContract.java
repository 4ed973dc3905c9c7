package anneal.kernels;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static org.assertj.core.api.Assertions.assertThat;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** What every tier must do besides products of floats: rounding of operands, products of bytes, and the choice of precision. */
abstract class PrecisionContract {
    abstract Kernels kernels();

    /** Numbers of all magnitudes, subnormal ones, ties, and what is no number. */
    private static float[] oddFloats(int n) {
        Random random = new Random(2);
        float[] x = new float[n];
        for (int i = 0; i < n; i++) {
            x[i] = switch (i % 4) {
                case 0 -> (float) random.nextGaussian();
                case 1 -> Float.intBitsToFloat(random.nextInt() & 0xBFFF8000); // ties and neighbours of bfloat16
                case 2 -> Float.intBitsToFloat(random.nextInt(1 << 24)); // subnormal
                default -> Float.intBitsToFloat(random.nextInt());
            };
        }
        float[] special = {0f, -0f, Float.MAX_VALUE, -Float.MAX_VALUE, 1f / 0, -1f / 0, Float.NaN, Float.MIN_VALUE};
        System.arraycopy(special, 0, x, 0, Math.min(n, special.length));
        return x;
    }

    @Test
    void bfloatsAreTheNearestAndTiesGoToEven() {
        for (int n : new int[] {0, 1, 7, 8, 9, 31, 100, 1 << 15, (1 << 17) + 3}) {
            float[] x = oddFloats(n), expected = Operands.bfloats(x);
            float[] got = Operands.round(kernels(), x, Compute.BF16);
            assertThat(Arrays.mismatch(got, expected)).as("%d floats", n).isEqualTo(-1);
            assertThat(Operands.round(kernels(), got, Compute.BF16))
                    .as("rounded twice")
                    .isEqualTo(got);
        }
        // A NaN whose payload is in the lower half only must not become an infinity.
        assertThat(Operands.round(kernels(), new float[] {Float.intBitsToFloat(0x7F800001)}, Compute.BF16))
                .containsExactly(Float.NaN);
    }

    /** What is no number goes its way through products of bfloat16; subnormal operands may count as 0. */
    @Test
    void oddNumbersInBfloatProducts() {
        int m = 23, n = 37, k = 41;
        float[] odd = {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY, Float.MIN_VALUE, -1e-40f, 0};
        Random random = new Random(12);
        try (Buffers buffers = new Buffers()) {
            MemorySegment x = buffers.normal(random, (long) m * k, 1), w = buffers.normal(random, (long) n * k, 1);
            for (int i = 0; i < 12; i++) {
                x.setAtIndex(JAVA_FLOAT, random.nextInt(m * k), odd[i % odd.length]);
            }
            MemorySegment y = buffers.filled((long) m * n, 0);
            kernels().in(Compute.BF16).matmulT(y, x, new F32Matrix(w, n, k), m, 1, false);
            buffers.assertGuards();
            float[] a = Operands.bfloats(Buffers.floats(x)), b = Operands.bfloats(Buffers.floats(w));
            for (int i = 0; i < m * n; i++) {
                double sum = 0, size = 0;
                for (int c = 0; c < k; c++) {
                    double product = (double) a[i / n * k + c] * b[i % n * k + c];
                    sum += product;
                    size += Math.abs(product);
                }
                float got = y.getAtIndex(JAVA_FLOAT, i);
                boolean same = Double.isFinite(sum)
                        ? Math.abs(got - sum) <= 1e-6 * size
                        : got == sum || sum != sum && got != got;
                assertThat(same).as("%d: %s, expected %s", i, got, sum).isTrue();
            }
        }
    }

    @Test
    void bytesOf32NumbersShareAScale() {
        for (int n : new int[] {0, 32, 64, 1 << 15, (1 << 17) + 32}) {
            Random random = new Random(n);
            float[] x = new float[n];
            for (int i = 0; i < n; i++) {
                x[i] = i % 96 < 32 ? i % 255 - 127 : (float) (random.nextGaussian() * Math.pow(2, i / 32 % 60 - 30));
                x[i] += i % 96 < 32 && i % 3 == 0 ? 0.5f : 0; // with the 127 beside them: ties
            }
            float[] expected = Operands.int8(x), got = Operands.round(kernels(), x, Compute.INT8);
            for (int i = 0; i < n; i++) {
                assertThat(got[i] == expected[i])
                        .as("%d: %s became %s, expected %s", i, x[i], got[i], expected[i])
                        .isTrue();
            }
        }
        float[] blocks = new float[4 * 32];
        blocks[0] = Float.NaN;
        blocks[40] = Float.NEGATIVE_INFINITY;
        blocks[64] = Float.MIN_VALUE;
        float[] got = Operands.round(kernels(), blocks, Compute.INT8);
        assertThat(Arrays.copyOf(got, 64)).containsOnly(Float.NaN);
        assertThat(Arrays.copyOfRange(got, 64, 128)).containsOnly(0f);
    }

    @Test
    void f32StaysAsItIs() {
        float[] x = oddFloats(77);
        assertThat(Operands.round(kernels(), x, Compute.F32)).isEqualTo(x);
        assertThat(kernels().in(Compute.F32)).isSameAs(kernels());
        assertThat(kernels().in(Compute.BF16).in(Compute.F32)).isSameAs(kernels());
    }

    /** m, n, k; the last ones are as deep as 32 bits allow. */
    static Stream<int[]> bytes() {
        return Stream.of(
                new int[] {0, 3, 4},
                new int[] {3, 0, 4},
                new int[] {3, 4, 0},
                new int[] {1, 1, 1},
                new int[] {1, 37, 100},
                new int[] {8, 9, 33},
                new int[] {13, 35, 64},
                new int[] {41, 17, 1024},
                new int[] {30, 34, 1025},
                new int[] {9, 70, 4100},
                new int[] {100, 66_000, 3},
                new int[] {1, 2, (1 << 17) - 1},
                new int[] {10, 3, (1 << 17) - 1});
    }

    @ParameterizedTest
    @MethodSource("bytes")
    void productsOfBytesAreExact(int[] s) {
        int m = s[0], n = s[1], k = s[2];
        Random random = new Random(9);
        byte[] a = new byte[m * k], b = new byte[n * k];
        random.nextBytes(a);
        random.nextBytes(b);
        checkBytes(s, a, b);
        Arrays.fill(a, Byte.MIN_VALUE);
        for (byte extreme : new byte[] {Byte.MIN_VALUE, Byte.MAX_VALUE}) {
            Arrays.fill(b, extreme);
            checkBytes(s, a, b);
        }
    }

    private void checkBytes(int[] s, byte[] a, byte[] b) {
        int m = s[0], n = s[1], k = s[2];
        try (Buffers buffers = new Buffers()) {
            MemorySegment y = buffers.filled((long) m * n, 5f), x = bytes(buffers, a), w = bytes(buffers, b);
            kernels().matmulTInt8(y, x, w, m, n, k);
            buffers.assertGuards();
            for (int i = 0; i < m; i++) {
                for (int j = 0; j < n; j++) {
                    int sum = 0;
                    for (int c = 0; c < k; c++) {
                        sum += a[i * k + c] * b[j * k + c];
                    }
                    if (y.getAtIndex(JAVA_INT, (long) i * n + j) != sum) {
                        throw new AssertionError("%s: [%d, %d] is %d, expected %d"
                                .formatted(Arrays.toString(s), i, j, y.getAtIndex(JAVA_INT, (long) i * n + j), sum));
                    }
                }
            }
        }
    }

    /** Bytes between guards, at an odd address. */
    private static MemorySegment bytes(Buffers buffers, byte[] values) {
        MemorySegment s = buffers.filled(values.length / 4 + 2, 0).asSlice(1, values.length);
        MemorySegment.copy(values, 0, s, JAVA_BYTE, 0, values.length);
        return s;
    }
}
