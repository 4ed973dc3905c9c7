package anneal.tensor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import anneal.kernels.Activation;
import anneal.kernels.Attention;
import anneal.kernels.Kernels;
import anneal.nn.DenseWeight;
import anneal.nn.Linear;
import anneal.nn.Module;
import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Supplier;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** What an op says to shapes that do not fit: op, shapes, the rule that is broken. */
class OpMessagesTest {
    private record Misuse(String method, Supplier<Tensor> call, Class<?> type, String message) {
        @Override
        public String toString() {
            return message;
        }
    }

    private static Misuse shapes(String method, Supplier<Tensor> call, String message) {
        return new Misuse(method, call, ShapeException.class, message);
    }

    private static Misuse argument(String method, Supplier<Tensor> call, String message) {
        return new Misuse(method, call, IllegalArgumentException.class, message);
    }

    private static Tensor of(int... dims) {
        return Tensor.zeros(dims);
    }

    static Stream<Misuse> misuses() {
        return Stream.of(products(), rowWise(), elementWise(), picking(), attention(), losses())
                .flatMap(s -> s);
    }

    private static Stream<Misuse> products() {
        return Stream.of(
                shapes(
                        "matmulT",
                        () -> Ops.matmulT(of(2, 7, 64), of(128, 96)),
                        "matmulT: x [2, 7, 64] does not fit weight [128, 96]: x's last dim 64 must equal 96"),
                shapes(
                        "matmulT",
                        () -> Ops.matmulT(of(2, 64), of(64)),
                        "matmulT: [64]: the weight must have two dimensions"),
                shapes(
                        "matmulTLowRank",
                        () -> Ops.matmulTLowRank(
                                of(2, 4), Bf16Matrix.random(3, 5, 1), of(2, 4), of(2, 4), of(3, 2), 1f),
                        "matmulTLowRank: x [2, 4] does not fit weight [3, 5]: x's last dim 4 must equal 5"),
                shapes(
                        "matmulTLowRank",
                        () -> Ops.matmulTLowRank(
                                of(2, 5), Bf16Matrix.random(3, 5, 1), of(1, 5), of(2, 5), of(3, 2), 1f),
                        "matmulTLowRank: [2, 5] does not fit [1, 5]: shapes must be equal"),
                shapes(
                        "matmulTLowRank",
                        () -> Ops.matmulTLowRank(
                                of(2, 5), Bf16Matrix.random(3, 5, 1), of(2, 5), of(4, 5), of(3, 2), 1f),
                        "matmulTLowRank: [4, 5] does not fit [3, 2]: they must be [rank, 5] and [3, rank]"),
                shapes(
                        "matmul",
                        () -> Ops.matmul(of(2, 64), of(96, 64)),
                        "matmul: x [2, 64] does not fit weight [96, 64]: x's last dim 64 must equal 96"),
                shapes(
                        "addMatmulTInPlace",
                        () -> Ops.addMatmulTInPlace(of(2, 3), of(2, 4), of(3, 5), 1f),
                        "addMatmulT: x [2, 4] does not fit weight [3, 5]: x's last dim 4 must equal 5"),
                shapes(
                        "addMatmulTInPlace",
                        () -> Ops.addMatmulTInPlace(of(2, 4), of(2, 5), of(3, 5), 1f),
                        "addMatmulT: [2, 4] does not fit [3, 5]: y must be x wT's shape"),
                shapes(
                        "addBiasInPlace",
                        () -> Ops.addBiasInPlace(of(2, 3), of(2)),
                        "addBias: [2, 3] does not fit [2]: the bias must have the last dim of y"));
    }

    private static Stream<Misuse> rowWise() {
        return Stream.of(
                shapes(
                        "rmsNorm",
                        () -> Ops.rmsNorm(of(2, 3), of(4), 1e-5f),
                        "rmsNorm: [2, 3] does not fit [4]: last dim of x must equal w"),
                shapes(
                        "layerNorm",
                        () -> Ops.layerNorm(of(2, 3), of(4), of(3), 1e-5f),
                        "layerNorm: [2, 3] does not fit [4]: last dim of x must equal w"),
                shapes(
                        "layerNorm",
                        () -> Ops.layerNorm(of(2, 3), of(3), of(4), 1e-5f),
                        "layerNorm: [2, 3] does not fit [4]: last dim of x must equal b"));
    }

    private static Stream<Misuse> elementWise() {
        return Stream.of(
                shapes(
                        "gated",
                        () -> Ops.gated(of(2, 3), of(3, 2), Activation.SILU),
                        "gated: [2, 3] does not fit [3, 2]: shapes must be equal"),
                shapes("add", () -> Ops.add(of(2, 3), of(3)), "add: [2, 3] does not fit [3]: shapes must be equal"),
                shapes(
                        "addInPlace",
                        () -> Ops.addInPlace(of(2, 3), of(6)),
                        "add: [2, 3] does not fit [6]: shapes must be equal"),
                shapes("sub", () -> Ops.sub(of(2), of(3)), "sub: [2] does not fit [3]: shapes must be equal"),
                shapes("mul", () -> Ops.mul(of(2), of(1)), "mul: [2] does not fit [1]: shapes must be equal"),
                argument("dropout", () -> Ops.dropout(of(2), 1f), "dropout: probability 1.0 must be in [0, 1)"),
                argument("dropout", () -> Ops.dropout(of(2), -0.1f), "dropout: probability -0.1 must be in [0, 1)"),
                argument("dropout", () -> Ops.dropout(of(2), Float.NaN), "dropout: probability NaN must be in [0, 1)"));
    }

    private static Stream<Misuse> picking() {
        return Stream.of(
                argument(
                        "embedding",
                        () -> Ops.embedding(of(5, 3), new int[] {0, 5}),
                        "embedding: id 5 is outside the table [5, 3]"),
                argument(
                        "embedding",
                        () -> Ops.embedding(Bf16Matrix.random(5, 3, 1), new int[] {-1}),
                        "embedding: id -1 is outside the table [5, 3]"),
                shapes(
                        "embedding",
                        () -> Ops.embedding(of(5), new int[] {0}),
                        "embedding: [5]: the weight must have two dimensions"),
                argument("rows", () -> Ops.rows(of(2, 2, 3), new int[] {4}), "rows: id 4 is outside the table [4, 3]"),
                shapes(
                        "prepend",
                        () -> Ops.prepend(of(2, 3), of(2, 3)),
                        "prepend: [2, 3] does not fit [2, 3]: ranks must be 2 and 3"),
                shapes(
                        "prepend",
                        () -> Ops.prepend(of(2, 3), of(1, 2, 4)),
                        "prepend: [2, 3] does not fit [1, 2, 4]: last dims must be equal"),
                shapes(
                        "columns",
                        () -> Ops.columns(of(2, 3), 2, 2),
                        "columns: [2, 3]: 2 columns from 2 must lie inside the last dim"),
                shapes(
                        "columns",
                        () -> Ops.columns(of(2, 3), 2, Integer.MAX_VALUE),
                        "columns: [2, 3]: 2147483647 columns from 2 must lie inside the last dim"));
    }

    private static Stream<Misuse> attention() {
        Kernels.Rope rope = new Kernels.Rope(2, 1, 4, 4, false), odd = new Kernels.Rope(2, 1, 4, 3, false);
        Attention s = Attention.causal(1, 2, 2, 1, 4);
        return Stream.of(
                shapes(
                        "ropeInPlace",
                        () -> Ops.ropeInPlace(of(2, 5), of(2, 2), of(2, 2), rope),
                        "rope: [2, 5]: must be x [tokens, H K] of " + rope),
                shapes(
                        "ropeInPlace",
                        () -> Ops.ropeInPlace(of(2, 4), of(2, 3), of(2, 2), rope),
                        "rope: [2, 3]: must be cos [tokens, rotary / 2] of " + rope),
                shapes(
                        "ropeInPlace",
                        () -> Ops.ropeInPlace(of(2, 4), of(2, 2), of(2, 3), rope),
                        "rope: [2, 2] does not fit [2, 3]: cos and sin must be equally many"),
                shapes(
                        "ropeInPlace",
                        () -> Ops.ropeInPlace(of(2, 4), of(2, 1), of(2, 1), odd),
                        "rope: [2, 4]: rotary must be even and fit " + odd),
                shapes(
                        "attention",
                        () -> Ops.attention(of(1, 3, 8), of(1, 2, 4), of(1, 2, 4), s),
                        "attention: [1, 3, 8]: must be q [B, Tq, H K] of " + s),
                shapes(
                        "attention",
                        () -> Ops.attention(of(1, 2, 8), of(1, 2, 8), of(1, 2, 4), s),
                        "attention: [1, 2, 8]: must be k [B, capacity, G K] of " + s),
                shapes(
                        "attention",
                        () -> Ops.attention(of(1, 2, 8), of(1, 2, 4), of(1, 2, 8), s),
                        "attention: [1, 2, 4] does not fit [1, 2, 8]: keys and values must be equally many"));
    }

    private static Stream<Misuse> losses() {
        return Stream.of(
                shapes(
                        "nll",
                        () -> Ops.nll(of(2, 5), new int[3], NllOptions.PLAIN),
                        "nll: [2, 5]: needs one target per row, got 3"),
                argument(
                        "nll",
                        () -> Ops.nll(of(2, 5), new int[] {0, 5}, NllOptions.PLAIN),
                        "nll: target 5 is outside the 5 classes"));
    }

    @ParameterizedTest
    @MethodSource("misuses")
    void isOneSentence(Misuse m) {
        assertThatThrownBy(m.call::get).isExactlyInstanceOf(m.type).hasMessage(m.message);
    }

    @Test
    void everyOpThatCanBeMisusedIsHere() {
        Set<String> fits = Set.of("activation", "scale", "sum", "sumLast", "softmax", "logSoftmax");
        Set<String> covered = misuses().map(Misuse::method).collect(Collectors.toCollection(TreeSet::new));
        covered.addAll(fits);
        assertThat(covered)
                .containsExactlyElementsOf(Arrays.stream(Ops.class.getDeclaredMethods())
                        .filter(m -> java.lang.reflect.Modifier.isPublic(m.getModifiers()))
                        .map(java.lang.reflect.Method::getName)
                        .collect(Collectors.toCollection(TreeSet::new)));
    }

    private static final class Block extends Module {
        Block(Linear linear) {
            child("model.layers.3.self_attn.q_proj", linear);
        }
    }

    @Test
    void aLinearLayerSaysWhereItIs() {
        try (Arena arena = Arena.ofShared()) {
            Linear linear = new Linear(new DenseWeight(Tensor.allocate(arena, Shape.of(128, 96))), null);
            new Block(linear);
            assertThatThrownBy(() -> linear.forward(of(2, 7, 64)))
                    .isInstanceOf(ShapeException.class)
                    .hasMessage("matmulT: x [2, 7, 64] does not fit weight [128, 96]: x's last dim 64 must equal 96"
                            + " (at model.layers.3.self_attn.q_proj)");
        }
    }

    @ParameterizedTest
    @MethodSource("tensors")
    void aTensorSaysToo(Misuse m) {
        assertThatThrownBy(m.call::get).isExactlyInstanceOf(m.type).hasMessage(m.message);
    }

    static Stream<Misuse> tensors() {
        return Stream.of(
                shapes("view", () -> of(2, 3).view(7), "view: [2, 3] does not fit [7]: sizes must be equal"),
                shapes("of", () -> Tensor.of(new float[5], 2, 3), "set: [2, 3]: needs 6 numbers, got 5"),
                shapes("empty", () -> of(), "shape []: at least one dimension is needed, a scalar is [1]"),
                shapes("empty", () -> of(2, -3), "shape [2, -3]: a dimension is negative"),
                shapes(
                        "empty",
                        () -> of(2147483647, 2147483647, 2147483647),
                        "shape [2147483647, 2147483647, 2147483647]: more elements than can be counted"),
                shapes("item", () -> of((int) of(2).item()), "item: [2]: must have one element"),
                shapes("dim", () -> of(of(2, 3).dim(2)), "dim: [2, 3] has no dimension 2"),
                shapes("dim", () -> of(of(2, 3).dim(-3)), "dim: [2, 3] has no dimension -3"),
                argument(
                        "trainable",
                        () -> of(2).trainable(true),
                        "trainable: [2] lies in a scope; a parameter must outlive the step, see allocate"));
    }
}
