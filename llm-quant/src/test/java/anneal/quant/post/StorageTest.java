package anneal.quant.post;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import anneal.kernels.BlockFormat;
import anneal.kernels.BlockMatrix;
import anneal.kernels.F32Matrix;
import anneal.kernels.Matrix;
import anneal.kernels.Parallel;
import anneal.nn.Stored;
import anneal.nn.Weight;
import anneal.tensor.Memory;
import anneal.tensor.Ops;
import anneal.tensor.Rng;
import anneal.tensor.ShapeException;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Codes that are packed, and products of integers. */
class StorageTest {
    private final Arena arena = Arena.ofShared();
    private Memory.Scope scope;

    @BeforeEach
    void open() {
        scope = Memory.scope();
    }

    @AfterEach
    void close() {
        Tape.clear();
        scope.close();
        arena.close();
    }

    private Tensor random(long seed, int... dims) {
        return Planted.normal(arena, new Rng(seed), 1, dims);
    }

    private static Matrix matrix(Tensor t) {
        return new F32Matrix(t.buf(), t.dim(0), t.dim(1));
    }

    private static List<Grid> grids(int cols) {
        List<Grid> grids = new ArrayList<>();
        for (int bits = 2; bits <= 8; bits++) {
            for (int group : new int[] {Grid.PER_ROW, Grid.PER_TENSOR, cols / 2, 8}) {
                grids.add(new Grid(bits, group, false));
                grids.add(new Grid(bits, group, true));
            }
        }
        return grids;
    }

    @Test
    void everyCodeComesBackAndNoWeightIsFurtherThanHalfAStep() {
        Tensor w = random(1, 5, 40);
        for (Grid grid : grids(40)) {
            UniformMatrix q = Rounding.nearest(matrix(w), grid);
            float[] back = Planted.floats(q);
            for (int i = 0; i < 5; i++) {
                int[] codes = q.codes(i);
                for (int j = 0; j < 40; j++) {
                    Grid.Step s = q.step(i, j / grid.groupSize(40));
                    assertThat(back[i * 40 + j]).isEqualTo(Grid.value(codes[j], s));
                    assertThat(Math.abs(back[i * 40 + j] - w.get(i * 40L + j)))
                            .as("%s", grid)
                            .isLessThanOrEqualTo(s.scale() * 0.5001f);
                }
            }
        }
    }

    /** A file of GGUF blocks holds the codes of the grid; only scales lose what 16 bits cannot tell. */
    @Test
    void theCodesOfAFormatsGridAreItsBlocks() {
        Tensor w = random(5, 3, 96);
        for (BlockFormat format : BlockFormat.values()) {
            if (format.name().endsWith("K")) {
                assertThatThrownBy(() -> Grid.of(format)).hasMessageContaining(format + " has scales that are codes");
                continue;
            }
            Grid grid = Grid.of(format);
            assertThat(grid.blocks()).contains(format);
            UniformMatrix q = Rounding.nearest(matrix(w), grid);
            Stored stored = new UniformWeight(q).blocks().orElseThrow();
            assertThat(stored.dtype().name()).isEqualTo(format.name());
            float[] codes = Planted.floats(q), file = Planted.floats(new BlockMatrix(stored.data(), 3, 96, format));
            for (int i = 0; i < codes.length; i++) {
                float scale = q.step(i / 96, i % 96 / 32).scale(), range = scale * ((1 << grid.bits()) - 1);
                assertThat(file[i]).as("%s", format).isCloseTo(codes[i], within(range / (1 << 11)));
            }
            UniformMatrix again = Rounding.nearest(new BlockMatrix(stored.data(), 3, 96, format), grid);
            if (grid.symmetric()) {
                assertThat(again.codes(2)).as("%s", format).isEqualTo(q.codes(2));
            }
        }
        assertThat(new UniformWeight(Rounding.nearest(matrix(w), Grid.bits(4))).blocks())
                .isEmpty();
        assertThat(W8A8Linear.of(matrix(w), ActivationScale.PER_TOKEN).blocks()).isEmpty();
        Tensor large = random(6, 1, 32);
        large.buf().setAtIndex(java.lang.foreign.ValueLayout.JAVA_FLOAT, 3, 1e7f);
        assertThatThrownBy(() -> new UniformWeight(Rounding.nearest(matrix(large), Grid.of(BlockFormat.Q4_0))).blocks())
                .hasMessageContaining("beyond the 16 bits of GGUF's blocks");
    }

    @Test
    void bytesAreWhatIsHeld() {
        Tensor w = random(1, 6, 48);
        assertThat(Rounding.nearest(matrix(w), Grid.bits(3).groups(16)).bytes()).isEqualTo(6 * (18 + 3 * 5));
        assertThat(Rounding.nearest(matrix(w), Grid.bits(4).symmetrical()).bytes())
                .isEqualTo(6 * (24 + 4));
        assertThat(Rounding.nearest(matrix(w), Grid.bits(8).perTensor()).bytes())
                .isEqualTo(6 * 48 + 5);
    }

    /** Rows that are no multiple of eight, and many rows so that the large products run too. */
    @Test
    void productsAndGradientsAreThoseOfTheMatrix() {
        for (int in : new int[] {21, 64}) {
            Tensor w = random(2, 19, in);
            List<Grid> grids =
                    in == 64 ? grids(64) : List.of(Grid.bits(3), Grid.bits(8).symmetrical());
            for (Grid grid : grids) {
                Weight weight = new Rtn(grid).quantise(matrix(w));
                Tensor dense = Tensor.of(Planted.floats(weight.matrix()), 19, in);
                for (int rows : new int[] {1, 3, 40}) {
                    Tensor x = random(3, rows, in).trainable(true),
                            same = random(3, rows, in).trainable(true);
                    Tensor y = weight.matmulT(x), expected = Ops.matmulT(same, dense);
                    assertThat(Planted.largestDifference(y.toArray(), expected.toArray()))
                            .isLessThan(2e-5);
                    Tape.backward(Ops.sum(y));
                    Tape.backward(Ops.sum(Ops.matmulT(same, dense)));
                    assertThat(Planted.largestDifference(
                                    x.grad().toArray(), same.grad().toArray()))
                            .isLessThan(2e-5);
                }
                assertThat(weight.rows(new int[] {4}).toArray())
                        .isEqualTo(java.util.Arrays.copyOfRange(dense.toArray(), 4 * in, 5 * in));
                assertThat(weight.dense(arena).format()).isEqualTo("F32");
            }
        }
    }

    /** y from the codes by the formula, in double: nothing but the last rounding may differ. */
    @Test
    void integerProductsAreExact() {
        int rows = 7, out = 11;
        for (int in : new int[] {24, 37}) {
            for (Grid grid : List.of(
                    Grid.bits(8).symmetrical(),
                    Grid.bits(4).symmetrical(),
                    Grid.bits(8).groups(in == 24 ? 8 : 0).symmetrical(),
                    Grid.bits(4).groups(in == 24 ? 8 : 0).symmetrical())) {
                UniformMatrix w = Rounding.nearest(matrix(random(4, out, in)), grid);
                Tensor x = random(5, rows, in);
                for (ActivationScale how : ActivationScale.values()) {
                    W8A8Linear weight = new W8A8Linear(w, how, how == ActivationScale.STATIC ? 2f : 0);
                    float[] y = weight.matmulT(x).toArray();
                    for (int r = 0; r < rows; r++) {
                        float a = Math.max(1e-8f, largest(x, how, r) / 127);
                        for (int o = 0; o < out; o++) {
                            double sum = 0;
                            int[] codes = w.codes(o);
                            for (int j = 0; j < in; j++) {
                                Grid.Step s = w.step(o, j / grid.groupSize(in));
                                double q = Math.clamp(Math.rint(x.get((long) r * in + j) / a), -127, 127);
                                sum += q * (codes[j] - s.zero()) * s.scale() * a;
                            }
                            assertThat((double) y[r * out + o]).isCloseTo(sum, within(2e-6 * (1 + Math.abs(sum))));
                        }
                    }
                }
            }
        }
    }

    private static float largest(Tensor x, ActivationScale how, int row) {
        float most = 0;
        int from = how == ActivationScale.PER_TOKEN ? row : 0,
                to = how == ActivationScale.PER_TOKEN ? row + 1 : x.dim(0);
        for (long i = (long) from * x.rowSize(); i < (long) to * x.rowSize(); i++) {
            most = Math.max(most, Math.abs(x.get(i)));
        }
        return how == ActivationScale.STATIC ? 2f : most;
    }

    @Test
    void integerProductsHaveTheStraightThroughGradientAndTheSameBitsForAnyThreads() {
        Tensor w = random(6, 9, 16), x = random(7, 5, 16).trainable(true);
        W8A8Linear weight = W8A8Linear.of(matrix(w), ActivationScale.PER_TOKEN);
        Tensor y = weight.matmulT(x);
        Tape.backward(Ops.sum(y));
        float[] columns = new float[16];
        float[] back = Planted.floats(weight.matrix());
        for (int i = 0; i < back.length; i++) {
            columns[i % 16] += back[i];
        }
        for (int i = 0; i < 80; i++) {
            assertThat(x.grad().get(i)).isCloseTo(columns[i % 16], within(1e-5f));
        }
        int before = Parallel.threads();
        try {
            Parallel.threads(1);
            assertThat(weight.matmulT(x).toArray()).isEqualTo(y.toArray());
        } finally {
            Parallel.threads(before);
        }
    }

    @Test
    void badInputIsOneSentence() {
        Tensor w = random(8, 4, 24);
        assertThatThrownBy(() -> Grid.bits(9)).hasMessage("Grid: 9 bits: there are grids of 2 to 8");
        assertThatThrownBy(() -> new Grid(4, -2, true))
                .hasMessage("Grid: group -2 must be a number of columns, PER_ROW or PER_TENSOR");
        assertThatThrownBy(() -> new Rtn(Grid.bits(4).groups(32)).quantise(matrix(w)))
                .hasMessage("quantise: rows of 24 weights are no whole groups of 32");
        assertThatThrownBy(() -> W8A8Linear.of(matrix(w), ActivationScale.STATIC))
                .hasMessage(
                        "W8A8: STATIC activations and a largest input of 0.0: a static scale needs one, a dynamic one"
                                + " takes its own");
        assertThatThrownBy(
                        () -> new W8A8Linear(Rounding.nearest(matrix(w), Grid.bits(8)), ActivationScale.PER_TOKEN, 0))
                .hasMessage("W8A8: the grid INT8 must be symmetric");
        assertThatThrownBy(() -> new W8A8Linear(
                        Rounding.nearest(matrix(w), Grid.bits(8).groups(12).symmetrical()),
                        ActivationScale.PER_TOKEN,
                        0))
                .hasMessage("W8A8: groups of 12 columns must be multiples of 8");
        W8A8Linear weight = W8A8Linear.of(matrix(w), ActivationScale.PER_TOKEN);
        assertThatThrownBy(() -> weight.matmulT(random(9, 2, 20)))
                .isInstanceOf(ShapeException.class)
                .hasMessage("matmulT: x [2, 20] does not fit weight [4, 24]: x's last dim 20 must equal 24");
        float[] nan = new float[24];
        nan[3] = Float.NaN;
        assertThatThrownBy(() -> weight.matmulT(Tensor.of(nan, 1, 24)))
                .hasMessage("W8A8: an input is not finite: it has no 8-bit scale");
        Tensor bad = random(8, 4, 24);
        bad.buf().setAtIndex(java.lang.foreign.ValueLayout.JAVA_FLOAT, 30, Float.NaN);
        Planted.One model = new Planted.One(bad);
        assertThatThrownBy(() -> new Rtn(Grid.bits(4)).apply(model, () -> model.layer.forward(random(1, 2, 24))))
                .hasMessage("quantise: a group of weights reaches from NaN to NaN: they must be finite (at layer)");
    }
}
