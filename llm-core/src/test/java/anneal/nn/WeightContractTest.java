package anneal.nn;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import anneal.kernels.F32Matrix;
import anneal.tensor.DType;
import anneal.tensor.Memory;
import anneal.tensor.Ops;
import anneal.tensor.Rng;
import anneal.tensor.Shape;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.Map;
import java.util.function.Function;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Every storage gives the products, rows and gradients of the dense matrix it stands for. */
class WeightContractTest {
    private static final int OUT = 7, IN = 5;
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
        Tensor t = Tensor.allocate(arena, Shape.of(dims));
        Rng rng = new Rng(seed);
        float[] a = new float[(int) t.size()];
        for (int i = 0; i < a.length; i++) {
            a[i] = (float) rng.nextGaussian();
        }
        t.set(a);
        return t;
    }

    private Map<String, Weight> storages(Tensor dense) {
        Tensor turned = Tensor.allocate(arena, Shape.of(IN, OUT));
        float[] a = dense.toArray(), b = new float[a.length];
        for (int i = 0; i < a.length; i++) {
            b[i % IN * OUT + i / IN] = a[i];
        }
        turned.set(b);
        return Map.of(
                "dense", new DenseWeight(dense),
                "stored", new StoredWeight(new F32Matrix(dense.buf(), OUT, IN), DType.F32),
                "turned", new TransposedWeight(new DenseWeight(turned)),
                "turned and stored",
                        new TransposedWeight(new StoredWeight(new F32Matrix(turned.buf(), IN, OUT), DType.F32)),
                "copied", DenseWeight.copy(new F32Matrix(dense.buf(), OUT, IN), arena));
    }

    @Test
    void productsRowsAndGradientsAreThoseOfTheMatrix() {
        Tensor w = random(1, OUT, IN), x = random(2, 3, IN).trainable(true), dy = random(3, 3, OUT);
        float[] a = w.toArray();
        storages(w).forEach((name, weight) -> {
            assertThat(weight.out()).isEqualTo(OUT);
            assertThat(weight.in()).isEqualTo(IN);
            Tensor y = weight.matmulT(x);
            for (int r = 0; r < 3; r++) {
                for (int o = 0; o < OUT; o++) {
                    double sum = 0;
                    for (int i = 0; i < IN; i++) {
                        sum += (double) x.get(r * IN + i) * a[o * IN + i];
                    }
                    assertThat((double) y.get(r * OUT + o)).as(name).isCloseTo(sum, within(1e-5));
                }
            }
            x.zeroGrad();
            Tape.backward(Ops.sum(Ops.mul(y, dy)));
            for (int r = 0; r < 3; r++) {
                for (int i = 0; i < IN; i++) {
                    double sum = 0;
                    for (int o = 0; o < OUT; o++) {
                        sum += (double) dy.get(r * OUT + o) * a[o * IN + i];
                    }
                    assertThat((double) x.grad().get(r * IN + i)).as(name).isCloseTo(sum, within(1e-5));
                }
            }
            float[] rows = weight.rows(new int[] {4, 0}).toArray();
            for (int i = 0; i < IN; i++) {
                assertThat(rows[i]).as(name).isEqualTo(a[4 * IN + i]);
                assertThat(rows[IN + i]).as(name).isEqualTo(a[i]);
            }
            float[] wide = new float[IN];
            weight.matrix().widen(6, 0, IN, wide, 0);
            for (int i = 0; i < IN; i++) {
                assertThat(wide[i]).as(name).isEqualTo(a[6 * IN + i]);
            }
        });
    }

    @Test
    void likeIsTheSameStorageWithOtherNumbers() {
        Tensor w = random(1, OUT, IN), other = random(4, OUT, IN);
        storages(w).forEach((name, weight) -> {
            Weight like =
                    weight.like(new F32Matrix(other.buf(), OUT, IN), arena).orElseThrow();
            assertThat(like.format()).as(name).isEqualTo(weight.format());
            assertThat(like).as(name).isInstanceOf(weight.getClass());
            float[] row = new float[IN];
            for (int o = 0; o < OUT; o++) {
                like.row(o, row);
                for (int i = 0; i < IN; i++) {
                    assertThat(row[i]).as(name).isEqualTo(other.get(o * IN + i));
                }
            }
        });
    }

    @Test
    void likeRoundsAsTheFormatAndRefusesWhatIsTooLarge() {
        // Ties: 1 + 2^-8 lies between 1 and 1 + 2^-7 of bf16, 1 + 3 * 2^-8 between two of which the upper is even.
        float[] x = {1 + 0x1p-8f, 1 + 3 * 0x1p-8f, 1 + 0x1p-11f, 1 + 3 * 0x1p-11f, -0f, Float.NaN};
        float[][] expected = {{1, 1 + 0x1p-6f, 1, 1, -0f, Float.NaN}, {x[0], x[1], 1, 1 + 0x1p-9f, -0f, Float.NaN}};
        DType[] types = {DType.BF16, DType.F16};
        for (int t = 0; t < types.length; t++) {
            Weight form = new StoredWeight(types[t].matrix(arena.allocate(12), 1, 6), types[t]);
            Tensor numbers = Tensor.of(x, 1, 6);
            float[] row = new float[6];
            form.like(new F32Matrix(numbers.buf(), 1, 6), arena).orElseThrow().row(0, row);
            assertThat(row).as("%s", types[t]).containsExactly(expected[t]);
            numbers.set(new float[] {0, 0, 0, 3.4e38f, 0, 0});
            String message = "like: 3.4E38 at [0, 3] is too large for " + types[t];
            assertThatThrownBy(() -> form.like(new F32Matrix(numbers.buf(), 1, 6), arena))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessage(message);
        }
        Weight blocks = new StoredWeight(DType.Q4_K.matrix(arena.allocate(144), 1, 256), DType.Q4_K);
        assertThat(blocks.like(blocks.matrix(), arena)).as("only read").isEmpty();
    }

    @Test
    void aTrainedMatrixGetsItsGradientInItsOwnOrder() {
        Tensor w = random(1, OUT, IN), x = random(2, 3, IN), dy = random(3, 3, OUT);
        for (String name : new String[] {"dense", "turned"}) {
            Weight weight = storages(w).get(name);
            Tensor p = weight.parameter().orElseThrow().trainable(true);
            Tape.backward(Ops.sum(Ops.mul(weight.matmulT(x), dy)));
            for (int o = 0; o < OUT; o++) {
                for (int i = 0; i < IN; i++) {
                    double sum = 0;
                    for (int r = 0; r < 3; r++) {
                        sum += (double) dy.get(r * OUT + o) * x.get(r * IN + i);
                    }
                    int at = name.equals("dense") ? o * IN + i : i * OUT + o;
                    assertThat((double) p.grad().get(at)).as(name).isCloseTo(sum, within(1e-5));
                }
            }
        }
    }

    @Test
    void hooksSeeAndChangeWhatPasses() {
        Function<String, Part> part = n -> new Part(n, new Linear(new DenseWeight(random(n.hashCode(), 4, 4)), null));
        FeedForward f = new FeedForward(
                part.apply("gate"), part.apply("up"), part.apply("down"), anneal.kernels.Activation.SILU, 0);
        Tensor x = random(9, 1, 2, 4);
        float[] branch = f.forward(x).toArray(), input = x.toArray();
        float[] plain = f.residual(f.forward(x), x).toArray();
        f.before((output, in) -> {
            assertThat(in.toArray()).isEqualTo(input);
            return Ops.scale(output, 2);
        });
        f.after((output, in) -> Ops.scale(output, 10));
        float[] hooked = f.residual(f.forward(x), x).toArray();
        for (int i = 0; i < plain.length; i++) {
            assertThat(plain[i]).isEqualTo(branch[i] + input[i]);
            assertThat(hooked[i]).isCloseTo(10 * (2 * branch[i] + input[i]), within(1e-4f));
        }
        assertThat(f.run(x, f::forward).toArray()).isEqualTo(hooked);
        f.around((y, layer) -> y);
        assertThat(f.run(x, f::forward)).isSameAs(x);
        f.around((y, layer) -> Ops.scale(layer.apply(y), 2));
        float[] twice = f.run(x, f::forward).toArray();
        for (int i = 0; i < twice.length; i++) {
            assertThat(twice[i]).isEqualTo(2 * hooked[i]);
        }
        assertThat(x.toArray()).isEqualTo(input);
    }
}
