package anneal.kernels.emit;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import anneal.kernels.emit.AmxProduct.Form;
import anneal.kernels.emit.BlockProduct.Left;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Products by AMX of every size of a block, between forbidden pages, against plain loops over the packed numbers. */
class AmxProductTest {
    private final Arena arena = Arena.ofShared();
    private final Random random = new Random(5);

    @BeforeEach
    void needed() {
        assumeTrue(CpuFeatures.obstacle(Level.AMX) == null, "no AMX here: " + CpuFeatures.obstacle(Level.AMX));
    }

    @AfterEach
    void close() {
        arena.close();
    }

    @ParameterizedTest
    @EnumSource(names = {"BF16", "FLOATS"})
    void everyShapeInsideItsMemory(Form form) {
        AmxProduct product = new AmxProduct(form, arena);
        int parts = form.parts;
        for (int c = 1; c <= 65; c++) {
            check(product, parts, 33, c, 2, 0, 0);
        }
        for (int r = 1; r <= 65; r++) {
            check(product, parts, r, 35, 1, r % 3, 0);
        }
        for (int round = 0; round < 60; round++) {
            int steps = random.nextInt(0, 5), more = random.nextInt(0, 3), odd = round % 3 == 0 ? 4 : 0;
            check(product, parts, random.nextInt(1, 100), random.nextInt(1, 100), steps, more, odd);
        }
    }

    /** Operands of so many steps, of which some numbers are no finite ones. */
    private void check(AmxProduct product, int parts, int rows, int cols, int steps, int more, int odd) {
        int gap = random.nextInt(3), stride = cols + gap, words = 16 * parts;
        int all = steps + more;
        float alpha = random.nextBoolean() ? 1 : -0.5f;
        boolean add = random.nextBoolean(), behind = random.nextBoolean();
        try (Arena own = Arena.ofShared()) {
            MemorySegment a = numbers(own, parts, (rows + 31) / 32 * steps, odd, behind);
            MemorySegment a2 = numbers(own, parts, (rows + 31) / 32 * more, odd, behind);
            MemorySegment b = numbers(own, parts, (cols + 31) / 32 * all, odd, behind);
            MemorySegment y = GuardedMemory.allocate(own, 4L * ((rows - 1) * stride + cols), behind);
            for (long at = 0; at < y.byteSize(); at += 4) {
                y.set(JAVA_FLOAT_UNALIGNED, at, (float) random.nextGaussian());
            }
            MemorySegment old = MemorySegment.ofArray(y.toArray(JAVA_BYTE));
            product.multiply(
                    own.allocate(BlockProduct.ARGUMENT_BYTES, 64),
                    y,
                    4L * stride,
                    rows,
                    cols,
                    b,
                    alpha,
                    add,
                    new Left(a, 128L * words * steps, words * steps),
                    new Left(a2, 128L * words * more, words * more));
            for (int i = 0; i < rows; i++) {
                for (int j = 0; j < stride && i * stride + j < y.byteSize() / 4; j++) {
                    long at = 4L * (i * stride + j);
                    if (j >= cols) {
                        assertThat(y.get(JAVA_INT_UNALIGNED, at)).isEqualTo(old.get(JAVA_INT_UNALIGNED, at));
                        continue;
                    }
                    double sum = 0, size = 0;
                    for (int p = 0; p < 32 * all; p++) {
                        boolean first = p < 32 * steps;
                        double left = first ? left(a, parts, steps, i, p) : left(a2, parts, more, i, p - 32 * steps);
                        double right = right(b, parts, all, j, p);
                        sum += left * right;
                        size += Math.abs(left * right);
                    }
                    double expected = alpha * sum + (add ? old.get(JAVA_FLOAT_UNALIGNED, at) : 0);
                    double error = 0x1p-23 * (4 + Math.sqrt(32 * all)) * (size + 1);
                    double got = y.get(JAVA_FLOAT_UNALIGNED, at);
                    assertThat(
                                    Double.isFinite(sum)
                                            ? Math.abs(got - expected) <= error
                                            : Double.compare(got, expected) == 0)
                            .as("[%d, %d] steps %d + %d: %s, expected %s", rows, cols, steps, more, got, expected)
                            .isTrue();
                }
            }
        }
    }

    private static double left(MemorySegment a, int parts, int steps, int row, int depth) {
        return sum(a, parts, ((long) row / 32 * steps + depth / 32), row % 32 * 32 + depth % 32);
    }

    private static double right(MemorySegment b, int parts, int steps, int col, int depth) {
        int line = col % 32 / 16 * 16 + depth % 32 / 2;
        return sum(b, parts, (long) col / 32 * steps + depth / 32, line * 32 + col % 16 * 2 + depth % 2);
    }

    /** A number from its parts. */
    private static double sum(MemorySegment s, int parts, long step, int in) {
        double sum = 0;
        for (int part = 0; part < parts; part++) {
            sum += Float.intBitsToFloat(s.get(JAVA_SHORT_UNALIGNED, 2 * (1024 * (step * parts + part) + in)) << 16);
        }
        return sum;
    }

    /** Steps of a panel or strip, each number in parts that become smaller by 2^-8; {@code odd} in a hundred thousand are not finite. */
    private MemorySegment numbers(Arena own, int parts, int steps, int odd, boolean behind) {
        float[] notFinite = {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY};
        MemorySegment s = GuardedMemory.allocate(own, 2048L * parts * steps, behind);
        for (int step = 0; step < steps; step++) {
            for (int in = 0; in < 1024; in++) {
                boolean strange = random.nextInt(100_000) < 100 * odd;
                float x = strange ? notFinite[random.nextInt(3)] : (float) random.nextGaussian();
                for (int part = 0; part < parts; part++) {
                    short bits = (short) (Float.floatToRawIntBits(x) >> 16);
                    s.set(JAVA_SHORT_UNALIGNED, 2 * (1024L * (step * parts + part) + in), bits);
                    x = strange ? 0 : x - Float.intBitsToFloat(bits << 16);
                }
            }
        }
        return s;
    }

    @Test
    void productsOfBytesAreExact() {
        AmxProduct product = new AmxProduct(Form.BYTES, arena);
        for (int round = 0; round < 120; round++) {
            int rows = 1 + round % 66, cols = random.nextInt(1, 70), steps = random.nextInt(0, 4), depth = 64 * steps;
            boolean add = random.nextBoolean(), behind = random.nextBoolean();
            try (Arena own = Arena.ofShared()) {
                MemorySegment a = bytes(own, 2048L * steps * ((rows + 31) / 32), behind);
                MemorySegment b = bytes(own, 2048L * steps * ((cols + 31) / 32), behind);
                MemorySegment y = bytes(own, 4L * rows * cols, behind);
                MemorySegment old = MemorySegment.ofArray(y.toArray(JAVA_BYTE));
                product.multiply(
                        own.allocate(BlockProduct.ARGUMENT_BYTES, 64),
                        y,
                        4L * cols,
                        rows,
                        cols,
                        b,
                        1,
                        add,
                        new Left(a, 2048L * steps, 16 * steps));
                for (int i = 0; i < rows; i++) {
                    for (int j = 0; j < cols; j++) {
                        int sum = add ? old.get(JAVA_INT_UNALIGNED, 4L * (i * cols + j)) : 0;
                        for (int p = 0; p < depth; p++) {
                            long left = 2048L * (i / 32 * steps + p / 64) + 64 * (i % 32) + p % 64;
                            long right = 2048L * (j / 32 * steps + p / 64) + 128 * (p % 64 / 4) + j % 32 * 4 + p % 4;
                            sum += a.get(JAVA_BYTE, left) * b.get(JAVA_BYTE, right);
                        }
                        assertThat(y.get(JAVA_INT_UNALIGNED, 4L * (i * cols + j)))
                                .as("[%d, %d] steps %d", rows, cols, steps)
                                .isEqualTo(sum);
                    }
                }
            }
        }
    }

    private MemorySegment bytes(Arena own, long size, boolean behind) {
        MemorySegment s = GuardedMemory.allocate(own, size, behind);
        for (long at = 0; at < size; at++) {
            s.set(JAVA_BYTE, at, (byte) random.nextInt());
        }
        return s;
    }

    @Test
    void whatDoesNotFitIsRefusedBeforeTheCall() {
        AmxProduct product = new AmxProduct(Form.FLOATS, arena);
        MemorySegment enough = arena.allocate(1 << 16, 64), little = enough.asSlice(0, 6143);
        Left one = new Left(enough, 6144, 48);
        for (int which = 0; which < 4; which++) {
            MemorySegment[] s = {enough, enough, enough, enough};
            s[which] = which == 1 ? enough.asSlice(0, 127) : which == 0 ? enough.asSlice(0, 4000) : little;
            Left left = new Left(s[3], 6144, 48);
            assertThatThrownBy(() -> product.multiply(s[0], s[1], 64, 2, 16, s[2], 1, false, left))
                    .as("segment %d", which)
                    .isInstanceOf(IndexOutOfBoundsException.class);
        }
        assertThatThrownBy(
                        () -> product.multiply(enough, enough, 64, 2, 16, enough, 1, false, new Left(enough, 6144, 32)))
                .hasMessage("emit: 32 words are no whole steps of 48");
        assertThatThrownBy(() -> product.multiply(enough, enough, -4, 2, 16, enough, 1, false, one))
                .hasMessage("emit: rows -4 bytes apart");
    }
}
