package anneal.quant;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import anneal.kernels.F32Matrix;
import anneal.nn.Weight;
import anneal.tensor.Memory;
import anneal.tensor.Ops;
import anneal.tensor.Rng;
import anneal.tensor.Shape;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/** What holds for a weight in any format: products, rows and gradients are those of the matrix it stands for, which is near the original. */
abstract class WeightContract {
    private static final int OUT = 24, IN = 256;

    final Arena arena = Arena.ofShared();
    private Memory.Scope scope;

    /** A format and how much of a normal weight it may lose. */
    record Case(QuantFormat format, double mostLost) {}

    abstract List<Case> cases();

    /** Largest difference of a product from that of the matrix, relative to the norms; more than rounding where x is rounded too. */
    double tolerance() {
        return 1e-6;
    }

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

    final Tensor random(long seed, int... dims) {
        Tensor t = Tensor.allocate(arena, Shape.of(dims));
        Rng rng = new Rng(seed);
        float[] a = new float[(int) t.size()];
        for (int i = 0; i < a.length; i++) {
            a[i] = (float) rng.nextGaussian() * 0.05f;
        }
        t.set(a);
        return t;
    }

    private Weight quantized(QuantFormat format, Tensor w) {
        return format.quantize(new F32Matrix(w.buf(), w.dim(0), w.dim(1)), arena);
    }

    @TestFactory
    List<DynamicTest> productsRowsAndGradientsAreThoseOfTheMatrix() {
        return cases().stream()
                .map(c -> DynamicTest.dynamicTest(c.format.name(), () -> check(c.format)))
                .toList();
    }

    private void check(QuantFormat format) {
        Tensor w = random(1, OUT, IN);
        Weight weight = quantized(format, w), dense = weight.dense(arena);
        assertThat(List.of(weight.out(), weight.in())).containsExactly(OUT, IN);
        assertThat(weight.format()).isEqualTo(format.name());
        assertThat(weight.parameter()).isEmpty();
        for (int m : new int[] {1, 3, 40}) {
            Tensor x = random(2, m, IN).trainable(true), dy = random(3, m, OUT);
            Tensor y = weight.matmulT(x);
            near(y, dense.matmulT(x), tolerance());
            x.zeroGrad();
            Tape.backward(Ops.sum(Ops.mul(y, dy)));
            Tensor expected = Tensor.empty(m, IN);
            expected.set(Ops.matmul(dy, dense.parameter().orElseThrow()));
            near(x.grad(), expected, 1e-6);
        }
        int[] ids = {OUT - 1, 0, 5, 5};
        assertThat(weight.rows(ids).toArray()).isEqualTo(dense.rows(ids).toArray());
    }

    private static void near(Tensor found, Tensor expected, double tolerance) {
        double apart = 0, norm = 0;
        for (long i = 0; i < expected.size(); i++) {
            double d = (double) found.get(i) - expected.get(i);
            apart += d * d;
            norm += (double) expected.get(i) * expected.get(i);
        }
        assertThat(Math.sqrt(apart / norm)).isLessThanOrEqualTo(tolerance);
    }

    @TestFactory
    List<DynamicTest> littleIsLost() {
        return cases().stream()
                .map(c -> DynamicTest.dynamicTest(c.format.name(), () -> {
                    Tensor w = random(4, 64, 512);
                    F32Matrix matrix = new F32Matrix(w.buf(), 64, 512);
                    double lost = Quantizer.relativeError(
                            matrix, c.format.quantize(matrix, arena).matrix());
                    System.out.printf("%-16s loses %.5f of a normal weight%n", c.format.name(), lost);
                    assertThat(lost).isCloseTo(c.mostLost, within(0.08 * c.mostLost));
                }))
                .toList();
    }

    @Test
    void otherNumbersAreRoundedTheSameWay() {
        for (Case c : cases()) {
            Tensor other = random(6, OUT, IN);
            Weight like = quantized(c.format, random(1, OUT, IN))
                    .like(new F32Matrix(other.buf(), OUT, IN), arena)
                    .orElseThrow();
            assertThat(like.format()).isEqualTo(c.format.name());
            assertThat(like.dense(arena).parameter().orElseThrow().toArray())
                    .isEqualTo(quantized(c.format, other)
                            .dense(arena)
                            .parameter()
                            .orElseThrow()
                            .toArray());
        }
    }

    @Test
    void zerosStayZerosAndNamesComeBack() {
        for (Case c : cases()) {
            Tensor zeros = Tensor.allocate(arena, Shape.of(4, IN));
            for (float x : quantized(c.format, zeros).rows(new int[] {0, 3}).toArray()) {
                assertThat(Math.abs(x)).as(c.format.name()).isZero();
            }
            assertThat(QuantFormat.of(c.format.name())).isEqualTo(c.format);
        }
    }

    @Test
    void whatIsNotFiniteIsAnError() {
        for (Case c : cases()) {
            Tensor w = random(5, 4, IN);
            w.buf().setAtIndex(java.lang.foreign.ValueLayout.JAVA_FLOAT, 2 * IN + 7, Float.NaN);
            assertThatThrownBy(() -> quantized(c.format, w))
                    .hasMessage("the weight is NaN at [2, 7]; it must be finite");
        }
    }
}
