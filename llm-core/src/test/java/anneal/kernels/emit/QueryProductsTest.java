package anneal.kernels.emit;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Random;
import java.util.function.IntToDoubleFunction;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Emitted products of one query over random shapes, with forbidden pages round every buffer, against plain loops. */
class QueryProductsTest {
    private final Arena arena = Arena.ofShared();
    private final Random random = new Random(4);

    @BeforeAll
    static void needed() {
        assumeTrue(CpuFeatures.obstacle() == null, "no emitted code here: " + CpuFeatures.obstacle());
    }

    @AfterEach
    void close() {
        arena.close();
    }

    private MemorySegment normal(Arena own, long n, boolean behind) {
        MemorySegment s = GuardedMemory.allocate(own, 4 * n, behind);
        for (long i = 0; i < n; i++) {
            s.setAtIndex(JAVA_FLOAT, i, (float) random.nextGaussian());
        }
        return s;
    }

    @ParameterizedTest
    @ValueSource(ints = {8, 16, 64, 80, 96, 104, 128, 256})
    void everyShape(int dim) {
        QueryProducts products = new QueryProducts(dim, arena);
        for (int round = 0; round < 60; round++) {
            int n = round < 10 ? round + 1 : random.nextInt(1, 70), row = dim * random.nextInt(1, 4);
            boolean behind = round % 2 == 0;
            try (Arena own = Arena.ofShared()) {
                MemorySegment rows = normal(own, (long) row * (n - 1) + dim, behind);
                MemorySegment query = normal(own, dim, behind), weights = normal(own, n, behind);
                MemorySegment scores = normal(own, n, behind), out = normal(own, dim, behind);
                products.dots(scores, query, rows, 4L * row, n);
                products.weigh(out, weights, rows, 4L * row, n);
                for (int i = 0; i < n; i++) {
                    long key = (long) row * i;
                    check(scores, i, dim, c -> (double) at(query, c) * at(rows, key + c));
                }
                for (int c = 0; c < dim; c++) {
                    int column = c;
                    check(out, c, n, j -> (double) at(weights, j) * at(rows, (long) row * j + column));
                }
            }
        }
    }

    private static float at(MemorySegment s, long i) {
        return s.getAtIndex(JAVA_FLOAT, i);
    }

    private static void check(MemorySegment got, int i, int terms, IntToDoubleFunction term) {
        double sum = 0, size = 0;
        for (int j = 0; j < terms; j++) {
            sum += term.applyAsDouble(j);
            size += Math.abs(term.applyAsDouble(j));
        }
        double tolerance = 0x1p-24 * (4 + Math.sqrt(terms)) * size;
        assertThat((double) at(got, i)).as("number %d", i).isBetween(sum - tolerance, sum + tolerance);
    }

    @Test
    void aKeyHasTheSameScoreWhereverItStands() {
        QueryProducts products = new QueryProducts(64, arena);
        MemorySegment query = normal(arena, 64, true),
                key = normal(arena, 64, true),
                keys = normal(arena, 7 * 64, true);
        for (int i = 0; i < 7; i++) {
            MemorySegment.copy(key, 0, keys, 256L * i, 256);
        }
        MemorySegment scores = normal(arena, 7, true);
        products.dots(scores, query, keys, 256, 7);
        for (int i = 1; i < 7; i++) {
            assertThat(at(scores, i)).isEqualTo(at(scores, 0));
        }
    }

    @Test
    void whatIsNotFiniteStaysInItsPlace() {
        QueryProducts products = new QueryProducts(16, arena);
        MemorySegment query = normal(arena, 16, true), rows = normal(arena, 5 * 16, true), to = normal(arena, 16, true);
        rows.setAtIndex(JAVA_FLOAT, 2 * 16 + 3, Float.NaN);
        products.dots(to, query, rows, 64, 5);
        for (int i = 0; i < 5; i++) {
            assertThat(Float.isNaN(at(to, i))).isEqualTo(i == 2);
        }
        products.weigh(to, normal(arena, 5, true), rows, 64, 5);
        for (int c = 0; c < 16; c++) {
            assertThat(Float.isNaN(at(to, c))).isEqualTo(c == 3);
        }
    }

    @Test
    void whatIsTooShortIsRefusedBeforeTheCall() {
        QueryProducts products = new QueryProducts(16, arena);
        MemorySegment enough = arena.allocate(4096), little = arena.allocate(8);
        for (int which = 0; which < 3; which++) {
            MemorySegment[] s = {enough, enough, enough};
            s[which] = little;
            assertThatThrownBy(() -> products.dots(s[0], s[1], s[2], 64, 5))
                    .isInstanceOf(IndexOutOfBoundsException.class);
            assertThatThrownBy(() -> products.weigh(s[0], s[1], s[2], 64, 5))
                    .isInstanceOf(IndexOutOfBoundsException.class);
        }
        assertThatThrownBy(() -> products.dots(enough, enough, enough, -64, 5))
                .hasMessage("emit: 5 rows, -64 bytes apart");
        assertThatThrownBy(() -> new QueryProducts(20, arena))
                .hasMessage("emit: a head of 20 numbers is no multiple of 8");
    }
}
