package anneal.kernels.emit;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import anneal.kernels.emit.AmxProduct.Form;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Packing for AMX over random shapes, with forbidden pages round every buffer, to the bit against plain loops. */
class AmxPackingTest {
    private static final short UNTOUCHED = 0x5A5A;

    private final Arena arena = Arena.ofShared();
    private final Random random = new Random(31);

    @BeforeAll
    static void needed() {
        // packing has no instruction of AMX, but those of its level
        assumeTrue(
                CpuFeatures.obstacle(Level.AVX512_BF16) == null,
                "no such code here: " + CpuFeatures.obstacle(Level.AVX512_BF16));
    }

    @AfterEach
    void close() {
        arena.close();
    }

    /** Which float of src a packed number is a part of; -1: padding with 0, -2: not written. */
    private interface Source {
        long of(int panel, int line, int depth);
    }

    @ParameterizedTest
    @EnumSource(names = {"BF16", "FLOATS"})
    void leftOperands(Form form) {
        AmxPacking packing = new AmxPacking(form, arena);
        int parts = form.parts;
        for (int round = 0; round < 150; round++) {
            int rows = round < 70 ? 1 + round : random.nextInt(1, 200);
            int depth = round < 70 ? random.nextInt(1, 100) : 1 + round - 70, gap = random.nextInt(3) * 5;
            try (Arena own = Arena.ofShared()) {
                MemorySegment src = floats(own, rows, depth + gap, depth), dst = packed(own, packing, rows, depth);
                packing.rows(dst, apart(packing, depth), src, depth + gap, rows, depth);
                check(
                        parts,
                        dst,
                        src,
                        true,
                        rows,
                        depth,
                        (s, i, p) -> 32 * s + i >= rows ? -2 : p < depth ? (32L * s + i) * (depth + gap) + p : -1);
            }
            try (Arena own = Arena.ofShared()) {
                MemorySegment src = floats(own, depth, rows + gap, rows), dst = packed(own, packing, rows, depth);
                packing.panelsOfColumns(dst, apart(packing, depth), src, rows + gap, rows, depth);
                check(
                        parts,
                        dst,
                        src,
                        true,
                        rows,
                        depth,
                        (s, i, p) -> 32 * s + i >= rows ? -2 : p < depth ? (long) p * (rows + gap) + 32 * s + i : -1);
            }
        }
    }

    @ParameterizedTest
    @EnumSource(names = {"BF16", "FLOATS"})
    void rightOperands(Form form) {
        AmxPacking packing = new AmxPacking(form, arena);
        int parts = form.parts;
        for (int round = 0; round < 150; round++) {
            int cols = round < 70 ? 1 + round : random.nextInt(1, 100);
            int depth = round < 70 ? random.nextInt(1, 100) : 1 + 2 * (round - 70), gap = random.nextInt(3) * 5;
            try (Arena own = Arena.ofShared()) {
                MemorySegment src = floats(own, depth, cols + gap, cols), dst = packed(own, packing, cols, depth);
                packing.stripsOfColumns(dst, apart(packing, depth), src, cols + gap, cols, depth);
                check(
                        parts,
                        dst,
                        src,
                        false,
                        cols,
                        depth,
                        (s, j, p) -> 32 * s + j < cols && p < depth ? (long) p * (cols + gap) + 32 * s + j : -1);
            }
            int few = 1 + round % 32;
            try (Arena own = Arena.ofShared()) {
                MemorySegment src = floats(own, few, depth + gap, depth), dst = packed(own, packing, few, depth);
                packing.stripOfRows(dst, src, depth + gap, few, depth);
                check(
                        parts,
                        dst,
                        src,
                        false,
                        few,
                        depth,
                        (s, j, p) -> j < few && p < depth ? (long) j * (depth + gap) + p : -1);
            }
        }
    }

    private static long apart(AmxPacking packing, int depth) {
        return 32L * packing.words(depth);
    }

    private void check(
            int parts, MemorySegment dst, MemorySegment src, boolean left, int lines, int depth, Source source) {
        int steps = (depth + 31) / 32;
        for (int s = 0; s < (lines + 31) / 32; s++) {
            for (int i = 0; i < 32; i++) {
                for (int p = 0; p < 32 * steps; p++) {
                    long from = source.of(s, i, p);
                    short[] expected = from < 0 ? null : split(parts, src.get(JAVA_FLOAT_UNALIGNED, 4 * from));
                    for (int part = 0; part < parts; part++) {
                        long step = ((long) s * steps + p / 32) * parts + part;
                        int in = left ? i * 32 + p % 32 : (i / 16 * 16 + p % 32 / 2) * 32 + i % 16 * 2 + p % 2;
                        short got = dst.get(JAVA_SHORT_UNALIGNED, 2 * (1024 * step + in));
                        short wanted = from == -2 ? UNTOUCHED : from == -1 ? 0 : expected[part];
                        assertThat(got)
                                .as("part %d of line %d, depth %d, [%d, %d]", part, 32 * s + i, p, lines, depth)
                                .isEqualTo(wanted);
                    }
                }
            }
        }
    }

    private static short[] split(int parts, float x) {
        short[] all = new short[parts];
        float most = Float.intBitsToFloat(0x7F7F0000), rest = x; // the largest bf16
        for (int i = 0; i < parts; i++) {
            boolean above = parts > 1 && i == 0 && !(Math.abs(rest) < most);
            all[i] = bf16(above ? Math.copySign(most, rest) : rest);
            rest -= Float.intBitsToFloat(all[i] << 16);
            rest = i == 1 && !Float.isFinite(rest) ? 0 : rest;
        }
        return all;
    }

    /** To nearest even; denormals 0, NaN quiet. */
    private static short bf16(float x) {
        int bits = Float.floatToRawIntBits(x);
        if ((bits & 0x7F80_0000) == 0) {
            return (short) (bits >> 16 & 0x8000);
        }
        return Float.isNaN(x) ? (short) (bits >> 16 | 0x40) : (short) (bits + 0x7FFF + (bits >> 16 & 1) >> 16);
    }

    private MemorySegment packed(Arena own, AmxPacking packing, int lines, int depth) {
        MemorySegment dst = GuardedMemory.allocate(own, 4L * (lines + 31) / 32 * apart(packing, depth), true);
        for (long at = 0; at < dst.byteSize(); at += 2) {
            dst.set(JAVA_SHORT_UNALIGNED, at, UNTOUCHED);
        }
        return dst;
    }

    private MemorySegment floats(Arena own, int rows, int apart, int width) {
        float[] odd = {
            0,
            -0f,
            Float.NaN,
            Float.POSITIVE_INFINITY,
            Float.NEGATIVE_INFINITY,
            Float.MIN_VALUE,
            Float.MAX_VALUE,
            -3.397e38f,
            1e-37f
        };
        MemorySegment s = GuardedMemory.allocate(own, 4L * ((long) (rows - 1) * apart + width), random.nextBoolean());
        for (long at = 0; at < s.byteSize(); at += 4) {
            float x = random.nextInt(20) == 0 ? odd[random.nextInt(odd.length)] : (float) random.nextGaussian();
            s.set(JAVA_FLOAT_UNALIGNED, at, x);
        }
        return s;
    }

    @Test
    void bytes() {
        AmxBytePacking packing = new AmxBytePacking(arena);
        for (int round = 0; round < 150; round++) {
            int rows = 1 + round % 70, depth = random.nextInt(1, 200), apart = depth + random.nextInt(3) * 5;
            int words = Form.BYTES.words(depth);
            try (Arena own = Arena.ofShared()) {
                MemorySegment src = GuardedMemory.allocate(own, (rows - 1L) * apart + depth, random.nextBoolean());
                byte[] numbers = new byte[(int) src.byteSize()];
                random.nextBytes(numbers);
                MemorySegment.copy(numbers, 0, src, JAVA_BYTE, 0, numbers.length);
                MemorySegment dst = GuardedMemory.allocate(own, 128L * words * ((rows + 31) / 32), true);
                packing.rows(dst, 32L * words, src, apart, rows, depth);
                for (int i = 0; i < rows; i++) {
                    for (int p = 0; p < 4 * words; p++) {
                        long at = 128L * words * (i / 32) + 2048L * (p / 64) + 64 * (i % 32) + p % 64;
                        assertThat(dst.get(JAVA_BYTE, at))
                                .as("[%d, %d] at %d, %d", rows, depth, i, p)
                                .isEqualTo(p < depth ? numbers[i * apart + p] : 0);
                    }
                }
                MemorySegment less = src.asSlice(0, src.byteSize() - 1);
                assertThatThrownBy(() -> packing.rows(dst, 32L * words, less, apart, rows, depth))
                        .isInstanceOf(IndexOutOfBoundsException.class);
            }
        }
    }

    @Test
    void threePartsAreTheWholeFloat() {
        for (int i = 0; i < 100_000; i++) {
            float x =
                    i == 0 ? Float.MAX_VALUE : (float) (random.nextGaussian() * Math.pow(10, random.nextInt(-25, 25)));
            double sum = 0;
            for (short part : split(3, x)) {
                sum += Float.intBitsToFloat(part << 16);
            }
            assertThat(sum).isEqualTo(x);
        }
    }

    @Test
    void whatIsTooShortIsRefused() {
        AmxPacking packing = new AmxPacking(Form.FLOATS, arena);
        MemorySegment src = arena.allocate(4 * 40 * 50), dst = arena.allocate(4 * 2 * apart(packing, 50));
        MemorySegment little = dst.asSlice(0, dst.byteSize() - 1), less = src.asSlice(0, src.byteSize() - 1);
        long apart = apart(packing, 50);
        assertThatThrownBy(() -> packing.rows(little, apart, src, 50, 40, 50))
                .isInstanceOf(IndexOutOfBoundsException.class);
        assertThatThrownBy(() -> packing.rows(dst, apart, less, 50, 40, 50))
                .isInstanceOf(IndexOutOfBoundsException.class);
        assertThatThrownBy(() -> packing.rows(dst, apart - 1, src, 50, 40, 50))
                .hasMessage("emit: lines of " + apart + " words overlap when " + (apart - 1) + " apart");
        assertThatThrownBy(() -> packing.stripsOfColumns(little, apart, src, 40, 40, 50))
                .isInstanceOf(IndexOutOfBoundsException.class);
        assertThatThrownBy(() -> packing.panelsOfColumns(dst, apart, less, 40, 40, 50))
                .isInstanceOf(IndexOutOfBoundsException.class);
        assertThatThrownBy(() -> packing.stripOfRows(dst, src, 50, 33, 50))
                .hasMessage("emit: 33 rows do not fit a strip of 32");
        assertThatThrownBy(() -> new AmxPacking(Form.BYTES, arena)).hasMessage("emit: floats do not become bytes here");
    }
}
