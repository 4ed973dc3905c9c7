package anneal.kernels.emit;

import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import anneal.kernels.emit.Packing.Form;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Emitted packing over random shapes, with forbidden pages round every buffer, to the bit against plain loops. */
class PackingTest {
    private static final int UNTOUCHED = 0x5A5A_5A5A;

    private final Arena arena = Arena.ofShared();
    private final Random random = new Random(11);

    /**
     * What the machine can run. Code of AVX512 for packing is AVX2's with wider strips, so it runs where AVX2 does; that of
     * AVX512_BF16 has instructions of its own.
     */
    static List<Object[]> functions() {
        List<Object[]> all = new ArrayList<>();
        for (Level level : List.of(Level.AVX2, Level.AVX512, Level.AVX512_BF16)) {
            if (level != Level.AVX512_BF16 || Level.available().contains(level)) {
                Arrays.stream(Form.values()).forEach(form -> all.add(new Object[] {level, form}));
            }
        }
        return all;
    }

    @BeforeAll
    static void needed() {
        assumeTrue(CpuFeatures.obstacle() == null, "no emitted code here: " + CpuFeatures.obstacle());
    }

    @AfterEach
    void close() {
        arena.close();
    }

    @ParameterizedTest
    @MethodSource("functions")
    void rowsBecomeColumns(Level level, Form form) {
        Packing packing = new Packing(level, form, arena);
        int columns = TileProduct.cols(level);
        for (int round = 0; round < 200; round++) {
            int rows = round % (columns + 1), depth = random.nextInt(1, 50), apart = depth + random.nextInt(3) * 7;
            try (Arena arena = Arena.ofShared()) {
                MemorySegment src = floats(arena, rows, apart, depth);
                MemorySegment dst = words(arena, 1, 0, form.words(depth) * columns, round);
                packing.stripOfRows(dst, src, apart, rows, depth);
                for (int p = 0; p < form.words(depth); p++) {
                    for (int j = 0; j < columns; j++) {
                        int at = j * apart, word = p;
                        int expected = j < rows ? word(form, i -> bits(src, at + i), word, depth) : 0;
                        check(dst, (long) p * columns + j, expected, "[%d, %d] at %d, %d", rows, depth, j, p);
                    }
                }
            }
        }
    }

    @ParameterizedTest
    @MethodSource("functions")
    void columnsStayColumns(Level level, Form form) {
        Packing packing = new Packing(level, form, arena);
        int columns = TileProduct.cols(level);
        for (int round = 0; round < 200; round++) {
            int cols = 1 + round % (3 * columns), depth = random.nextInt(1, 20), apart = cols + random.nextInt(3) * 5;
            int words = form.words(depth), strips = (cols + columns - 1) / columns;
            int apartDst = words * columns + random.nextInt(2) * 9;
            try (Arena arena = Arena.ofShared()) {
                MemorySegment src = floats(arena, depth, apart, cols);
                MemorySegment dst = words(arena, strips, apartDst, words * columns, round);
                packing.stripsOfColumns(dst, apartDst, src, apart, cols, depth);
                for (int at = 0; at < dst.byteSize() / 4; at++) {
                    int in = at % apartDst, p = in / columns, c = at / apartDst * columns + in % columns;
                    int expected = p >= words
                            ? UNTOUCHED
                            : c < cols ? word(form, i -> bits(src, (long) i * apart + c), p, depth) : 0;
                    check(dst, at, expected, "[%d, %d] at %d, %d", depth, cols, p, c);
                }
            }
        }
    }

    @ParameterizedTest
    @MethodSource("functions")
    void rowsStayRows(Level level, Form form) {
        Packing packing = new Packing(level, form, arena);
        for (int round = 0; round < 200; round++) {
            int rows = random.nextInt(1, 6), depth = 1 + round % 70, apart = depth + random.nextInt(3) * 3;
            int words = form.words(depth), apartDst = words + random.nextInt(3) * 5;
            try (Arena arena = Arena.ofShared()) {
                MemorySegment src = floats(arena, rows, apart, depth), dst = words(arena, rows, apartDst, words, round);
                packing.rows(dst, apartDst, src, apart, rows, depth);
                for (int at = 0; at < dst.byteSize() / 4; at++) {
                    int row = at / apartDst, p = at % apartDst;
                    int expected = p < words ? word(form, i -> bits(src, (long) row * apart + i), p, depth) : UNTOUCHED;
                    check(dst, at, expected, "[%d, %d] at %d, %d", rows, depth, row, p);
                }
            }
        }
    }

    @ParameterizedTest
    @MethodSource("functions")
    void columnsBecomePanels(Level level, Form form) {
        Packing packing = new Packing(level, form, arena);
        int high = TileProduct.rows(level);
        for (int round = 0; round < 400; round++) {
            int cols = 1 + round % (3 * high), depth = random.nextInt(1, 20), apart = cols + random.nextInt(3) * 5;
            int words = form.words(depth), panels = (cols + high - 1) / high;
            int apartDst = words * high + random.nextInt(2) * 9;
            try (Arena arena = Arena.ofShared()) {
                MemorySegment src = floats(arena, depth, apart, cols);
                MemorySegment dst = words(arena, panels, apartDst, words * high, round);
                packing.panelsOfColumns(dst, apartDst, src, apart, cols, depth);
                for (int at = 0; at < dst.byteSize() / 4; at++) {
                    int in = at % apartDst, p = in / high, c = at / apartDst * high + in % high;
                    int expected = p >= words
                            ? UNTOUCHED
                            : c < cols ? word(form, i -> bits(src, (long) i * apart + c), p, depth) : 0;
                    check(dst, at, expected, "[%d, %d] at %d, %d", depth, cols, p, c);
                }
            }
        }
    }

    /** Bits of the float at a depth. */
    private interface Depths {
        int bits(int i);
    }

    private static int word(Form form, Depths depths, int p, int depth) {
        return switch (form) {
            case F32 -> depths.bits(p);
            case ROUNDED -> bfloat(depths.bits(p)) << 16;
            case BF16_PAIRS ->
                bfloat(depths.bits(2 * p)) | (2 * p + 1 < depth ? bfloat(depths.bits(2 * p + 1)) << 16 : 0);
        };
    }

    /** Upper half of a float rounded to nearest even; found by comparing distances, not by the trick with a carry. */
    private static int bfloat(int bits) {
        float value = Float.intBitsToFloat(bits);
        int below = bits >>> 16;
        if (Float.isNaN(value)) {
            return below | 0x40;
        }
        if (Math.abs(value) < Float.MIN_NORMAL) {
            return below & 0x8000;
        }
        int rest = bits & 0xFFFF;
        return rest > 0x8000 || rest == 0x8000 && (below & 1) == 1 ? below + 1 : below;
    }

    private static int bits(MemorySegment s, long at) {
        return s.get(JAVA_INT_UNALIGNED, 4 * at);
    }

    private static void check(MemorySegment dst, long at, int expected, String text, Object... arguments) {
        if (bits(dst, at) != expected) { // the words for a failure alone: there are millions of numbers
            assertThat(Integer.toHexString(bits(dst, at)))
                    .as(text.formatted(arguments))
                    .isEqualTo(Integer.toHexString(expected));
        }
    }

    /** Ordinary numbers, and all that is special about floats: any pattern of bits, ties, what rounds to infinity. */
    private MemorySegment floats(Arena arena, int rows, int apart, int length) {
        int[] special = {
            0x7F80_0000, 0xFF80_0000, 0x7FC0_0000, 0x7F80_0001, 0xFFFF_FFFF, 0x7FFF_FFFF, 0x7F7F_FFFF, 0x8000_0000, 0,
            1, 0x8000_0001, 0x007F_FFFF, 0x0080_0000, 0x807F_8000, 0x3F80_8000, 0x3F81_8000, 0xBF80_8001, 0x3F80_7FFF
        };
        MemorySegment all = words(arena, rows, apart, length, random.nextInt(2));
        for (long at = 0; at < all.byteSize(); at += 4) {
            int bits = switch (random.nextInt(3)) {
                case 0 -> special[random.nextInt(special.length)];
                case 1 -> random.nextInt();
                default -> Float.floatToRawIntBits((float) random.nextGaussian());
            };
            all.set(JAVA_INT_UNALIGNED, at, bits);
        }
        return all;
    }

    /** Lines of words, from the first of the first to the last of the last, between forbidden pages. */
    private static MemorySegment words(Arena arena, int lines, int apart, int length, int round) {
        long count = lines == 0 ? 0 : (long) (lines - 1) * apart + length;
        MemorySegment all = GuardedMemory.allocate(arena, 4 * count, round % 2 == 0);
        for (long i = 0; i < count; i++) {
            all.set(JAVA_INT_UNALIGNED, 4 * i, UNTOUCHED);
        }
        return all;
    }

    /** Each sign, exponent and upper fraction with what is below, at and above the middle between two bf16. */
    @ParameterizedTest
    @MethodSource("functions")
    void everyUpperHalf(Level level, Form form) {
        int[] rests = {0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF};
        int count = rests.length << 16;
        MemorySegment src = arena.allocate(4L * count), dst = arena.allocate(4L * count);
        for (int i = 0; i < count; i++) {
            src.set(JAVA_INT_UNALIGNED, 4L * i, i / rests.length << 16 | rests[i % rests.length]);
        }
        new Packing(level, form, arena).rows(dst, count, src, count, 1, count);
        for (int p = 0; p < form.words(count); p++) {
            check(dst, p, word(form, i -> bits(src, i), p, count), "word %d", p);
        }
    }

    @Test
    void anyAlignmentIsFine() {
        Packing packing = new Packing(Level.AVX2, Form.F32, arena);
        MemorySegment src = arena.allocate(4096).asSlice(1),
                dst = arena.allocate(4096).asSlice(3);
        src.set(JAVA_INT_UNALIGNED, 4 * 12, 77);
        packing.stripOfRows(dst, src, 10, 16, 10);
        assertThat(bits(dst, 2 * 16 + 1)).isEqualTo(77);
    }

    @Test
    void whatIsTooShortIsRefusedBeforeTheCall() {
        Packing packing = new Packing(Level.AVX2, Form.F32, arena);
        MemorySegment enough = arena.allocate(4096), little = arena.allocate(4 * 99);
        for (MemorySegment[] s : new MemorySegment[][] {{little, enough}, {enough, little}}) {
            assertThatThrownBy(() -> packing.stripOfRows(s[0], s[1], 10, 10, 10))
                    .isInstanceOf(IndexOutOfBoundsException.class);
            assertThatThrownBy(() -> packing.stripsOfColumns(s[0], 160, s[1], 10, 10, 10))
                    .isInstanceOf(IndexOutOfBoundsException.class);
            assertThatThrownBy(() -> packing.panelsOfColumns(s[0], 60, s[1], 10, 10, 10))
                    .isInstanceOf(IndexOutOfBoundsException.class);
            assertThatThrownBy(() -> packing.rows(s[0], 10, s[1], 10, 10, 10))
                    .isInstanceOf(IndexOutOfBoundsException.class);
        }
        packing.rows(little, 10, little, 10, 0, 10);
        packing.rows(little, 0, little, 0, 3, 0);
    }

    @Test
    void shapesThatCannotBeAreErrors() {
        Packing packing = new Packing(Level.AVX2, Form.F32, arena);
        MemorySegment s = arena.allocate(4096);
        assertThatThrownBy(() -> packing.stripOfRows(s, s, 10, 17, 1))
                .hasMessage("emit: 17 rows do not fit a strip of 16");
        assertThatThrownBy(() -> packing.rows(s, 10, s, 9, 2, 10))
                .hasMessage("emit: lines of 10 words overlap when 9 apart");
        assertThatThrownBy(() -> packing.rows(s, 1, s, 1, -1, 10))
                .hasMessage("emit: there are no -1 lines of 10 words");
        assertThatThrownBy(() -> packing.rows(MemorySegment.ofArray(new float[8]), 1, s, 1, 1, 1))
                .isInstanceOf(IllegalArgumentException.class);
    }

    @Test
    void memoryThatWasGivenBackIsRefused() {
        Packing packing = new Packing(Level.AVX2, Form.ROUNDED, arena);
        MemorySegment enough = arena.allocate(4096);
        Arena brief = Arena.ofShared();
        MemorySegment gone = brief.allocate(4096);
        brief.close();
        assertThatThrownBy(() -> packing.rows(enough, 8, gone, 8, 1, 8)).isInstanceOf(IllegalStateException.class);
    }
}
