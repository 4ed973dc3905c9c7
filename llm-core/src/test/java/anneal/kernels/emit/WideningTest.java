package anneal.kernels.emit;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import anneal.kernels.BF16Matrix;
import anneal.kernels.BlockFormat;
import anneal.kernels.BlockMatrix;
import anneal.kernels.CodebookMatrix;
import anneal.kernels.F16Matrix;
import anneal.kernels.Matrix;
import anneal.kernels.emit.Widening.Format;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Emitted widening with forbidden pages round every buffer, to the bit against {@link Matrix#widen}. */
class WideningTest {
    /** Halves that scales may be: ordinary, small, least, zero of both signs, infinite, no number. */
    private static final short[] SCALES = {
        0x2C00, (short) 0xB4CD, 0x0001, (short) 0x83FF, 0, (short) 0x8000, 0x7C00, (short) 0xFC00, 0x7E00, 0x7BFF
    };

    private final Arena arena = Arena.ofShared();
    private final Random random = new Random(5);

    static List<Object[]> functions() {
        List<Object[]> all = new ArrayList<>();
        for (Level level : Level.available()) {
            Arrays.stream(Format.values()).forEach(format -> all.add(new Object[] {format, level}));
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

    private static Matrix matrix(Format format, MemorySegment data, int count) {
        return switch (format) {
            case F16 -> new F16Matrix(data, 1, count);
            case BF16 -> new BF16Matrix(data, 1, count);
            case Q4_0, Q4_1, Q8_0, Q4_K, Q6_K -> new BlockMatrix(data, 1, count, BlockFormat.valueOf(format.name()));
        };
    }

    @ParameterizedTest
    @MethodSource("functions")
    void anyCodesAndScalesOfAnyNumberOfBlocks(Format format, Level level) {
        Widening widening = new Widening(format, level, arena);
        for (int blocks = 1; blocks <= 150; blocks++) {
            int count = blocks * format.size();
            try (Arena arena = Arena.ofShared()) {
                MemorySegment src = bytes(arena, (long) blocks * format.bytes(), blocks);
                putScales(format, src, blocks);
                MemorySegment dst = GuardedMemory.allocate(arena, 4L * count, blocks % 4 < 2);
                widening.widen(dst, src, count);
                check(matrix(format, src, count), 0, count, dst, format + " " + blocks);
            }
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"F16", "BF16"})
    void everyPatternOfSixteenBits(Format format) {
        MemorySegment src = arena.allocate(2 << 16), dst = arena.allocate(4 << 16);
        for (int i = 0; i < 1 << 16; i++) {
            src.set(JAVA_SHORT_UNALIGNED, 2L * i, (short) i);
        }
        for (Level level : Level.available()) {
            new Widening(format, level, arena).widen(dst, src, 1 << 16);
            check(matrix(format, src, 1 << 16), 0, 1 << 16, dst, format + "");
        }
    }

    /** Random bytes between forbidden pages. */
    private MemorySegment bytes(Arena arena, long size, int round) {
        MemorySegment all = GuardedMemory.allocate(arena, size, round % 2 == 0);
        byte[] bytes = new byte[Math.toIntExact(size)];
        random.nextBytes(bytes);
        MemorySegment.copy(bytes, 0, all, JAVA_BYTE, 0, bytes.length);
        return all;
    }

    private void putScales(Format format, MemorySegment blocks, int count) {
        int[] places = switch (format) {
            case F16, BF16 -> new int[] {};
            case Q4_0, Q8_0 -> new int[] {0};
            case Q4_1, Q4_K -> new int[] {0, 2};
            case Q6_K -> new int[] {208};
        };
        for (int b = 0; b < count; b++) {
            for (int place : places) {
                short scale = random.nextInt(3) > 0
                        ? Float.floatToFloat16((float) random.nextGaussian())
                        : SCALES[random.nextInt(SCALES.length)];
                blocks.set(JAVA_SHORT_UNALIGNED, (long) b * format.bytes() + place, scale);
            }
        }
    }

    /** Bits are compared; a NaN is a NaN. */
    private static void check(Matrix reference, int first, int count, MemorySegment dst, String what) {
        float[] expected = new float[count], found = dst.asSlice(0, 4L * count).toArray(JAVA_FLOAT_UNALIGNED);
        reference.widen(0, first, count, expected, 0);
        assertThat(bits(found)).as(what).isEqualTo(bits(expected));
    }

    private static int[] bits(float[] all) {
        return IntStream.range(0, all.length)
                .map(i -> Float.floatToIntBits(all[i]))
                .toArray();
    }

    @ParameterizedTest
    @ValueSource(ints = {32, 64, 96, 4096})
    void piecesOfAMatrixWithACodebook(int block) {
        List<Float> odd = new ArrayList<>(CodebookMatrix.NF4.reversed());
        odd.set(3, Float.NEGATIVE_INFINITY);
        odd.set(9, -0f);
        odd.set(12, Float.MIN_VALUE);
        for (Level level : Level.available()) {
            for (List<Float> values : List.of(CodebookMatrix.NF4, odd)) {
                CodebookWidening widening = new CodebookWidening(values, level, arena);
                for (int round = 0; round < 60; round++) {
                    piece(widening, values, block, random.nextInt(1, 8) * Math.max(1, 4096 / block), round);
                }
            }
        }
    }

    private void piece(CodebookWidening widening, List<Float> values, int block, int blocks, int round) {
        int numbers = block * blocks, groups = numbers / CodebookWidening.GROUP;
        int from = random.nextInt(groups), upTo = random.nextInt(from + 1, groups + 1);
        if (round % 3 == 0) {
            from = 0;
            upTo = groups;
        }
        int first = CodebookWidening.GROUP * from, count = CodebookWidening.GROUP * (upTo - from);
        try (Arena arena = Arena.ofShared()) {
            MemorySegment codes = bytes(arena, numbers / 2, round);
            MemorySegment scales = GuardedMemory.allocate(arena, 4L * blocks, round % 2 == 0);
            for (int b = 0; b < blocks; b++) {
                float scale = random.nextInt(4) > 0
                        ? (float) random.nextGaussian()
                        : Float.float16ToFloat(SCALES[random.nextInt(SCALES.length)]);
                scales.set(JAVA_FLOAT_UNALIGNED, 4L * b, scale);
            }
            MemorySegment dst = GuardedMemory.allocate(arena, 4L * count, round % 4 < 2);
            widening.widen(dst, codes, scales, block, first, count);
            Matrix reference = new CodebookMatrix(codes, scales, 1, numbers, block, values);
            check(reference, first, count, dst, block + " [" + first + " + " + count + "]");
        }
    }

    @Test
    void narrowPiecesOfManyRowsWithACodebook() {
        for (Level level : Level.available()) {
            CodebookWidening widening = new CodebookWidening(CodebookMatrix.NF4, level, arena);
            for (int round = 0; round < 80; round++) {
                codebookRows(widening, 32 << random.nextInt(4), round % 2 == 0);
            }
        }
        MemorySegment s = arena.allocate(4096);
        CodebookWidening nf4 = new CodebookWidening(CodebookMatrix.NF4, Level.AVX2, arena);
        assertThatThrownBy(() -> nf4.rows(s, new CodebookWidening.Piece(s, 15, s, 4, 64, 0), 2, 32))
                .hasMessage("emit: rows of 16 bytes overlap when 15 apart");
        assertThatThrownBy(() -> nf4.rows(s, new CodebookWidening.Piece(s, 32, s.asSlice(0, 8), 4, 64, 32), 2, 64))
                .isInstanceOf(IndexOutOfBoundsException.class);
    }

    private void codebookRows(CodebookWidening widening, int block, boolean behind) {
        int rows = random.nextInt(1, 7), from = 32 * random.nextInt(block / 32), count = 32 * random.nextInt(1, 9);
        int codesApart = count / 2 + 16 * random.nextInt(3), runs = (from + count + block - 1) / block;
        int scalesApart = 4 * (runs + random.nextInt(2));
        try (Arena arena = Arena.ofShared()) {
            MemorySegment codes = GuardedMemory.allocate(arena, (long) codesApart * (rows - 1) + count / 2, behind);
            MemorySegment scales = GuardedMemory.allocate(arena, (long) scalesApart * (rows - 1) + 4L * runs, behind);
            MemorySegment dst = GuardedMemory.allocate(arena, 4L * rows * count, behind);
            for (long i = 0; i < codes.byteSize(); i++) {
                codes.set(JAVA_BYTE, i, (byte) random.nextInt());
            }
            for (long i = 0; i < scales.byteSize(); i += 4) {
                scales.set(JAVA_FLOAT_UNALIGNED, i, (float) random.nextGaussian());
            }
            widening.rows(
                    dst, new CodebookWidening.Piece(codes, codesApart, scales, scalesApart, block, from), rows, count);
            for (int i = 0; i < dst.byteSize() / 4; i++) {
                int row = i / count, col = i % count;
                int both = codes.get(JAVA_BYTE, row * codesApart + col / 2);
                float value = CodebookMatrix.NF4.get(col % 2 == 0 ? both >> 4 & 15 : both & 15);
                float scale = scales.get(JAVA_FLOAT_UNALIGNED, row * scalesApart + (from + col) / block * 4L);
                assertThat(dst.get(JAVA_FLOAT_UNALIGNED, 4L * i)).isEqualTo(value * scale);
            }
        }
    }

    @ParameterizedTest
    @MethodSource("functions")
    void narrowPiecesOfManyRows(Format format, Level level) {
        Widening widening = new Widening(format, level, arena);
        for (int round = 0; round < 40; round++) {
            int rows = random.nextInt(1, 7), count = format.size() * random.nextInt(1, 4);
            int bytes = count / format.size() * format.bytes(), apart = bytes + format.bytes() * random.nextInt(3);
            try (Arena arena = Arena.ofShared()) {
                MemorySegment src = GuardedMemory.allocate(arena, (long) apart * (rows - 1) + bytes, round % 2 == 0);
                MemorySegment dst = GuardedMemory.allocate(arena, 4L * rows * count, round % 2 == 0);
                for (long i = 0; i < src.byteSize(); i++) {
                    src.set(JAVA_BYTE, i, (byte) random.nextInt());
                }
                widening.rows(dst, src, apart, rows, count);
                MemorySegment row = arena.allocate(4L * count);
                for (int i = 0; i < rows; i++) {
                    widening.widen(row, src.asSlice((long) apart * i), count);
                    assertThat(dst.asSlice(4L * i * count, 4L * count).mismatch(row))
                            .isEqualTo(-1);
                }
            }
        }
        MemorySegment enough = arena.allocate(4096);
        assertThatThrownBy(() -> widening.rows(enough, enough, format.bytes() - 1, 2, format.size()))
                .hasMessage(
                        "emit: rows of " + format.bytes() + " bytes overlap when " + (format.bytes() - 1) + " apart");
    }

    @Test
    void anyAlignmentIsFine() {
        MemorySegment src = arena.allocate(1 + 3 * 210).asSlice(1),
                dst = arena.allocate(4 * 768 + 3).asSlice(3);
        for (byte i = 1; i < 127; i++) {
            src.set(JAVA_BYTE, 3L * i, i);
        }
        for (Level level : Level.available()) {
            for (Format format : Format.values()) {
                int count = format.size() == 1 ? 77 : 2 * format.size();
                new Widening(format, level, arena).widen(dst, src, count);
                check(matrix(format, src, count), 0, count, dst, format + "");
            }
        }
    }

    @Test
    void whatIsTooShortIsRefusedBeforeTheCall() {
        MemorySegment enough = arena.allocate(4096);
        for (Format format : Format.values()) {
            Widening widening = new Widening(format, Level.AVX2, arena);
            int count = 2 * Math.max(16, format.size());
            long bytes = (long) count / format.size() * format.bytes();
            assertThatThrownBy(() -> widening.widen(enough.asSlice(0, 4L * count - 1), enough, count))
                    .isInstanceOf(IndexOutOfBoundsException.class);
            assertThatThrownBy(() -> widening.widen(enough, enough.asSlice(0, bytes - 1), count))
                    .isInstanceOf(IndexOutOfBoundsException.class);
            assertThatThrownBy(() -> widening.widen(enough, enough, -count))
                    .isInstanceOf(IndexOutOfBoundsException.class);
            widening.widen(enough.asSlice(0, 0), enough.asSlice(0, 0), 0);
        }
        CodebookWidening nf4 = new CodebookWidening(CodebookMatrix.NF4, Level.AVX2, arena);
        MemorySegment codes = enough.asSlice(0, 64), scales = enough.asSlice(0, 8);
        nf4.widen(enough, codes, scales, 64, 64, 64);
        assertThatThrownBy(() -> nf4.widen(enough.asSlice(0, 255), codes, scales, 64, 64, 64))
                .isInstanceOf(IndexOutOfBoundsException.class);
        assertThatThrownBy(() -> nf4.widen(enough, codes, scales, 64, 64, 96))
                .isInstanceOf(IndexOutOfBoundsException.class);
        assertThatThrownBy(() -> nf4.widen(enough, codes, scales.asSlice(0, 7), 64, 64, 64))
                .isInstanceOf(IndexOutOfBoundsException.class);
        assertThatThrownBy(() -> nf4.widen(enough, codes, scales, 64, -32, 32))
                .isInstanceOf(IndexOutOfBoundsException.class);
    }

    @Test
    void piecesOfBlocksAreErrors() {
        MemorySegment s = arena.allocate(4096);
        assertThatThrownBy(() -> new Widening(Format.Q4_K, Level.AVX2, arena).widen(s, s, 32))
                .hasMessage("emit: 32 numbers of Q4_K are no whole blocks of 256");
        CodebookWidening nf4 = new CodebookWidening(CodebookMatrix.NF4, Level.AVX2, arena);
        assertThatThrownBy(() -> nf4.widen(s, s, s, 64, 16, 32))
                .hasMessage("emit: numbers [16, 48) in blocks of 64 are no whole groups of 32");
        assertThatThrownBy(() -> new CodebookWidening(List.of(1f), Level.AVX2, arena))
                .hasMessage("emit: there must be 16 values, not 1");
    }
}
