package anneal.kernels;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;
import static org.assertj.core.api.Assertions.assertThat;

import anneal.tensor.DType;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * What every tier's products must do, held to plain loops in double precision: right within a tolerance that grows with the
 * length of the sum, nothing written outside the result, and the same bits for any number of threads.
 */
abstract class KernelsContract {
    private static final int[] SIZES = {1, 2, 4, 6, 8, 13, 16, 25, 32, 33, 64, 100, 127, 207, 256, 300, 512, 702, 1024};

    /** A factor whose inverse is exact. */
    private static final float ALPHA = -0.5f;

    private final int threads = Parallel.threads();

    abstract Kernels kernels();

    @AfterEach
    void restoreThreads() {
        Parallel.threads(threads);
    }

    enum Kind {
        /** y[m, n] = x[m, k] w[n, k]T. */
        MATMUL_T,
        /** y[m, n] = x[m, k] w[k, n]. */
        MATMUL,
        /** y[m, n] = x[k, m]T w[k, n]. */
        MATMUL_TN
    }

    /** m, n, k: each size in each place beside small odd ones, zero sizes, and some that cross every cache block. */
    static Stream<int[]> shapes() {
        Stream.Builder<int[]> all = Stream.builder();
        for (int s : SIZES) {
            for (int other : new int[] {1, 9, 34}) {
                all.add(new int[] {s, other, 13}).add(new int[] {other, s, 13}).add(new int[] {13, other, s});
            }
        }
        for (int[] s : new int[][] {
            {0, 3, 4},
            {3, 0, 4},
            {3, 4, 0},
            {20, 4, 0},
            {3, 4, 4098},
            {20, 4, 4098},
            {20, 4098, 4},
            {4098, 20, 4},
            {65, 259, 1025},
            {37, 2098, 65},
            {215, 129, 300},
            {8, 1030, 515},
            {1900, 17, 9},
            {61, 90, 2049}
        }) {
            all.add(s);
        }
        return all.build();
    }

    /**
     * True if a product of m rows rounds its operands in BF16. A tier that keeps more precision says so here; what it then
     * computes is held to the product of the numbers as they are.
     */
    boolean rounds(Kind kind, int m) {
        return kind == Kind.MATMUL_TN || m > RoundedKernels.FEW_ROWS;
    }

    /** The numbers that a product has as operands. */
    private float[] operands(Compute compute, Kind kind, int m, float[] x) {
        return compute == Compute.BF16 && rounds(kind, m) ? Operands.bfloats(x) : x;
    }

    @ParameterizedTest
    @MethodSource("shapes")
    void products(int[] s) {
        products(Compute.F32, s);
    }

    @ParameterizedTest
    @MethodSource("shapes")
    void productsInBfloat16(int[] s) {
        products(Compute.BF16, s);
    }

    private void products(Compute compute, int[] s) {
        Kernels kernels = kernels().in(compute);
        int m = s[0], n = s[1], k = s[2];
        try (Buffers buffers = new Buffers()) {
            Random random = new Random(1);
            MemorySegment x = buffers.normal(random, (long) m * k, 1), w = buffers.normal(random, (long) n * k, 1);
            float[] a = Buffers.floats(x), b = Buffers.floats(w);
            for (Kind kind : Kind.values()) {
                float[] left = operands(compute, kind, m, a), right = operands(compute, kind, m, b);
                check(kind, s, left, right, (y, alpha, add) -> multiply(kernels, kind, s, y, x, w, alpha, add));
            }
            assertThat(Buffers.floats(x)).as("x stays as it is").isEqualTo(a);
            buffers.assertGuards();
        }
    }

    private static void multiply(
            Kernels kernels,
            Kind kind,
            int[] s,
            MemorySegment y,
            MemorySegment x,
            MemorySegment w,
            float alpha,
            boolean add) {
        int m = s[0], n = s[1], k = s[2];
        switch (kind) {
            case MATMUL_T -> kernels.matmulT(y, x, new F32Matrix(w, n, k), m, alpha, add);
            case MATMUL -> kernels.matmul(y, x, new F32Matrix(w, k, n), m, alpha, add);
            case MATMUL_TN -> kernels.matmulTN(y, x, w, m, n, k, alpha, add);
        }
    }

    /** The largest floats, above the largest bf16 of all, are multiplied as others are. */
    @ParameterizedTest
    @EnumSource(Kind.class)
    void largestFloats(Kind kind) {
        int[] s = {21, 35, 40};
        try (Buffers buffers = new Buffers()) {
            Random random = new Random(13);
            MemorySegment x = buffers.normal(random, 21 * 40, 1), w = buffers.normal(random, 35 * 40, 0x1p-10);
            for (int i = 0; i < 21 * 40; i += 37) {
                x.setAtIndex(JAVA_FLOAT, i, i % 2 == 0 ? Float.MAX_VALUE : -3.397e38f);
            }
            check(kind, s, Buffers.floats(x), Buffers.floats(w), (y, alpha, add) -> {
                multiply(kernels(), kind, s, y, x, w, alpha, add);
            });
        }
    }

    /** What is no number reaches its own row and changes no bit of the others. */
    @ParameterizedTest
    @EnumSource(Kind.class)
    void rowsDoNotDisturbEachOther(Kind kind) {
        int m = 40, n = 70, k = 100, row = 5;
        int[] s = {m, n, k};
        try (Buffers buffers = new Buffers()) {
            Random random = new Random(14);
            MemorySegment x = buffers.normal(random, (long) m * k, 1), w = buffers.normal(random, (long) n * k, 1);
            MemorySegment y = buffers.filled((long) m * n, 0);
            multiply(kernels(), kind, s, y, x, w, 1, false);
            float[] expected = Buffers.floats(y);
            Arrays.fill(expected, row * n, (row + 1) * n, Float.NaN);
            x.setAtIndex(JAVA_FLOAT, kind == Kind.MATMUL_TN ? 7 * m + row : row * k + 7, Float.NaN);
            multiply(kernels(), kind, s, y, x, w, 1, false);
            assertThat(Buffers.floats(y)).isEqualTo(expected);
        }
    }

    /** Infinities and NaN come out where they belong and nowhere else, denormals count, and floats may lie at any address. */
    @ParameterizedTest
    @EnumSource(Kind.class)
    void oddNumbersAtOddAddresses(Kind kind) {
        int m = 23, n = 37, k = 41;
        float[] odd = {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY, Float.MIN_VALUE, -1e-40f, 0};
        Random random = new Random(12);
        try (Buffers buffers = new Buffers()) {
            int stored = kind == Kind.MATMUL_TN
                    ? 4
                    : 1; // a matrix comes from a file, at any address; buffers hold whole floats
            MemorySegment x = displaced(buffers, random, m * k, 4), w = displaced(buffers, random, n * k, stored);
            for (int i = 0; i < 12; i++) {
                x.set(JAVA_FLOAT_UNALIGNED, 4L * random.nextInt(m * k), odd[i % odd.length]);
            }
            MemorySegment y = buffers.filled(m * n + 1L, 0).asSlice(4, 4L * m * n);
            multiply(kernels(), kind, new int[] {m, n, k}, y, x, w, 1, false);
            buffers.assertGuards();
            float[] a = x.toArray(JAVA_FLOAT_UNALIGNED), b = w.toArray(JAVA_FLOAT_UNALIGNED);
            float[] got = y.toArray(JAVA_FLOAT_UNALIGNED);
            double[] sums = new double[m * n], sizes = new double[m * n];
            reference(kind, new int[] {m, n, k}, a, b, sums, sizes);
            for (int i = 0; i < got.length; i++) {
                boolean same = Double.isFinite(sums[i])
                        ? Math.abs(got[i] - sums[i]) <= 1e-6 * sizes[i]
                        : Double.compare(got[i], sums[i]) == 0;
                assertThat(same)
                        .as("%s %d: %s, expected %s", kind, i, got[i], sums[i])
                        .isTrue();
            }
        }
    }

    /** Normal floats that begin so many bytes behind a multiple of 64. */
    private static MemorySegment displaced(Buffers buffers, Random random, int count, int bytes) {
        MemorySegment s = buffers.filled(count + 1L, 0).asSlice(bytes, 4L * count);
        for (int i = 0; i < count; i++) {
            s.set(JAVA_FLOAT_UNALIGNED, 4L * i, (float) random.nextGaussian());
        }
        return s;
    }

    /** m, n, the depth of the first part, the depth of the second. */
    static Stream<int[]> joined() {
        return Stream.of(
                new int[] {1, 9, 32, 4},
                new int[] {7, 5, 3, 2},
                new int[] {41, 34, 33, 16},
                new int[] {20, 70, 1024, 16},
                new int[] {23, 64, 1000, 100},
                new int[] {64, 33, 1536, 8},
                new int[] {13, 40, 0, 5},
                new int[] {13, 40, 5, 0},
                new int[] {0, 4, 5, 3},
                new int[] {9, 31, 16, 2100});
    }

    @ParameterizedTest
    @MethodSource("joined")
    void twoProductsAsOne(int[] s) {
        twoProductsAsOne(Compute.F32, s);
    }

    @ParameterizedTest
    @MethodSource("joined")
    void twoProductsAsOneInBfloat16(int[] s) {
        twoProductsAsOne(Compute.BF16, s);
    }

    private void twoProductsAsOne(Compute compute, int[] s) {
        Kernels kernels = kernels().in(compute);
        int m = s[0], n = s[1], k = s[2], r = s[3], all = k + r;
        try (Buffers buffers = new Buffers()) {
            Random random = new Random(6);
            MemorySegment x = buffers.normal(random, (long) m * k, 1), u = buffers.normal(random, (long) m * r, 1);
            MemorySegment w = buffers.normal(random, (long) n * k, 1), v = buffers.normal(random, (long) n * r, 1);
            float[] a = operands(compute, Kind.MATMUL_T, m, beside(Buffers.floats(x), k, Buffers.floats(u), r, m));
            float[] b = operands(compute, Kind.MATMUL_T, m, beside(Buffers.floats(w), k, Buffers.floats(v), r, n));
            Matrix wT = new F32Matrix(w, n, k), vT = new F32Matrix(v, n, r);
            check(Kind.MATMUL_T, new int[] {m, n, all}, a, b, (y, alpha, add) -> {
                scale(u, x, alpha);
                kernels.matmulTPlus(y, x, wT, u, vT, m, add);
                scale(u, x, 1 / alpha);
            });
            Matrix t = new TransposedMatrix(wT), tv = new TransposedMatrix(vT);
            check(Kind.MATMUL_T, new int[] {m, n, all}, a, b, (y, alpha, add) -> {
                scale(u, x, alpha);
                kernels.matmulPlus(y, x, t, u, tv, m, add);
                scale(u, x, 1 / alpha);
            });
            float[] above = Arrays.copyOf(Buffers.floats(w), n * all);
            System.arraycopy(Buffers.floats(v), 0, above, n * k, n * r);
            check(Kind.MATMUL, new int[] {m, n, all}, a, operands(compute, Kind.MATMUL, m, above), (y, alpha, add) -> {
                scale(u, x, alpha);
                kernels.matmulPlus(y, x, new F32Matrix(w, k, n), u, new F32Matrix(v, r, n), m, add);
                scale(u, x, 1 / alpha);
            });
            buffers.assertGuards();
        }
    }

    /** The joint products have no alpha of their own: both left operands times alpha, a number that is exact either way. */
    private static void scale(MemorySegment u, MemorySegment x, float alpha) {
        for (MemorySegment s : new MemorySegment[] {u, x}) {
            for (long i = 0; i < s.byteSize() / 4; i++) {
                s.setAtIndex(JAVA_FLOAT, i, s.getAtIndex(JAVA_FLOAT, i) * alpha);
            }
        }
    }

    /** [a | b]: rows of both side by side. */
    private static float[] beside(float[] a, int k, float[] b, int r, int rows) {
        float[] both = new float[rows * (k + r)];
        for (int i = 0; i < rows; i++) {
            System.arraycopy(a, i * k, both, i * (k + r), k);
            System.arraycopy(b, i * r, both, i * (k + r) + k, r);
        }
        return both;
    }

    @ParameterizedTest
    @EnumSource(DType.class)
    void everyFormat(DType type) {
        if (!type.isReal()) {
            return;
        }
        int rows = 37, cols = type.blockSize() == 1 ? 333 : 1280;
        try (Arena arena = Arena.ofShared()) {
            Matrix w = type.matrix(randomBlocks(arena, type, rows * cols), rows, cols);
            float[] plain = new float[rows * cols];
            for (int r = 0; r < rows; r++) {
                w.widen(r, 0, cols, plain, r * cols);
            }
            widened(w, plain);
            for (int m : new int[] {1, 2, 4, 5, 8, 9, 41}) {
                for (Compute compute : Compute.values()) {
                    both(compute, w, plain, m);
                }
            }
        }
    }

    @ParameterizedTest
    @CsvSource({"32, 960", "64, 960", "320, 960", "128, 576", "64, 96", "4096, 96", "64, 80", "32, 45"})
    void codebook(int block, int cols) {
        int rows = 37, numbers = rows * cols, blocks = (numbers + block - 1) / block;
        Random random = new Random(8);
        try (Arena arena = Arena.ofShared()) {
            byte[] bytes = new byte[(numbers + 1) / 2];
            random.nextBytes(bytes);
            MemorySegment codes = arena.allocate(bytes.length + 1).asSlice(1); // at an odd address, as in a file
            MemorySegment.copy(bytes, 0, codes, JAVA_BYTE, 0, bytes.length);
            MemorySegment nested = arena.allocate(blocks), map = arena.allocate(JAVA_FLOAT, 256);
            MemorySegment absmax = arena.allocate(JAVA_FLOAT, blocks / 16 + 1);
            for (MemorySegment s : List.of(map, absmax)) {
                for (long i = 0; i < s.byteSize() / 4; i++) {
                    s.setAtIndex(JAVA_FLOAT, i, (float) random.nextGaussian());
                }
            }
            float[] scale = new float[blocks];
            MemorySegment plainScales = arena.allocate(JAVA_FLOAT, blocks);
            for (int i = 0; i < blocks; i++) {
                int code = random.nextInt(256);
                nested.set(JAVA_BYTE, i, (byte) code);
                scale[i] = map.getAtIndex(JAVA_FLOAT, code) * absmax.getAtIndex(JAVA_FLOAT, i / 16) + 0.25f;
                plainScales.setAtIndex(JAVA_FLOAT, i, scale[i]);
            }
            float[] plain = new float[numbers];
            for (int i = 0; i < plain.length; i++) {
                int code = i % 2 == 0 ? bytes[i / 2] >> 4 & 15 : bytes[i / 2] & 15;
                plain[i] = CodebookMatrix.NF4.get(code) * scale[i / block];
            }
            for (Scales scales :
                    List.of(new Scales.Plain(plainScales), new Scales.Nested(nested, absmax, map, 0.25f, 16))) {
                Matrix w = new CodebookMatrix(codes, scales, rows, cols, block, CodebookMatrix.NF4);
                bothOfSomeSizes(w, plain);
            }
        }
    }

    private void widened(Matrix w, float[] plain) {
        try (Arena arena = Arena.ofShared()) {
            MemorySegment y = arena.allocate(JAVA_FLOAT, plain.length);
            kernels().widen(y, w);
            assertThat(y.toArray(JAVA_FLOAT)).isEqualTo(plain);
        }
    }

    private void bothOfSomeSizes(Matrix w, float[] plain) {
        widened(w, plain);
        for (int m : new int[] {1, 3, 8, 9, 41}) {
            for (Compute compute : Compute.values()) {
                both(compute, w, plain, m);
            }
        }
    }

    @ParameterizedTest
    @CsvSource({"4, 32, 96", "3, 15, 60", "8, 32, 96", "8, 13, 39", "5, 64, 64", "4, 10, 30"})
    void groups(int bits, int group, int cols) {
        int rows = 37, ofByte = bits <= 4 ? 2 : 1, groups = rows * cols / group;
        Random random = new Random(9);
        try (Arena arena = Arena.ofShared()) {
            MemorySegment codes = arena.allocate(rows * cols / ofByte), zeros = arena.allocate(groups);
            MemorySegment scales = arena.allocate(JAVA_FLOAT, groups);
            for (int i = 0; i < groups; i++) {
                zeros.set(JAVA_BYTE, i, (byte) random.nextInt(1 << bits));
                scales.setAtIndex(JAVA_FLOAT, i, (float) random.nextGaussian() / (1 << bits));
            }
            float[] plain = new float[rows * cols];
            for (int i = 0; i < plain.length; i++) {
                int code = random.nextInt(1 << bits), old = codes.get(JAVA_BYTE, i / ofByte);
                codes.set(JAVA_BYTE, i / ofByte, (byte) (ofByte == 2 && i % 2 == 1 ? old | code << 4 : code));
                plain[i] = (code - (zeros.get(JAVA_BYTE, i / group) & 255)) * scales.getAtIndex(JAVA_FLOAT, i / group);
            }
            bothOfSomeSizes(new GroupMatrix(codes, scales, zeros, rows, cols, group, bits), plain);
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {96, 45})
    void bytesWithAScaleOfTheirRow(int cols) {
        int rows = 37;
        Random random = new Random(10);
        try (Arena arena = Arena.ofShared()) {
            byte[] bytes = new byte[rows * cols];
            random.nextBytes(bytes);
            MemorySegment codes = arena.allocateFrom(JAVA_BYTE, bytes), scales = arena.allocate(JAVA_FLOAT, rows);
            for (int i = 0; i < rows; i++) {
                scales.setAtIndex(JAVA_FLOAT, i, (float) random.nextGaussian());
            }
            float[] plain = new float[rows * cols];
            for (int i = 0; i < plain.length; i++) {
                plain[i] = bytes[i] * (scales.getAtIndex(JAVA_FLOAT, i / cols) / 127);
            }
            bothOfSomeSizes(new Int8Matrix(codes, scales, rows, cols), plain);
        }
    }

    @ParameterizedTest
    @EnumSource(
            value = DType.class,
            names = {"F32", "BF16", "Q8_0"})
    void transposedView(DType type) {
        int rows = 45, cols = 96;
        try (Arena arena = Arena.ofShared()) {
            Matrix stored = type.matrix(randomBlocks(arena, type, rows * cols), rows, cols);
            Matrix w = new TransposedMatrix(stored);
            float[] plain = new float[rows * cols];
            for (int r = 0; r < cols; r++) {
                w.widen(r, 0, rows, plain, r * rows);
            }
            float[] row = new float[cols];
            stored.widen(7, 0, cols, row, 0);
            for (int c = 0; c < cols; c++) {
                assertThat(plain[c * rows + 7]).isEqualTo(row[c]);
            }
            for (int m : new int[] {1, 7, 30}) {
                for (Compute compute : Compute.values()) {
                    both(compute, w, plain, m);
                }
            }
        }
    }

    /** Both products with a matrix whose numbers are {@code plain}. */
    private void both(Compute compute, Matrix w, float[] plain, int m) {
        Kernels kernels = kernels().in(compute);
        int rows = w.rows(), cols = w.cols();
        try (Buffers buffers = new Buffers()) {
            MemorySegment x = buffers.normal(new Random(3), (long) m * Math.max(rows, cols), 1);
            for (Kind kind : new Kind[] {Kind.MATMUL_T, Kind.MATMUL}) {
                boolean bytes = compute == Compute.INT8 && kind == Kind.MATMUL_T && w instanceof BlockMatrix;
                float[] a = Arrays.copyOf(Buffers.floats(x), m * (kind == Kind.MATMUL_T ? cols : rows));
                float[] left = bytes ? Operands.int8(a) : operands(compute, kind, m, a);
                float[] right = operands(compute, kind, m, plain);
                int[] shape = kind == Kind.MATMUL_T ? new int[] {m, rows, cols} : new int[] {m, cols, rows};
                check(kind, shape, left, right, (y, alpha, add) -> {
                    if (kind == Kind.MATMUL_T) {
                        kernels.matmulT(y, x, w, m, alpha, add);
                    } else {
                        kernels.matmul(y, x, w, m, alpha, add);
                    }
                });
            }
            buffers.assertGuards();
        }
    }

    /** A frozen block-quantised w with an addition of low rank: only what meets w becomes bytes. */
    @Test
    void theJoinedProductInBytes() {
        int m = 11, n = 20, k = 64, r = 8;
        try (Arena arena = Arena.ofShared();
                Buffers buffers = new Buffers()) {
            Random random = new Random(7);
            Matrix w = DType.Q8_0.matrix(randomBlocks(arena, DType.Q8_0, n * k), n, k);
            float[] plain = new float[n * k];
            for (int j = 0; j < n; j++) {
                w.widen(j, 0, k, plain, j * k);
            }
            MemorySegment x = buffers.normal(random, (long) m * k, 1), u = buffers.normal(random, (long) m * r, 1);
            MemorySegment v = buffers.normal(random, (long) n * r, 1), y = buffers.filled((long) m * n, 0);
            float[] a = beside(Operands.int8(Buffers.floats(x)), k, Buffers.floats(u), r, m);
            float[] b = beside(plain, k, Buffers.floats(v), r, n);
            double[] sums = new double[m * n], sizes = new double[m * n];
            int[] shape = {m, n, k + r};
            reference(Kind.MATMUL_T, shape, a, b, sums, sizes);
            kernels().in(Compute.INT8).matmulTPlus(y, x, w, u, new F32Matrix(v, n, r), m, false);
            compare("joined, in bytes", shape, Buffers.floats(y), null, sums, sizes);
            buffers.assertGuards();
        }
    }

    private interface Call {
        void run(MemorySegment y, float alpha, boolean add);
    }

    private static void check(Kind kind, int[] s, float[] a, float[] b, Call call) {
        int m = s[0], n = s[1];
        double[] sums = new double[m * n], sizes = new double[m * n];
        reference(kind, s, a, b, sums, sizes);
        for (boolean add : new boolean[] {false, true}) {
            float[] first = null;
            for (int t = 1; t <= 3; t++) {
                Parallel.threads(t);
                try (Buffers buffers = new Buffers()) {
                    MemorySegment y = buffers.normal(new Random(4), (long) m * n, 1);
                    float[] old = Buffers.floats(y);
                    call.run(y, add ? ALPHA : 1, add);
                    buffers.assertGuards();
                    float[] got = Buffers.floats(y);
                    String what = kind + " " + Arrays.toString(s) + (add ? " added" : "");
                    if (first == null) {
                        first = got;
                        compare(what, s, got, add ? old : null, sums, sizes);
                    } else {
                        assertThat(Arrays.mismatch(got, first))
                                .as("%s: first bit that differs between 1 and %d threads", what, t)
                                .isEqualTo(-1);
                    }
                }
            }
        }
    }

    /** Holds y = ALPHA sums + old, or y = sums if old is null, to a tolerance that grows with the length of the sums. */
    private static void compare(String what, int[] s, float[] got, float[] old, double[] sums, double[] sizes) {
        int n = s[1], k = s[2];
        for (int i = 0; i < got.length; i++) {
            double expected = old == null ? sums[i] : ALPHA * sums[i] + old[i];
            double tolerance = 0x1p-23 * ((4 + Math.sqrt(k)) * sizes[i] + Math.abs(expected));
            if (!(Math.abs(got[i] - expected) <= tolerance)) {
                throw new AssertionError("%s: [%d, %d] is %g, expected %g within %g"
                        .formatted(what, i / n, i % n, got[i], expected, tolerance));
            }
        }
    }

    /** The product in double precision, and the sum of magnitudes that rounding errors are measured by. */
    private static void reference(Kind kind, int[] s, float[] a, float[] b, double[] sums, double[] sizes) {
        int m = s[0], n = s[1], k = s[2];
        for (int i = 0; i < m; i++) {
            double[] sum = new double[n], size = new double[n];
            for (int p = 0; p < k; p++) {
                double left = kind == Kind.MATMUL_TN ? a[p * m + i] : a[i * k + p];
                int at = kind == Kind.MATMUL_T ? p : p * n, step = kind == Kind.MATMUL_T ? k : 1;
                for (int j = 0; j < n; j++) {
                    double term = left * b[at + j * step];
                    sum[j] += term;
                    size[j] += Math.abs(term);
                }
            }
            System.arraycopy(sum, 0, sums, i * n, n);
            System.arraycopy(size, 0, sizes, i * n, n);
        }
    }

    /** Random bytes with ordinary numbers where a format keeps its scales; at an odd address, as in a file. */
    private static MemorySegment randomBlocks(Arena arena, DType type, int count) {
        int[] halves = switch (type) {
            case Q4_0, Q5_0, Q8_0, F16 -> new int[] {0};
            case Q4_1, Q5_1, Q4_K, Q5_K -> new int[] {0, 2};
            case Q2_K -> new int[] {80, 82};
            case Q3_K -> new int[] {108};
            case Q6_K -> new int[] {208};
            default -> new int[] {};
        };
        Random random = new Random(5);
        byte[] bytes = new byte[Math.toIntExact(type.bytes(count))];
        random.nextBytes(bytes);
        MemorySegment s = arena.allocate(bytes.length + 1).asSlice(1);
        MemorySegment.copy(bytes, 0, s, JAVA_BYTE, 0, bytes.length);
        for (int block = 0; block < count / type.blockSize(); block++) {
            long at = (long) block * type.blockBytes();
            float number = (float) random.nextGaussian();
            for (int half : halves) {
                s.set(LittleEndian.SHORT, at + half, Float.floatToFloat16((float) random.nextGaussian() * 0.05f));
            }
            switch (type) {
                case F32 -> s.set(LittleEndian.FLOAT, at, number);
                case F64 -> s.set(LittleEndian.DOUBLE, at, number);
                case BF16 -> s.set(LittleEndian.SHORT, at, (short) (Float.floatToRawIntBits(number) >>> 16));
                default -> {}
            }
        }
        return s;
    }
}
