package anneal.kernels.emit;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import anneal.kernels.emit.GroupProducts.Form;
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

/** Emitted products by groups over random shapes, with forbidden pages round every buffer, against plain loops. */
class GroupProductsTest {
    /** What a product is made for. */
    private record Kind(Form form, Level level) {
        GroupProducts emit(Arena arena) {
            return new GroupProducts(form, level, arena);
        }
    }

    @BeforeAll
    static void needed() {
        assumeTrue(CpuFeatures.obstacle() == null, "no emitted code here: " + CpuFeatures.obstacle());
    }

    static Stream<Kind> kinds() {
        return Stream.of(Form.values())
                .flatMap(form -> Level.available().stream().map(level -> new Kind(form, level)));
    }

    /** Random matrices, each number with its plain value. */
    private record Case(
            Form form,
            MemorySegment codes,
            MemorySegment scales,
            MemorySegment others,
            MemorySegment x,
            int m,
            int rows,
            int k,
            int block) {
        static Case random(
                Kind kind, Arena arena, Random random, int m, int rows, int blocks, int block, boolean behind) {
            Form form = kind.form;
            int k = blocks * block;
            MemorySegment codes = bytes(arena, random, rows * k / inByte(form), behind);
            MemorySegment others = switch (form) {
                case CODEBOOK -> GuardedMemory.allocate(arena, 64, behind);
                case NIBBLES, BYTES -> bytes(arena, random, rows * blocks, behind);
                case SIGNED_BYTES -> MemorySegment.NULL;
            };
            if (form == Form.CODEBOOK) {
                GroupProducts.table(
                        others,
                        IntStream.range(0, 16)
                                .mapToObj(i -> (float) random.nextGaussian())
                                .toList());
            }
            MemorySegment scales = normal(arena, random, rows * blocks, behind);
            return new Case(form, codes, scales, others, normal(arena, random, m * k, behind), m, rows, k, block);
        }

        private static int inByte(Form form) {
            return form == Form.CODEBOOK || form == Form.NIBBLES ? 2 : 1;
        }

        private static MemorySegment bytes(Arena arena, Random random, int n, boolean behind) {
            byte[] bytes = new byte[n];
            random.nextBytes(bytes);
            MemorySegment s = GuardedMemory.allocate(arena, n, behind);
            MemorySegment.copy(bytes, 0, s, JAVA_BYTE, 0, n);
            return s;
        }

        private static MemorySegment normal(Arena arena, Random random, int n, boolean behind) {
            MemorySegment s = GuardedMemory.allocate(arena, 4L * n, behind);
            for (int i = 0; i < n; i++) {
                s.setAtIndex(JAVA_FLOAT, i, (float) random.nextGaussian());
            }
            return s;
        }

        double term(int xRow, int row, int i) {
            int at = row * k + i, b = codes.get(JAVA_BYTE, at / inByte(form)) & 255, high = b >> 4, low = b & 15;
            double number = switch (form) {
                case CODEBOOK -> others.getAtIndex(JAVA_FLOAT, at % 2 == 0 ? high : low);
                case NIBBLES -> (at % 2 == 0 ? low : high) - zero(at);
                case BYTES -> b - zero(at);
                case SIGNED_BYTES -> (byte) b;
            };
            return scales.getAtIndex(JAVA_FLOAT, at / block) * number * x.getAtIndex(JAVA_FLOAT, xRow * k + i);
        }

        private int zero(int at) {
            return others.get(JAVA_BYTE, at / block) & 255;
        }

        GroupProducts.Rows stored() {
            return new GroupProducts.Rows(codes, scales, others, block);
        }

        float[] multiply(GroupProducts product, Arena arena, boolean behind) {
            MemorySegment y = GuardedMemory.allocate(arena, 4L * m * rows, behind);
            product.multiply(y, rows, stored(), x, m, rows, k);
            return y.toArray(JAVA_FLOAT);
        }
    }

    @ParameterizedTest
    @MethodSource("kinds")
    void everyShape(Kind kind) {
        try (Arena all = Arena.ofShared()) {
            GroupProducts product = kind.emit(all);
            Random random = new Random(8);
            for (int round = 0; round < 120; round++) {
                boolean behind = round % 2 == 0;
                int block = 32 << random.nextInt(0, 8), blocks = random.nextInt(0, 2 + 1024 / block);
                try (Arena arena = Arena.ofShared()) {
                    int m = random.nextInt(1, 5), rows = random.nextInt(0, 9);
                    Case c = Case.random(kind, arena, random, m, rows, blocks, block, behind);
                    check(c, c.multiply(product, arena, behind));
                }
            }
        }
    }

    private static void check(Case c, float[] y) {
        for (int j = 0; j < y.length; j++) {
            double sum = 0, size = 0;
            for (int i = 0; i < c.k; i++) {
                double term = c.term(j / c.rows, j % c.rows, i);
                sum += term;
                size += Math.abs(term);
            }
            double tolerance = 0x1p-23 * (4 + Math.sqrt(c.k)) * size;
            assertThat((double) y[j])
                    .as("%s [%d, %d, %d] blocks of %d, number %d", c.form, c.m, c.rows, c.k, c.block, j)
                    .isBetween(sum - tolerance, sum + tolerance);
        }
    }

    /** And what lies between rows of y that are further apart stays as it is. */
    @ParameterizedTest
    @MethodSource("kinds")
    void aRowOfXAloneHasTheSameBits(Kind kind) {
        try (Arena arena = Arena.ofShared()) {
            GroupProducts product = kind.emit(arena);
            Case c = Case.random(kind, arena, new Random(10), 5, 7, 6, 64, true);
            int apart = c.rows + 2;
            MemorySegment y = GuardedMemory.allocate(arena, 4L * (4 * apart + c.rows), true);
            y.fill((byte) 1);
            product.multiply(y, apart, c.stored(), c.x, c.m, c.rows, c.k);
            for (int i = 0; i < c.m; i++) {
                MemorySegment alone = GuardedMemory.allocate(arena, 4L * c.rows, true);
                product.multiply(alone, c.rows, c.stored(), c.x.asSlice(4L * i * c.k), 1, c.rows, c.k);
                assertThat(y.asSlice(4L * i * apart, 4L * c.rows).mismatch(alone))
                        .isEqualTo(-1);
                for (int j = c.rows; i < c.m - 1 && j < apart; j++) {
                    assertThat(y.getAtIndex(JAVA_INT, (long) i * apart + j)).isEqualTo(0x01010101);
                }
            }
        }
    }

    @ParameterizedTest
    @MethodSource("kinds")
    void whatIsNotFiniteStaysInItsRow(Kind kind) {
        try (Arena arena = Arena.ofShared()) {
            GroupProducts product = kind.emit(arena);
            Case c = Case.random(kind, arena, new Random(9), 1, 3, 4, 64, true);
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
            MemorySegment enough = arena.allocate(8192), little = arena.allocate(8);
            for (Form form : Form.values()) {
                GroupProducts product = new GroupProducts(form, Level.AVX2, arena);
                for (int which = 0; which < (form == Form.SIGNED_BYTES ? 4 : 5); which++) {
                    MemorySegment[] s = {enough, enough, enough, enough, enough};
                    s[which] = little;
                    var rows = new GroupProducts.Rows(s[1], s[2], s[4], 64);
                    assertThatThrownBy(() -> product.multiply(s[0], 3, rows, s[3], 2, 3, 320))
                            .as("%s, segment %d", form, which)
                            .isInstanceOf(IndexOutOfBoundsException.class);
                }
            }
            GroupProducts product = new GroupProducts(Form.CODEBOOK, Level.AVX2, arena);
            var rows = new GroupProducts.Rows(enough, enough, enough, 64);
            assertThatThrownBy(() -> product.multiply(enough, 1, rows, enough, 1, 1, 96))
                    .hasMessage("emit: 96 columns are no whole blocks of 64, or these no multiple of 32");
            assertThatThrownBy(() -> product.multiply(enough, 2, rows, enough, 2, 3, 64))
                    .hasMessage("emit: rows of 3 results overlap when 2 apart");
        }
    }
}
