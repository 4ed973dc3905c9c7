package anneal.kernels;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static org.assertj.core.api.Assertions.assertThat;

import anneal.kernels.emit.Level;
import anneal.kernels.emit.RowProducts;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The contract at every level of the processor; levels that the machine does not have are skipped. */
class EmittedKernelsTest {
    @Nested
    class Avx2 extends AtLevel {
        Avx2() {
            super(Level.AVX2);
        }
    }

    @Nested
    class Avx512 extends AtLevel {
        Avx512() {
            super(Level.AVX512);
        }
    }

    @Nested
    class Avx512Bf16 extends AtLevel {
        Avx512Bf16() {
            super(Level.AVX512_BF16);
        }
    }

    @Nested
    class Amx extends AtLevel {
        Amx() {
            super(Level.AMX);
        }
    }

    abstract static class AtLevel extends KernelsContract {
        private final Kernels emitted;

        AtLevel(Level level) {
            emitted = Emitted.at(level);
        }

        @Override
        Kernels kernels() {
            return emitted;
        }

        /** Close to the product with floats, the same bits for any number of threads, and each row as if it were alone. */
        @ParameterizedTest
        @EnumSource(RowProducts.Layout.class)
        void eightBits(RowProducts.Layout layout) {
            Kernels eight = emitted.in(Compute.INT8);
            int n = 1203, k = 1280;
            Random random = new Random(6);
            try (Buffers buffers = new Buffers();
                    Arena arena = Arena.ofShared()) {
                Matrix w =
                        new BlockMatrix(blocks(arena, layout, n * k, random), n, k, BlockFormat.valueOf(layout.name()));
                MemorySegment x = buffers.normal(random, 8L * k, 1);
                float[] alone = new float[8 * n];
                for (int i = 0; i < 8; i++) {
                    MemorySegment y = buffers.filled(n, 0);
                    eight.matmulT(y, x.asSlice(4L * i * k), w, 1, 1, false);
                    System.arraycopy(Buffers.floats(y), 0, alone, i * n, n);
                }
                for (int m = 1; m <= 8; m++) {
                    Parallel.threads(1 + m % 3);
                    MemorySegment y = buffers.filled((long) m * n, 0), exact = buffers.filled((long) m * n, 0);
                    eight.matmulT(y, x, w, m, 1, false);
                    emitted.matmulT(exact, x, w, m, 1, false);
                    assertThat(Buffers.floats(y)).isEqualTo(Arrays.copyOf(alone, m * n));
                    assertThat(distance(Buffers.floats(y), Buffers.floats(exact)))
                            .isBetween(1e-4, 0.02);
                }
                buffers.assertGuards();
            }
        }

        /** |a - b| / |b|. */
        private static double distance(float[] a, float[] b) {
            double difference = 0, size = 0;
            for (int i = 0; i < a.length; i++) {
                difference += Math.pow(a[i] - b[i], 2);
                size += Math.pow(b[i], 2);
            }
            return Math.sqrt(difference / size);
        }

        private static MemorySegment blocks(Arena arena, RowProducts.Layout layout, int numbers, Random random) {
            byte[] bytes = new byte[numbers / layout.size() * layout.bytes()];
            random.nextBytes(bytes);
            MemorySegment s = arena.allocate(bytes.length);
            MemorySegment.copy(bytes, 0, s, JAVA_BYTE, 0, bytes.length);
            int[] halves = switch (layout) {
                case Q4_0, Q5_0, Q8_0 -> new int[] {0};
                case Q4_1, Q5_1, Q4_K, Q5_K -> new int[] {0, 2};
                case Q6_K -> new int[] {208};
            };
            for (long at = 0; at < bytes.length; at += layout.bytes()) {
                for (int half : halves) {
                    s.set(LittleEndian.SHORT, at + half, Float.floatToFloat16((float) random.nextGaussian()));
                }
            }
            return s;
        }
    }
}
