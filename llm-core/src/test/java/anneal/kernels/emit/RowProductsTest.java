package anneal.kernels.emit;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import anneal.kernels.emit.RowProducts.Layout;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Emitted row products over random shapes, with forbidden pages round every buffer, against plain loops. */
class RowProductsTest {
    private final Arena arena = Arena.ofShared();

    @BeforeEach
    void needed() {
        assumeTrue(CpuFeatures.obstacle() == null, "no emitted code here: " + CpuFeatures.obstacle());
    }

    @AfterEach
    void close() {
        arena.close();
    }

    @ParameterizedTest
    @EnumSource(Layout.class)
    void nothingIsReadOrWrittenOutside(Layout layout) {
        RowProducts product = new RowProducts(layout, arena);
        Random random = new Random(7);
        for (int round = 0; round < 60; round++) {
            int rows = random.nextInt(1, 70), blocks = random.nextInt(1, 60);
            check(product, layout, rows, blocks, random, round % 2 == 0);
        }
        check(product, layout, 1, 1, random, true);
    }

    private static void check(RowProducts product, Layout layout, int rows, int blocks, Random random, boolean behind) {
        int k = RowProducts.BLOCK * blocks;
        try (Arena arena = Arena.ofShared()) {
            MemorySegment w = GuardedMemory.allocate(arena, (long) rows * blocks * layout.bytes(), behind);
            MemorySegment x = GuardedMemory.allocate(arena, 4L * k, behind);
            MemorySegment y = GuardedMemory.allocate(arena, 4L * rows, behind);
            MemorySegment sums = GuardedMemory.allocate(arena, RowProducts.preparedBytes(k), behind);
            fill(w, layout, random);
            for (int i = 0; i < k; i++) {
                x.setAtIndex(JAVA_FLOAT, i, (float) random.nextGaussian());
            }
            product.prepare(sums, x, k);
            product.multiply(y, w, x, sums, rows, k);
            for (int j = 0; j < rows; j++) {
                double[] expected = expected(layout, w, (long) j * blocks * layout.bytes(), x, blocks);
                assertThat((double) y.getAtIndex(JAVA_FLOAT, j))
                        .as("%s [%d, %d] row %d", layout, rows, k, j)
                        .isBetween(expected[0] - expected[1], expected[0] + expected[1]);
            }
        }
    }

    /** Random codes; halves of both signs, small ones and zero where scales stand. What is no scale may look like NaN. */
    private static void fill(MemorySegment w, Layout layout, Random random) {
        byte[] bytes = new byte[Math.toIntExact(w.byteSize())];
        random.nextBytes(bytes);
        MemorySegment.copy(bytes, 0, w, JAVA_BYTE, 0, bytes.length);
        float[] scales = {0, 0.01f, -0.3f, 6e-8f, 3e-6f, 2};
        for (long at = 0; at < w.byteSize(); at += layout.bytes()) {
            w.set(JAVA_SHORT_UNALIGNED, at, Float.floatToFloat16(scales[random.nextInt(scales.length)]));
            if (layout == Layout.Q4_1) {
                w.set(JAVA_SHORT_UNALIGNED, at + 2, Float.floatToFloat16(scales[random.nextInt(scales.length)]));
            }
        }
    }

    /** The inner product in double precision, and how far a sum of floats may be from it. */
    private static double[] expected(Layout layout, MemorySegment w, long at, MemorySegment x, int blocks) {
        double sum = 0, size = 0;
        for (int b = 0; b < blocks; b++, at += layout.bytes()) {
            double d = Float.float16ToFloat(w.get(JAVA_SHORT_UNALIGNED, at));
            double m = layout == Layout.Q4_1 ? Float.float16ToFloat(w.get(JAVA_SHORT_UNALIGNED, at + 2)) : 0;
            for (int i = 0; i < 32; i++) {
                int code = code(layout, w, at, i);
                double xi = x.getAtIndex(JAVA_FLOAT, 32L * b + i);
                sum += (d * code + m) * xi;
                size += (Math.abs(d) * 16 + Math.abs(d * code) + Math.abs(m)) * Math.abs(xi);
            }
        }
        return new double[] {sum, 0x1p-23 * (8 + Math.sqrt(32 * blocks)) * size};
    }

    private static int code(Layout layout, MemorySegment w, long at, int i) {
        int start = layout == Layout.Q4_1 ? 4 : 2;
        if (layout == Layout.Q8_0) {
            return w.get(JAVA_BYTE, at + start + i);
        }
        int both = w.get(JAVA_BYTE, at + start + i % 16) & 255, q = i < 16 ? both & 15 : both >> 4;
        return layout == Layout.Q4_0 ? q - 8 : q;
    }

    @Test
    void whatIsTooShortIsRefusedBeforeTheCall() {
        RowProducts product = new RowProducts(Layout.Q8_0, arena);
        MemorySegment enough = arena.allocate(4096), little = arena.allocate(100);
        for (int which = 0; which < 4; which++) {
            MemorySegment[] s = {enough, enough, enough, enough};
            s[which] = which == 0 ? little.asSlice(0, 8) : little;
            assertThatThrownBy(() -> product.multiply(s[0], s[1], s[2], s[3], 3, 320))
                    .as("segment %d", which)
                    .isInstanceOf(IndexOutOfBoundsException.class);
        }
        assertThatThrownBy(() -> product.multiply(enough, enough, enough, enough, 1, 33))
                .hasMessage("emit: 33 columns are no whole blocks of 32");
        product.multiply(little.asSlice(0, 0), enough, enough, enough, 0, 32);
    }

    @Test
    void memoryThatWasGivenBackIsRefused() {
        RowProducts product = new RowProducts(Layout.Q8_0, arena);
        MemorySegment enough = arena.allocate(4096);
        Arena short_ = Arena.ofShared();
        MemorySegment gone = short_.allocate(4096);
        short_.close();
        assertThatThrownBy(() -> product.multiply(enough, gone, enough, enough, 1, 32))
                .isInstanceOf(IllegalStateException.class);
    }

    @Test
    void codeIsExecutableAndNotWritable() throws Exception {
        MemorySegment code = CodeBuffer.load(arena, new byte[] {(byte) 0xC3});
        String address = Long.toHexString(code.address());
        String line = java.nio.file.Files.readAllLines(java.nio.file.Path.of("/proc/self/maps")).stream()
                .filter(l -> l.startsWith(address))
                .findFirst()
                .orElseThrow();
        assertThat(line).contains("r-xp");
    }
}
