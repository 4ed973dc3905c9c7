package anneal.kernels.emit;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import anneal.kernels.emit.RowProducts.Layout;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Optional;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Emitted row products over random shapes, with forbidden pages round every buffer, against plain loops. */
class RowProductsTest {
    /** What a product is made for. */
    record Kind(Layout layout, boolean eightBits, Level level) {
        RowProducts emit(Arena arena) {
            return new RowProducts(layout, eightBits, level, arena);
        }
    }

    private final Arena arena = Arena.ofShared();

    @BeforeAll
    static void needed() {
        assumeTrue(CpuFeatures.obstacle() == null, "no emitted code here: " + CpuFeatures.obstacle());
    }

    @AfterEach
    void close() {
        arena.close();
    }

    static Stream<Kind> kinds() {
        return Stream.of(Layout.values())
                .flatMap(layout -> Level.available().stream()
                        .flatMap(level -> Stream.of(false, true).map(e -> new Kind(layout, e, level))));
    }

    static Stream<Kind> eightBits() {
        return kinds().filter(Kind::eightBits);
    }

    @ParameterizedTest
    @MethodSource("kinds")
    void everyShape(Kind kind) {
        Random random = new Random(7);
        RowProducts product = kind.emit(arena);
        int most = 480 / kind.layout.size() * 4;
        for (int round = 0; round < 60; round++) {
            check(product, kind, random.nextInt(0, 70), random.nextInt(0, most), random, round % 2 == 0);
        }
        for (int rows = 1; rows < 9; rows++) {
            check(product, kind, rows, 1, random, rows % 2 == 0);
        }
    }

    private static void check(RowProducts product, Kind kind, int rows, int blocks, Random random, boolean behind) {
        int k = kind.layout.size() * blocks;
        try (Arena arena = Arena.ofShared()) {
            MemorySegment w = weights(arena, kind.layout, rows * blocks, random, behind), x = floats(arena, k, behind);
            for (int i = 0; i < k; i++) {
                x.setAtIndex(JAVA_FLOAT, i, (float) (random.nextGaussian() * Math.exp(4 * random.nextGaussian())));
            }
            MemorySegment y = multiply(product, arena, w, x, rows, behind);
            for (int j = 0; j < rows; j++) {
                RowReference expected = RowReference.of(kind, w, (long) j * blocks * kind.layout.bytes(), x);
                assertThat((double) y.getAtIndex(JAVA_FLOAT, j))
                        .as("%s [%d, %d] row %d", kind, rows, k, j)
                        .isBetween(expected.sum() - expected.tolerance(), expected.sum() + expected.tolerance());
            }
        }
    }

    private static MemorySegment floats(Arena arena, int n, boolean behind) {
        return GuardedMemory.allocate(arena, 4L * n, behind);
    }

    private static MemorySegment multiply(
            RowProducts product, Arena arena, MemorySegment w, MemorySegment x, int rows, boolean behind) {
        int k = (int) (x.byteSize() / 4);
        MemorySegment y = floats(arena, rows, behind);
        MemorySegment prepared = GuardedMemory.allocate(arena, product.preparedBytes(k), behind);
        product.prepare(prepared, x, k);
        product.multiply(y, w, x, prepared, rows, k);
        return y;
    }

    /** Random codes; halves of both signs, small ones and zero where scales stand. What is no scale may look like NaN. */
    private static MemorySegment weights(Arena arena, Layout layout, int blocks, Random random, boolean behind) {
        byte[] bytes = new byte[blocks * layout.bytes()];
        random.nextBytes(bytes);
        MemorySegment w = GuardedMemory.allocate(arena, bytes.length, behind);
        MemorySegment.copy(bytes, 0, w, JAVA_BYTE, 0, bytes.length);
        float[] scales = {0, 0.01f, -0.3f, 6e-8f, 3e-6f, 2};
        for (int b = 0; b < blocks; b++) {
            for (int half : RowReference.halves(layout)) {
                float scale = scales[random.nextInt(scales.length)];
                w.set(JAVA_SHORT_UNALIGNED, (long) b * layout.bytes() + half, Float.floatToFloat16(scale));
            }
        }
        return w;
    }

    /** The largest products that there are: no sum of integers may leave its 16 bits. */
    @ParameterizedTest
    @MethodSource("kinds")
    void extremesDoNotSaturate(Kind kind) {
        Layout layout = kind.layout;
        int blocks = 3, k = layout.size() * blocks;
        for (int code : new int[] {0x00, 0x80, 0x7F, 0xFF}) {
            for (float sign : new float[] {1, -1}) {
                byte[] bytes = new byte[blocks * layout.bytes()];
                Arrays.fill(bytes, (byte) code);
                MemorySegment w = MemorySegment.ofArray(bytes);
                for (int b = 0; b < blocks; b++) {
                    for (int half : RowReference.halves(layout)) {
                        short one = Float.floatToFloat16(1);
                        w.set(JAVA_SHORT_UNALIGNED, (long) b * layout.bytes() + half, one);
                    }
                }
                MemorySegment stored = arena.allocate(bytes.length), x = arena.allocate(4L * k, 64);
                stored.copyFrom(w);
                for (int i = 0; i < k; i++) {
                    x.setAtIndex(JAVA_FLOAT, i, 3 * sign);
                }
                RowReference expected = RowReference.of(kind, stored, 0, x);
                float y = multiply(kind.emit(arena), arena, stored, x, 1, true).get(JAVA_FLOAT, 0);
                assertThat((double) y)
                        .as("%s codes %x", kind, code)
                        .isBetween(expected.sum() - expected.tolerance(), expected.sum() + expected.tolerance());
            }
        }
    }

    /** A row's result does not depend on the rows beside it: the tasks that rows are dealt out to may be cut anywhere. */
    @ParameterizedTest
    @MethodSource("kinds")
    void aRowAloneHasTheSameBits(Kind kind) {
        int rows = 11, blocks = 6, k = kind.layout.size() * blocks;
        Random random = new Random(3);
        RowProducts product = kind.emit(arena);
        MemorySegment w = weights(arena, kind.layout, rows * blocks, random, true), x = floats(arena, k, true);
        for (int i = 0; i < k; i++) {
            x.setAtIndex(JAVA_FLOAT, i, (float) random.nextGaussian());
        }
        MemorySegment all = multiply(product, arena, w, x, rows, true);
        for (int j = 0; j < rows; j++) {
            MemorySegment row = w.asSlice((long) j * blocks * kind.layout.bytes());
            assertThat(multiply(product, arena, row, x, 1, true).get(JAVA_FLOAT, 0))
                    .isEqualTo(all.getAtIndex(JAVA_FLOAT, j));
        }
    }

    @ParameterizedTest
    @MethodSource("kinds")
    void whatIsNotFiniteStaysSo(Kind kind) {
        int rows = 6, blocks = 4, k = kind.layout.size() * blocks;
        Random random = new Random(4);
        RowProducts product = kind.emit(arena);
        MemorySegment w = weights(arena, kind.layout, rows * blocks, random, true), x = floats(arena, k, true);
        for (float bad : new float[] {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY}) {
            for (int at : new int[] {0, 13, k - 1}) {
                x.fill((byte) 0);
                x.setAtIndex(JAVA_FLOAT, at == 13 ? 14 : 13, 1);
                x.setAtIndex(JAVA_FLOAT, at, bad);
                for (float y : multiply(product, arena, w, x, rows, true).toArray(JAVA_FLOAT)) {
                    assertThat(Float.isFinite(y))
                            .as("%s x[%d] = %s", kind, at, bad)
                            .isFalse();
                }
            }
        }
        x.fill((byte) 0);
        x.setAtIndex(JAVA_FLOAT, 40 % k, 1);
        float[] before = multiply(product, arena, w, x, rows, true).toArray(JAVA_FLOAT);
        int half = RowReference.halves(kind.layout)[0];
        w.set(JAVA_SHORT_UNALIGNED, 2L * blocks * kind.layout.bytes() + half, Float.floatToFloat16(Float.NaN));
        float[] after = multiply(product, arena, w, x, rows, true).toArray(JAVA_FLOAT);
        assertThat(after[2]).isNaN();
        after[2] = before[2];
        assertThat(after).isEqualTo(before);
    }

    /** Zeros of both signs, numbers whose inverse is infinite, ties, the largest floats. */
    @ParameterizedTest
    @MethodSource("eightBits")
    void eightBitsAreThoseOfPlainLoops(Kind kind) {
        Layout layout = kind.layout;
        RowInput input = new RowInput(layout, true);
        int k = layout.size() * 8 / layout.groups();
        float[][] groups = new float[8][32];
        Random random = new Random(5);
        for (int i = 0; i < 32; i++) {
            groups[1][i] = i % 2 == 0 ? -0f : 0;
            groups[2][i] = Float.MIN_VALUE * random.nextInt(-9, 9);
            groups[3][i] = 1e-37f * i;
            groups[4][i] = i - 0.5f;
            groups[5][i] = Float.MAX_VALUE * (i % 3 - 1);
            groups[6][i] = (float) random.nextGaussian();
            groups[7][i] = 1e30f * (float) random.nextGaussian();
        }
        groups[4][7] = 127;
        MemorySegment x = floats(arena, k, true);
        for (int g = 0; g < k / 32; g++) {
            MemorySegment.copy(groups[g], 0, x, JAVA_FLOAT, 128L * g, 32);
        }
        RowProducts product = kind.emit(arena);
        MemorySegment prepared = GuardedMemory.allocate(arena, product.preparedBytes(k), false);
        product.prepare(prepared, x, k);
        for (int g = 0; g < k / 32; g++) {
            long block = (long) g / layout.groups() * input.bytes();
            RowReference.Rounded expected = RowReference.rounded(x, g);
            for (int i = 0; i < 32; i++) {
                assertThat(prepared.get(JAVA_BYTE, block + input.codes(g % layout.groups()) + i))
                        .as("group %d, %d", g, i)
                        .isEqualTo(expected.codes()[i]);
            }
            for (int i = 0; i < 8; i++) {
                assertThat(prepared.get(JAVA_FLOAT, block + input.scales(g % layout.groups()) + 4L * i))
                        .isEqualTo(expected.d());
            }
        }
    }

    @Test
    void onlyProductsOfBytesDifferBetweenLevels() {
        for (Layout layout : Layout.values()) {
            for (boolean eightBits : new boolean[] {false, true}) {
                RowInput input = new RowInput(layout, eightBits);
                byte[] first = new RowCode(input, Level.AVX2).bytes();
                assertThat(new RowCode(input, Level.AVX512).bytes()).isEqualTo(first);
                assertThat(Arrays.equals(new RowCode(input, Level.AVX512_BF16).bytes(), first))
                        .isEqualTo(!eightBits);
            }
        }
    }

    @Test
    void whatIsTooShortIsRefusedBeforeTheCall() {
        RowProducts product = new RowProducts(Layout.Q8_0, true, Level.AVX2, arena);
        MemorySegment enough = arena.allocate(8192, 64), little = arena.allocate(100, 64);
        for (int which = 0; which < 4; which++) {
            MemorySegment[] s = {enough, enough, enough, enough};
            s[which] = which == 0 ? little.asSlice(0, 8) : little;
            assertThatThrownBy(() -> product.multiply(s[0], s[1], s[2], s[3], 3, 320))
                    .as("segment %d", which)
                    .isInstanceOf(IndexOutOfBoundsException.class);
        }
        assertThatThrownBy(() -> product.prepare(little, enough, 320)).isInstanceOf(IndexOutOfBoundsException.class);
        assertThatThrownBy(() -> product.prepare(enough, little, 320)).isInstanceOf(IndexOutOfBoundsException.class);
        assertThatThrownBy(() -> product.multiply(enough, enough, enough, enough, 1, 33))
                .hasMessage("emit: 33 columns are no whole blocks of 32");
        product.multiply(little.asSlice(0, 0), enough, enough, enough, 0, 32);
    }

    @Test
    void memoryThatWasGivenBackIsRefused() {
        RowProducts product = new RowProducts(Layout.Q8_0, Level.AVX2, arena);
        MemorySegment enough = arena.allocate(4096);
        Arena short_ = Arena.ofShared();
        MemorySegment gone = short_.allocate(4096);
        short_.close();
        assertThatThrownBy(() -> product.multiply(enough, gone, enough, enough, 1, 32))
                .isInstanceOf(IllegalStateException.class);
    }

    @Test
    void codeIsExecutableAndNotWritable() throws Exception {
        String address;
        try (Arena brief = Arena.ofShared()) {
            MemorySegment code = CodeBuffer.load(brief, new byte[] {(byte) 0xC3});
            address = Long.toHexString(code.address());
            assertThat(mapping(address))
                    .hasValueSatisfying(line -> assertThat(line).contains("r-xp"));
        }
        assertThat(mapping(address)).as("it goes with its arena").isEmpty();
    }

    private static Optional<String> mapping(String address) throws IOException {
        return Files.readAllLines(Path.of("/proc/self/maps")).stream()
                .filter(l -> l.startsWith(address))
                .findFirst();
    }

    @Test
    void theProcessorSaysWhatTheSystemSays() throws IOException {
        String flags =
                " " + Files.readString(Path.of("/proc/cpuinfo")).replaceAll("(?s).*?flags\\s*: (.*?)\n.*", "$1") + " ";
        assertThat(CpuFeatures.obstacle(Level.AVX512) == null)
                .isEqualTo(flags.contains(" avx512f ")
                        && flags.contains(" avx512bw ")
                        && flags.contains(" avx512dq ")
                        && flags.contains(" avx512vl "));
        assertThat(CpuFeatures.obstacle(Level.AVX512_BF16) == null)
                .isEqualTo(flags.contains(" avx512_bf16 ") && flags.contains(" avx512_vnni "));
        assertThat(CpuFeatures.obstacle(Level.AMX) == null)
                .isEqualTo(
                        flags.contains(" amx_tile ") && flags.contains(" amx_bf16 ") && flags.contains(" amx_int8 "));
        assertThat(flags).contains(" avx2 ", " fma ", " f16c ");
    }
}
