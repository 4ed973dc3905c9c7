package anneal.kernels.emit;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Random;
import java.util.function.IntUnaryOperator;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Every function on tiles, with forbidden pages round every buffer, against plain loops; numbers of every kind. */
class AttentionTilesTest {
    private static final int W = AttentionTiles.WIDTH;
    private static final float HIDDEN = Float.NEGATIVE_INFINITY;

    private final Arena arena = Arena.ofShared();
    private final Random random = new Random(11);
    private boolean behind;

    static List<Level> levels() {
        return Level.available();
    }

    /** Head sizes below, at and beside whole registers and register tiles. */
    static Stream<Object[]> sizes() {
        return levels().stream()
                .flatMap(l -> Stream.of(1, 7, 8, 17, 33, 64, 72, 80, 128).map(d -> new Object[] {l, d}));
    }

    @BeforeAll
    static void needed() {
        assumeTrue(CpuFeatures.obstacle() == null, "no emitted code here: " + CpuFeatures.obstacle());
    }

    @AfterEach
    void close() {
        arena.close();
    }

    /** Floats with a forbidden page behind them or before them, in turns; before them, at an address that is no multiple of 16. */
    private MemorySegment floats(long n) {
        behind = !behind;
        return behind
                ? GuardedMemory.allocate(arena, 4 * n, true)
                : GuardedMemory.allocate(arena, 4 * n + 4, false).asSlice(4);
    }

    private MemorySegment normal(long n) {
        MemorySegment s = floats(n);
        for (int i = 0; i < n; i++) {
            set(s, i, (float) random.nextGaussian());
        }
        return s;
    }

    private static float get(MemorySegment s, int i) {
        return s.get(JAVA_FLOAT_UNALIGNED, 4L * i);
    }

    private static void set(MemorySegment s, int i, float value) {
        s.set(JAVA_FLOAT_UNALIGNED, 4L * i, value);
    }

    private static float[] copy(MemorySegment s) {
        return s.toArray(JAVA_FLOAT_UNALIGNED);
    }

    /** Ranges of random length, some of them empty; {@code end} says how far range i may go. */
    private MemorySegment ranges(int n, IntUnaryOperator end) {
        MemorySegment all = GuardedMemory.allocate(arena, 16L * n, true);
        for (int i = 0; i < n; i++) {
            int to = random.nextInt(end.applyAsInt(i) + 1), from = random.nextInt(5) == 0 ? to : random.nextInt(to + 1);
            all.set(java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED, 16L * i, from);
            all.set(java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED, 16L * i + 8, to);
        }
        return all;
    }

    /** Random rows for each part of the columns, whole blocks. */
    private MemorySegment groups(AttentionTiles code) {
        int n = code.groupEnds().length, blocks = W / code.rows();
        MemorySegment all = GuardedMemory.allocate(arena, 16L * n, true);
        for (int i = 0; i < n; i++) {
            int from = random.nextInt(blocks + 1), to = random.nextInt(4) == 0 ? from : blocks - random.nextInt(2);
            code.setGroup(all, i, from * code.rows(), Math.max(from, to) * code.rows());
        }
        return all;
    }

    private static int at(MemorySegment ranges, int i) {
        return (int) ranges.get(java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED, 8L * i);
    }

    private static boolean inside(AttentionTiles code, MemorySegment groups, int row, int column) {
        int part = 0;
        while (column >= code.groupEnds()[part]) {
            part++;
        }
        return row >= at(groups, 2 * part) && row < at(groups, 2 * part + 1);
    }

    private static void near(String what, float got, double expected, double size) {
        if (Double.isNaN(expected) || Double.isInfinite(expected)) {
            assertThat((double) got).as(what).isEqualTo(Double.valueOf(expected)); // boxed, NaN equals NaN
        } else {
            assertThat((double) got).as(what).isBetween(expected - size, expected + size);
        }
    }

    @ParameterizedTest
    @MethodSource("sizes")
    void scoresAreInnerProductsOfRows(Level level, int dim) {
        AttentionTiles code = new AttentionTiles(level, dim, arena);
        int row = (int) (code.panelBytes() / 4 / W);
        MemorySegment k = normal((long) W * row), q = normal((long) W * row), tile = normal((long) W * W);
        set(k, 3 * row, Float.NaN);
        set(k, 9 * row, Float.POSITIVE_INFINITY);
        set(k, 10 * row, Float.MIN_VALUE);
        float[] before = copy(tile);
        MemorySegment groups = groups(code);
        code.scores(tile, k, q, groups);
        for (int j = 0; j < W; j++) {
            for (int i = 0; i < W; i++) {
                if (!inside(code, groups, j, i)) {
                    assertThat(get(tile, j * W + i)).isEqualTo(before[j * W + i]);
                    continue;
                }
                double sum = 0, size = 0;
                for (int c = 0; c < dim; c++) {
                    double term = (double) get(k, j * row + c) * get(q, c * W + i);
                    sum += term;
                    size += Math.abs(term);
                }
                near("score %d, %d".formatted(j, i), get(tile, j * W + i), sum, 0x1p-23 * (2 + dim / 8.0) * size);
            }
        }
    }

    @ParameterizedTest
    @MethodSource("sizes")
    void columnsOfATileMultiplyRows(Level level, int dim) {
        product(level, dim, true);
    }

    @ParameterizedTest
    @MethodSource("sizes")
    void rowsOfATileMultiplyRows(Level level, int dim) {
        product(level, dim, false);
    }

    private void product(Level level, int dim, boolean columns) {
        AttentionTiles code = new AttentionTiles(level, dim, arena);
        int row = (int) (code.panelBytes() / 4 / W), blocks = W / code.rows();
        MemorySegment c = normal((long) W * row), b = normal((long) W * row), tile = normal((long) W * W);
        MemorySegment factors = normal(W), ranges = ranges(blocks, i -> W);
        set(b, 5 * row, Float.NaN);
        set(b, 6 * row + dim - 1, HIDDEN);
        float[] before = copy(c);
        if (columns) {
            code.addColumns(c, tile, b, ranges, factors);
        } else {
            code.addRows(c, tile, b, ranges);
        }
        for (int r = 0; r < W; r++) {
            int from = at(ranges, r / code.rows() * 2), to = at(ranges, r / code.rows() * 2 + 1);
            for (int x = 0; x < row; x++) {
                double factor = columns && from < to ? get(factors, r) : 1;
                double sum = factor * before[r * row + x], size = Math.abs(sum);
                for (int p = from; p < to; p++) {
                    double term = (double) get(tile, columns ? p * W + r : r * W + p) * get(b, p * row + x);
                    sum += term;
                    size += Math.abs(term);
                }
                near("row %d, %d".formatted(r, x), get(c, r * row + x), sum, 0x1p-23 * 10 * size);
            }
        }
    }

    /** What a number of a tile may be: ordinary, hidden, far below, and with {@code wild} also NaN. */
    private float score(boolean wild) {
        return switch (random.nextInt(wild ? 40 : 39)) {
            case 0, 1, 2 -> HIDDEN;
            case 3 -> -1e30f;
            case 4 -> Float.MIN_VALUE;
            case 39 -> Float.NaN;
            default -> (float) (random.nextGaussian() * 20);
        };
    }

    @ParameterizedTest
    @MethodSource("levels")
    void softmaxStepKeepsMaximumAndSum(Level level) {
        AttentionTiles code = new AttentionTiles(level, 8, arena);
        for (int round = 0; round < 6; round++) {
            MemorySegment tile = floats((long) W * W), state = floats(3 * W), groups = groups(code);
            for (int i = 0; i < W * W; i++) {
                set(tile, i, i % W == 7 ? HIDDEN : score(round > 2));
            }
            for (int i = 0; i < W; i++) {
                set(state, i, i % 3 == 0 || i == 7 ? -Float.MAX_VALUE : (float) (random.nextGaussian() * 30));
                set(state, W + i, i % 3 == 0 || i == 7 ? 0 : 1 + random.nextFloat());
                set(state, 2 * W + i, 5);
            }
            float[] scores = copy(tile), before = copy(state);
            code.softmax(tile, state, groups);
            for (int i = 0; i < W; i++) {
                softmaxColumn(code, groups, i, scores, before, copy(tile), copy(state));
            }
        }
    }

    private static void softmaxColumn(
            AttentionTiles code,
            MemorySegment groups,
            int i,
            float[] scores,
            float[] before,
            float[] p,
            float[] state) {
        float max = before[i];
        boolean any = false;
        for (int j = 0; j < W; j++) {
            float x = scores[j * W + i];
            any |= inside(code, groups, j, i);
            max = inside(code, groups, j, i) && x > max ? x : max;
        }
        assertThat(state[i]).as("maximum %d", i).isEqualTo(max);
        double shrink = any ? power(before[i] - max) : 5, sum = before[W + i] * (any ? shrink : 1);
        for (int j = 0; j < W; j++) {
            int at = j * W + i;
            if (!inside(code, groups, j, i)) {
                assertThat(p[at]).isEqualTo(Float.valueOf(scores[at]));
                continue;
            }
            double expected = power(scores[at] - max);
            near("2^(score - maximum) %d, %d".formatted(j, i), p[at], expected, 2e-7 * expected);
            sum += expected;
        }
        near("shrink %d".formatted(i), state[2 * W + i], shrink, 2e-7 * shrink);
        near("sum %d".formatted(i), state[W + i], sum, 1e-6 * sum);
    }

    /** 2^x as the kernels have it: 0 from -127 + 1/2 down. */
    private static double power(float x) {
        return x <= -126.5f ? 0 : Math.pow(2, x);
    }

    @ParameterizedTest
    @MethodSource("levels")
    void gradientOfTheSoftmax(Level level) {
        AttentionTiles code = new AttentionTiles(level, 8, arena);
        for (int round = 0; round < 6; round++) {
            MemorySegment tile = floats((long) W * W), gradient = normal((long) W * W), rows = normal(2 * W);
            for (int i = 0; i < W * W; i++) {
                set(tile, i, Math.min(20, score(round > 2)));
            }
            set(rows, 9, -Float.MAX_VALUE); // a query that sees nothing
            for (int j = 0; j < W; j++) {
                set(tile, j * W + 9, HIDDEN);
            }
            float[] scores = copy(tile), dp = copy(gradient);
            MemorySegment groups = groups(code);
            code.gradient(tile, gradient, rows, groups);
            for (int at = 0; at < W * W; at++) {
                int i = at % W;
                if (!inside(code, groups, at / W, i)) {
                    assertThat(get(tile, at)).isEqualTo(Float.valueOf(scores[at]));
                    assertThat(get(gradient, at)).isEqualTo(Float.valueOf(dp[at]));
                    continue;
                }
                double p = power(scores[at] - get(rows, i)), ds = p * (dp[at] - get(rows, W + i));
                near("p " + at, get(tile, at), p, 2e-7 * p);
                near("ds " + at, get(gradient, at), ds, 4e-7 * p * (Math.abs(dp[at]) + Math.abs(get(rows, W + i))));
            }
        }
    }

    /** The bound that the documentation of {@link Exp2} names, over all of the range where results are not 0. */
    @ParameterizedTest
    @MethodSource("levels")
    void exponentialIsTwoUnitsInTheLastPlaceFromExact(Level level) {
        AttentionTiles code = new AttentionTiles(level, 8, arena);
        MemorySegment tile = floats((long) W * W), gradient = normal((long) W * W), rows = floats(2 * W);
        MemorySegment groups = GuardedMemory.allocate(arena, 16L * code.groupEnds().length, true);
        for (int i = 0; i < code.groupEnds().length; i++) {
            code.setGroup(groups, i, 0, W);
        }
        double worst = 0;
        for (int round = 0; round < 100; round++) {
            for (int i = 0; i < W * W; i++) {
                set(tile, i, -126 + 253 * random.nextFloat());
            }
            set(tile, 0, 0);
            set(tile, 1, -126);
            set(tile, 2, 127);
            float[] x = copy(tile);
            code.gradient(tile, gradient, rows, groups);
            for (int i = 0; i < W * W; i++) {
                float exact = (float) Math.pow(2, x[i]);
                worst = Math.max(worst, Math.abs(get(tile, i) - Math.pow(2, x[i])) / Math.ulp(exact));
            }
            assertThat(get(tile, 0)).isEqualTo(1);
        }
        assertThat(worst).isLessThan(2.01);
    }

    @ParameterizedTest
    @MethodSource("sizes")
    void panelsAreLoadedTransposedAndUnloaded(Level level, int dim) {
        AttentionTiles code = new AttentionTiles(level, dim, arena);
        int row = (int) (code.panelBytes() / 4 / W);
        MemorySegment panel = normal((long) W * row), turned = floats((long) W * row), factor = normal(1);
        code.transpose(turned, panel, factor);
        for (int i = 0; i < W * row; i++) {
            assertThat(get(turned, i % row * W + i / row)).isEqualTo(get(factor, 0) * get(panel, i));
        }
        for (int rows : new int[] {1, 5, W}) {
            MemorySegment from = normal((long) (dim + 2) * (rows - 1) + dim), loaded = normal((long) W * row);
            code.load(loaded, from, 4L * (dim + 2), rows);
            for (int i = 0; i < W * row; i++) {
                int r = i / row, c = i % row;
                assertThat(get(loaded, i)).isEqualTo(r < rows && c < dim ? get(from, r * (dim + 2) + c) : 0);
            }
            for (boolean add : new boolean[] {false, true}) {
                int stride = dim + 3;
                MemorySegment to = normal((long) stride * (rows - 1) + dim), factors = normal(rows);
                float[] before = copy(to);
                code.unload(to, 4L * stride, panel, factors, rows, add);
                for (int i = 0; i < before.length; i++) {
                    int r = i / stride, c = i % stride;
                    float product = c < dim ? get(factors, r) * get(panel, r * row + c) : 0;
                    assertThat(get(to, i)).isEqualTo(c >= dim ? before[i] : add ? before[i] + product : product);
                }
            }
        }
    }

    @ParameterizedTest
    @MethodSource("levels")
    void whatIsTooShortIsRefusedBeforeTheCall(Level level) {
        AttentionTiles code = new AttentionTiles(level, 20, arena);
        MemorySegment enough = arena.allocate(1 << 15), little = arena.allocate(8);
        for (int which = 0; which < 5; which++) {
            MemorySegment[] s = {enough, enough, enough, enough, enough};
            s[which] = little;
            refused(which < 4, () -> code.scores(s[0], s[1], s[2], s[3]));
            refused(which < 3, () -> code.softmax(s[0], s[1], s[2]));
            refused(which < 4, () -> code.gradient(s[0], s[1], s[2], s[3]));
            refused(true, () -> code.addColumns(s[0], s[1], s[2], s[3], s[4]));
            refused(which < 4, () -> code.addRows(s[0], s[1], s[2], s[3]));
            refused(which < 2, () -> code.transpose(s[0], s[1], s[2]));
            refused(which < 2, () -> code.load(s[0], s[1], 80, 5));
            refused(which < 3, () -> code.unload(s[0], 80, s[1], s[2], 5, true));
        }
        assertThatThrownBy(() -> code.setRange(enough, 0, 3, 65)).isInstanceOf(IndexOutOfBoundsException.class);
        assertThatThrownBy(() -> code.setGroup(enough, 0, -8, 8)).isInstanceOf(IndexOutOfBoundsException.class);
        code.setRange(enough, 0, 61, 64);
        assertThatThrownBy(() -> code.scores(enough, enough, enough, enough))
                .hasMessage("emit: range 0, [61, 64), is none of 0 to 64 in steps of " + code.rows());
        assertThatThrownBy(() -> code.load(enough, enough, -4, 2)).hasMessage("emit: rows -4 bytes apart");
        assertThatThrownBy(() -> code.unload(enough, 80, enough, enough, 65, true))
                .hasMessage("emit: a panel has 1 to 64 rows, not 65");
    }

    private static void refused(boolean expected, Runnable call) {
        if (expected) {
            assertThatThrownBy(call::run).isInstanceOf(IndexOutOfBoundsException.class);
        }
    }
}
