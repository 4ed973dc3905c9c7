package anneal.kernels.emit;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_SHORT;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import anneal.kernels.emit.BlockProduct.Left;
import anneal.kernels.emit.TileProduct.Form;
import anneal.kernels.emit.TileProduct.Order;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** Emitted tile products of every form at every level that this machine has, between forbidden pages, against plain loops. */
class TileProductTest {
    private final Arena arena = Arena.ofShared();

    @AfterEach
    void close() {
        arena.close();
    }

    static Stream<Arguments> kernels() {
        return Level.available().stream()
                .flatMap(level -> Stream.of(Form.values())
                        .filter(form -> level.has(form.least()))
                        .flatMap(form -> Stream.of(Order.values()).map(order -> Arguments.of(form, order, level))));
    }

    @ParameterizedTest(allowZeroInvocations = true)
    @MethodSource("kernels")
    void everyShapeInsideItsMemory(Form form, Order order, Level level) {
        TileProduct product = new TileProduct(form, order, level, arena);
        Random random = new Random(3);
        int cols = TileProduct.cols(level), rows = TileProduct.rows(level);
        for (int c = 1; c <= 2 * cols + 1; c++) {
            new Case(form, order, level, random, rows, c, 5, 0, c % 2 == 0).check(product);
        }
        for (int r = 1; r <= 2 * rows + 1; r++) {
            new Case(form, order, level, random, r, cols + 3, 6, r % 3, r % 2 == 0).check(product);
        }
        for (int round = 0; round < 100; round++) {
            new Case(
                            form,
                            order,
                            level,
                            random,
                            random.nextInt(1, 40),
                            random.nextInt(1, 100),
                            random.nextInt(0, 70),
                            random.nextInt(3) == 0 && form != Form.BYTES ? random.nextInt(1, 20) : 0,
                            round % 2 == 0)
                    .check(product);
        }
    }

    /** One product: operands between forbidden pages, what must come out. */
    private final class Case {
        final Form form;
        final Order order;
        final Level level;
        final Random random;
        final int rows, cols, depth, more;
        final boolean behind;

        Case(
                Form form,
                Order order,
                Level level,
                Random random,
                int rows,
                int cols,
                int depth,
                int more,
                boolean behind) {
            this.form = form;
            this.order = order;
            this.level = level;
            this.random = random;
            this.rows = rows;
            this.cols = cols;
            this.depth = depth;
            this.more = form == Form.BYTES ? 0 : more;
            this.behind = behind;
        }

        void check(TileProduct product) {
            int width = TileProduct.cols(level), all = depth + more, gap = random.nextInt(3);
            int strips = (cols + width - 1) / width;
            float alpha = form == Form.F32 || form == Form.BF16_PAIRS ? (random.nextBoolean() ? 1 : -0.5f) : 1;
            boolean add = random.nextBoolean();
            try (Arena own = Arena.ofShared()) {
                MemorySegment a = words(own, leftWords(depth, gap)), a2 = words(own, leftWords(more, 0));
                MemorySegment b = words(own, strips * product.stripWords(all));
                int stride = cols + gap;
                MemorySegment y = GuardedMemory.allocate(own, 4L * ((rows - 1) * stride + cols), behind);
                fill(y, form == Form.F32 || form == Form.BF16_PAIRS);
                byte[] before = y.toArray(JAVA_BYTE);
                MemorySegment arguments = own.allocate(TileProduct.ARGUMENT_BYTES, 8);
                product.multiply(
                        arguments,
                        y,
                        4L * stride,
                        rows,
                        cols,
                        b,
                        alpha,
                        add,
                        new Left(a, 4L * high() * (depth + gap), depth),
                        new Left(a2, 4L * high() * more, more));
                MemorySegment old = MemorySegment.ofArray(before);
                for (int i = 0; i < rows; i++) {
                    for (int j = 0; j < stride && i * stride + j < y.byteSize() / 4; j++) {
                        long at = 4L * (i * stride + j);
                        if (j >= cols) {
                            assertThat(y.get(JAVA_INT_UNALIGNED, at)).isEqualTo(old.get(JAVA_INT_UNALIGNED, at));
                            continue;
                        }
                        long strip = j / width * product.stripWords(all);
                        double[] sum = sum(a, a2, b, i, gap, strip + j % width, width);
                        compare(y, old, at, sum, alpha, add);
                    }
                }
            }
        }

        private void compare(MemorySegment y, MemorySegment old, long at, double[] sum, float alpha, boolean add) {
            String what = "%s %s [%d, %d] depth %d + %d".formatted(form, level, rows, cols, depth, more);
            if (form == Form.F32 || form == Form.BF16_PAIRS) {
                double expected = alpha * sum[0] + (add ? old.get(JAVA_FLOAT_UNALIGNED, at) : 0);
                double error = 0x1p-23 * (4 + Math.sqrt(depth + more)) * (sum[1] + 1);
                assertThat((double) y.get(JAVA_FLOAT_UNALIGNED, at))
                        .as(what)
                        .isBetween(expected - error, expected + error);
            } else {
                assertThat(y.get(JAVA_INT_UNALIGNED, at))
                        .as(what)
                        .isEqualTo((int) (long) sum[0] + (add ? old.get(JAVA_INT_UNALIGNED, at) : 0));
            }
        }

        /** The inner product of row i and the column whose first word is at {@code word}, and the sum of its sizes. */
        private double[] sum(MemorySegment a, MemorySegment a2, MemorySegment b, int i, int gap, long word, int width) {
            double[] sums = new double[2];
            if (form == Form.BYTES) {
                sums[0] = b.get(JAVA_INT_UNALIGNED, 4 * word);
                word += width;
            }
            for (int p = 0; p < depth + more; p++) {
                long left = p < depth ? at(i, p, depth + gap) : at(i, p - depth, more);
                product(p < depth ? a : a2, left, b, 4 * (word + (long) p * width), sums);
            }
            return sums;
        }

        private void product(MemorySegment a, long at, MemorySegment b, long bt, double[] sums) {
            for (int k = 0; k < parts(); k++) {
                double value = part(a, at, k, true) * part(b, bt, k, false);
                sums[0] += value;
                sums[1] += Math.abs(value);
            }
        }

        /** Rows that lie together. */
        private int high() {
            return order == Order.PANELS ? TileProduct.rows(level) : 1;
        }

        private long leftWords(int depth, int gap) {
            return ((long) (rows - 1) / high() * (depth + gap) + depth) * high();
        }

        private long at(int i, int p, int width) {
            return 4L * ((i / high() * width + p) * high() + i % high());
        }

        private int parts() {
            return form == Form.F32 ? 1 : form == Form.BYTES ? 4 : 2;
        }

        private double part(MemorySegment s, long at, int k, boolean left) {
            return switch (form) {
                case F32 -> s.get(JAVA_FLOAT_UNALIGNED, at);
                case BF16_PAIRS -> Float.intBitsToFloat((s.get(JAVA_INT_UNALIGNED, at) >>> 16 * k) << 16);
                case SHORT_PAIRS -> (short) (s.get(JAVA_INT_UNALIGNED, at) >> 16 * k);
                case BYTES -> left ? s.get(JAVA_BYTE, at + k) & 255 : s.get(JAVA_BYTE, at + k);
            };
        }

        private MemorySegment words(Arena own, long count) {
            MemorySegment s = GuardedMemory.allocate(own, 4 * Math.max(0, count), behind);
            fill(s, form == Form.F32);
            if (form == Form.BF16_PAIRS) {
                for (long i = 0; i < 2 * count; i++) {
                    s.set(JAVA_SHORT.withByteAlignment(1), 2 * i, (short)
                            (Float.floatToRawIntBits((float) random.nextGaussian()) >> 16));
                }
            }
            return s;
        }

        private void fill(MemorySegment s, boolean floats) {
            for (long at = 0; at < s.byteSize(); at += 4) {
                if (floats) {
                    s.set(JAVA_FLOAT_UNALIGNED, at, (float) random.nextGaussian());
                } else if (form == Form.SHORT_PAIRS) {
                    s.set(JAVA_INT_UNALIGNED, at, random.nextInt(-128, 128) << 16 | random.nextInt(-128, 128) & 0xffff);
                } else {
                    s.set(JAVA_INT_UNALIGNED, at, random.nextInt());
                }
            }
        }
    }

    @ParameterizedTest(allowZeroInvocations = true)
    @MethodSource("anneal.kernels.emit.Level#available")
    void infinitiesAndNanGoTheirWay(Level level) {
        TileProduct product = new TileProduct(Form.F32, Order.ROWS, level, arena);
        int width = TileProduct.cols(level);
        MemorySegment a = arena.allocate(JAVA_FLOAT, 3), b = arena.allocate(4L * width, 64);
        float[] left = {Float.POSITIVE_INFINITY, Float.NaN, 1e-42f};
        for (int i = 0; i < 3; i++) {
            a.setAtIndex(JAVA_FLOAT, i, left[i]);
        }
        b.setAtIndex(JAVA_FLOAT, 0, -2);
        b.setAtIndex(JAVA_FLOAT, 1, 0);
        MemorySegment y = arena.allocate(JAVA_FLOAT, 6), arguments = arena.allocate(TileProduct.ARGUMENT_BYTES, 8);
        product.multiply(arguments, y, 8, 3, 2, b, 1, false, new Left(a, 4, 1));
        assertThat(y.toArray(JAVA_FLOAT))
                .containsExactly(Float.NEGATIVE_INFINITY, Float.NaN, Float.NaN, Float.NaN, -2 * left[2], 0);
    }

    @Test
    void memoryThatWasGivenBackOrIsOnTheHeapIsRefused() {
        Assumptions.assumeFalse(Level.available().isEmpty(), "no emitted code here");
        TileProduct product = new TileProduct(Form.F32, Order.ROWS, Level.AVX2, arena);
        MemorySegment enough = arena.allocate(8192, 64);
        Arena brief = Arena.ofShared();
        MemorySegment gone = brief.allocate(4096);
        brief.close();
        MemorySegment heap = MemorySegment.ofArray(new float[1024]);
        for (int which = 0; which < 3; which++) {
            MemorySegment[] s = {enough, enough, enough};
            s[which] = gone;
            assertThatThrownBy(() -> product.multiply(enough, s[0], 64, 3, 16, s[1], 1, false, new Left(s[2], 64, 16)))
                    .isInstanceOf(IllegalStateException.class);
            s[which] = heap;
            assertThatThrownBy(() -> product.multiply(enough, s[0], 64, 3, 16, s[1], 1, false, new Left(s[2], 64, 16)))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("Heap segment not allowed");
        }
    }

    @Test
    void whatIsTooShortIsRefusedBeforeTheCall() {
        Assumptions.assumeFalse(Level.available().isEmpty(), "no emitted code here");
        TileProduct product = new TileProduct(Form.F32, Order.ROWS, Level.AVX2, arena);
        MemorySegment enough = arena.allocate(8192, 64), little = enough.asSlice(0, 60);
        for (int which = 0; which < 4; which++) {
            MemorySegment[] s = {enough, enough, enough, enough};
            s[which] = little;
            assertThatThrownBy(() -> product.multiply(s[0], s[1], 64, 3, 16, s[2], 1, false, new Left(s[3], 64, 16)))
                    .as("segment %d", which)
                    .isInstanceOf(IndexOutOfBoundsException.class);
        }
        assertThatThrownBy(
                        () -> product.multiply(enough, enough, -4, 2, 16, enough, 1, false, new Left(enough, 64, 16)))
                .hasMessage("emit: rows -4 bytes apart");
        Left one = new Left(enough, 64, 16);
        assertThatThrownBy(() -> product.multiply(enough, enough, 64, 2, 16, enough, 1, false, one, one, one))
                .hasMessage("emit: 3 left operands, there can be two");
        assertThatThrownBy(() -> new Left(enough, -4, 16)).hasMessage("emit: 16 words of rows -4 bytes apart");
        assertThatThrownBy(() -> new TileProduct(Form.BF16_PAIRS, Order.ROWS, Level.AVX512, arena))
                .hasMessage("emit: avx512 has no products of BF16_PAIRS");
    }
}
