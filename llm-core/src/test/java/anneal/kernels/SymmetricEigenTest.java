package anneal.kernels;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Random;
import java.util.function.IntBinaryOperator;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Against what eigenvectors are, against LAPACK, and against matrices whose eigenvalues are known. */
class SymmetricEigenTest {
    private final Arena arena = Arena.ofAuto();

    private MemorySegment floats(long count) {
        return arena.allocate(4 * count, 64);
    }

    private float[] values(MemorySegment s) {
        return s.toArray(JAVA_FLOAT);
    }

    /** Numbers of very different sizes in rows and columns, so that eigenvalues are far apart. */
    private MemorySegment random(int n) {
        Random random = new Random(n);
        MemorySegment a = floats((long) n * n);
        for (int i = 0; i < n; i++) {
            for (int j = 0; j <= i; j++) {
                float x = (float) (random.nextGaussian() * Math.exp(-0.05 * (i + j)));
                a.setAtIndex(JAVA_FLOAT, (long) i * n + j, x);
                a.setAtIndex(JAVA_FLOAT, (long) j * n + i, x);
            }
        }
        return a;
    }

    private MemorySegment matrix(int n, IntBinaryOperator entry) {
        MemorySegment a = floats((long) n * n);
        for (int i = 0; i < n * n; i++) {
            a.setAtIndex(JAVA_FLOAT, i, entry.applyAsInt(i / n, i % n));
        }
        return a;
    }

    private float[] check(MemorySegment a, int n) {
        MemorySegment values = floats(n), vectors = floats((long) n * n);
        SymmetricEigen.run(values, vectors, a, n);
        float[] w = values(values), v = values(vectors), numbers = values(a);
        double norm = 0;
        for (float x : numbers) {
            norm = Math.max(norm, Math.abs(x));
        }
        for (int i = 0; i < n; i++) {
            for (int j = 0; j < n; j++) {
                double product = 0, back = 0;
                for (int k = 0; k < n; k++) {
                    product += (double) v[k * n + i] * v[k * n + j];
                    back += (double) v[i * n + k] * w[k] * v[j * n + k];
                }
                assertThat(product).as("vectors %d and %d", i, j).isCloseTo(i == j ? 1 : 0, within(1e-6));
                assertThat(back).as("[%d, %d]", i, j).isCloseTo(numbers[i * n + j], within(1e-6 * n * norm));
            }
            assertThat(i == 0 ? w[0] : w[i - 1]).isLessThanOrEqualTo(w[i]);
        }
        return w;
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3, 5, 33, 130})
    void valuesAreLapacksAndVectorsMakeTheMatrix(int n) {
        MemorySegment a = random(n);
        float[] found = check(a, n);
        MemorySegment values = floats(n);
        Nd4jLapack.eigSymmetric(values, floats((long) n * n), a, n);
        float[] expected = values(values);
        for (int i = 0; i < n; i++) {
            assertThat(found[i])
                    .isCloseTo(expected[i], within(1e-6f * Math.max(Math.abs(expected[0]), expected[n - 1])));
        }
    }

    @Test
    void equalAndVanishingEigenvaluesAreFound() {
        assertThat(check(matrix(7, (i, j) -> 0), 7)).containsOnly(0);
        assertThat(check(matrix(6, (i, j) -> i == j ? 3 : 0), 6)).containsOnly(3);
        float[] ones = check(matrix(40, (i, j) -> 1), 40);
        assertThat(ones[39]).isCloseTo(40, within(1e-4f));
        assertThat(ones[38]).isCloseTo(0, within(1e-5f));
        float[] chain = check(matrix(50, (i, j) -> i == j ? 2 : Math.abs(i - j) == 1 ? -1 : 0), 50);
        for (int k = 0; k < 50; k++) {
            assertThat(chain[k]).isCloseTo((float) (2 - 2 * Math.cos((k + 1) * Math.PI / 51)), within(1e-5f));
        }
    }

    @Test
    void doesNotDependOnTheNumberOfThreads() {
        int n = 150, before = Parallel.threads();
        MemorySegment a = random(n);
        MemorySegment[] vectors = {floats((long) n * n), floats((long) n * n)};
        try {
            for (int threads = 1; threads <= 2; threads++) {
                Parallel.threads(threads);
                SymmetricEigen.run(floats(n), vectors[threads - 1], a, n);
            }
        } finally {
            Parallel.threads(before);
        }
        assertThat(vectors[0].mismatch(vectors[1])).isEqualTo(-1);
    }
}
