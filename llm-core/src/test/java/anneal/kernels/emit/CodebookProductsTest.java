package anneal.kernels.emit;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Emitted products of codebook rows over random shapes, with forbidden pages round every buffer, against plain loops. */
class CodebookProductsTest {
    @BeforeAll
    static void needed() {
        assumeTrue(CpuFeatures.obstacle() == null, "no emitted code here: " + CpuFeatures.obstacle());
    }

    static Stream<Level> levels() {
        return Level.available().stream();
    }

    /** Random matrices, each number with its plain value. */
    private record Case(
            MemorySegment codes,
            MemorySegment scales,
            MemorySegment table,
            MemorySegment x,
            int rows,
            int k,
            int block) {
        static Case random(Arena arena, Random random, int rows, int blocks, int block, boolean behind) {
            int k = blocks * block;
            MemorySegment codes = GuardedMemory.allocate(arena, (long) rows * k / 2, behind);
            byte[] bytes = new byte[rows * k / 2];
            random.nextBytes(bytes);
            MemorySegment.copy(bytes, 0, codes, JAVA_BYTE, 0, bytes.length);
            MemorySegment table = GuardedMemory.allocate(arena, 64, behind);
            CodebookProducts.table(
                    table,
                    IntStream.range(0, 16)
                            .mapToObj(i -> (float) random.nextGaussian())
                            .toList());
            return new Case(
                    codes,
                    normal(arena, random, rows * blocks, behind),
                    table,
                    normal(arena, random, k, behind),
                    rows,
                    k,
                    block);
        }

        private static MemorySegment normal(Arena arena, Random random, int n, boolean behind) {
            MemorySegment s = GuardedMemory.allocate(arena, 4L * n, behind);
            for (int i = 0; i < n; i++) {
                s.setAtIndex(JAVA_FLOAT, i, (float) random.nextGaussian());
            }
            return s;
        }

        double term(int row, int i) {
            int at = row * k + i, both = codes.get(JAVA_BYTE, at / 2);
            int code = at % 2 == 0 ? both >> 4 & 15 : both & 15;
            return (double) scales.getAtIndex(JAVA_FLOAT, at / block)
                    * table.getAtIndex(JAVA_FLOAT, code)
                    * x.getAtIndex(JAVA_FLOAT, i);
        }

        float[] multiply(CodebookProducts product, Arena arena, boolean behind) {
            MemorySegment y = GuardedMemory.allocate(arena, 4L * rows, behind);
            product.multiply(y, new CodebookProducts.Rows(codes, scales, table, block), x, rows, k);
            return y.toArray(JAVA_FLOAT);
        }
    }

    @ParameterizedTest
    @MethodSource("levels")
    void everyShape(Level level) {
        try (Arena all = Arena.ofShared()) {
            CodebookProducts product = new CodebookProducts(level, all);
            Random random = new Random(8);
            for (int round = 0; round < 120; round++) {
                boolean behind = round % 2 == 0;
                int block = 32 << random.nextInt(0, 8), blocks = random.nextInt(0, 2 + 1024 / block);
                try (Arena arena = Arena.ofShared()) {
                    Case c = Case.random(arena, random, random.nextInt(0, 9), blocks, block, behind);
                    check(c, c.multiply(product, arena, behind));
                }
            }
        }
    }

    private static void check(Case c, float[] y) {
        for (int j = 0; j < c.rows; j++) {
            double sum = 0, size = 0;
            for (int i = 0; i < c.k; i++) {
                sum += c.term(j, i);
                size += Math.abs(c.term(j, i));
            }
            double tolerance = 0x1p-23 * (4 + Math.sqrt(c.k)) * size;
            assertThat((double) y[j])
                    .as("[%d, %d] blocks of %d, row %d", c.rows, c.k, c.block, j)
                    .isBetween(sum - tolerance, sum + tolerance);
        }
    }

    @ParameterizedTest
    @MethodSource("levels")
    void whatIsNotFiniteStaysInItsRow(Level level) {
        try (Arena arena = Arena.ofShared()) {
            CodebookProducts product = new CodebookProducts(level, arena);
            Case c = Case.random(arena, new Random(9), 3, 4, 64, true);
            float[] before = c.multiply(product, arena, true);
            c.scales.setAtIndex(JAVA_FLOAT, 5, Float.NaN);
            float[] after = c.multiply(product, arena, true);
            assertThat(after[1]).isNaN();
            assertThat(List.of(after[0], after[2])).isEqualTo(List.of(before[0], before[2]));
            c.x.setAtIndex(JAVA_FLOAT, 77, Float.POSITIVE_INFINITY);
            for (float y : c.multiply(product, arena, true)) {
                assertThat(Float.isFinite(y)).isFalse();
            }
        }
    }

    @Test
    void whatIsTooShortIsRefusedBeforeTheCall() {
        try (Arena arena = Arena.ofShared()) {
            CodebookProducts product = new CodebookProducts(Level.AVX2, arena);
            MemorySegment enough = arena.allocate(4096), little = arena.allocate(8);
            for (int which = 0; which < 5; which++) {
                MemorySegment[] s = {enough, enough, enough, enough, enough};
                s[which] = little;
                assertThatThrownBy(() ->
                                product.multiply(s[0], new CodebookProducts.Rows(s[1], s[2], s[3], 64), s[4], 3, 320))
                        .as("segment %d", which)
                        .isInstanceOf(IndexOutOfBoundsException.class);
            }
            assertThatThrownBy(() -> product.multiply(
                            enough, new CodebookProducts.Rows(enough, enough, enough, 64), enough, 1, 96))
                    .hasMessage("emit: 96 columns are no whole blocks of 64, or these no multiple of 32");
        }
    }
}
