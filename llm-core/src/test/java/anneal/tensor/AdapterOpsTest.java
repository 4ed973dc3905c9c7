package anneal.tensor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.lang.foreign.Arena;
import java.lang.reflect.Modifier;
import java.util.Arrays;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.IntFunction;
import java.util.function.Supplier;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** {@link OpContract} for every op of {@link AdapterOps}, and what each says to what does not fit. */
class AdapterOpsTest {
    private record Row(String name, IntFunction<OpContract.Case> cases) {
        @Override
        public String toString() {
            return name;
        }
    }

    private static Row row(
            String name,
            boolean inPlace,
            IntFunction<int[][]> shapes,
            OpContract.FloatOp op,
            OpContract.DoubleOp reference) {
        return new Row(name, n -> new OpContract.Case(inPlace, shapes.apply(n), op, reference));
    }

    private static int[] dims(int... dims) {
        return dims;
    }

    private static int[] from(int rows) {
        return Arrays.copyOf(new int[] {1, -1, 0, 1}, rows);
    }

    static Stream<Row> rows() {
        int[] columns = {4, 0};
        return Stream.of(
                row(
                        "scaleColumns",
                        false,
                        n -> new int[][] {dims(n, 2, 5), dims(5, 1)},
                        in -> AdapterOps.scaleColumns(in[0], in[1]),
                        in -> scaled(in[0], in[1])),
                row(
                        "scaleColumns, wide",
                        false,
                        n -> new int[][] {dims(n, 300), dims(300)},
                        in -> AdapterOps.scaleColumns(in[0], in[1]),
                        in -> scaled(in[0], in[1])),
                row(
                        "addScaledColumnsInPlace",
                        true,
                        n -> new int[][] {dims(n, 5), dims(n, 5), dims(5)},
                        in -> AdapterOps.addScaledColumnsInPlace(in[0], in[1], in[2]),
                        in -> References.zip(in[0], scaled(in[1], in[2]), Var::plus)),
                row(
                        "transposeEach",
                        false,
                        n -> new int[][] {dims(n, 6)},
                        in -> AdapterOps.transposeEach(in[0], 2, 3),
                        in -> References.byRow(in[0], 6, x -> References.transpose(x, 3))),
                row(
                        "outerRows",
                        false,
                        n -> new int[][] {dims(n, 5), dims(3, 5)},
                        in -> AdapterOps.outerRows(in[0], in[1]),
                        in -> outer(in[0], in[1], 5)),
                row(
                        "replaceRowsInPlace",
                        true,
                        n -> new int[][] {dims(n, 5), dims(2, 5)},
                        in -> AdapterOps.replaceRowsInPlace(in[0], from(in[0].dim(0)), in[1]),
                        in -> replacedRows(in[0], in[1], 5)),
                row(
                        "replaceColumnsInPlace",
                        true,
                        n -> new int[][] {dims(n, 5), dims(n, 2)},
                        in -> AdapterOps.replaceColumnsInPlace(in[0], columns, in[1]),
                        in -> replacedColumns(in[0], in[1], 5, columns)));
    }

    private static Var[] scaled(Var[] x, Var[] v) {
        return References.byRow(x, v.length, row -> References.zip(row, v, Var::times));
    }

    private static Var[] outer(Var[] a, Var[] b, int dim) {
        Var[] y = new Var[a.length * b.length / dim];
        for (int i = 0; i < a.length / dim; i++) {
            for (int k = 0; k < b.length; k++) {
                y[i * b.length + k] = a[i * dim + k % dim].times(b[k]);
            }
        }
        return y;
    }

    private static Var[] replacedRows(Var[] x, Var[] w, int dim) {
        Var[] y = x.clone();
        int[] from = from(x.length / dim);
        for (int i = 0; i < from.length; i++) {
            if (from[i] >= 0) {
                System.arraycopy(w, from[i] * dim, y, i * dim, dim);
            }
        }
        return y;
    }

    private static Var[] replacedColumns(Var[] x, Var[] z, int dim, int[] columns) {
        Var[] y = x.clone();
        for (int i = 0; i < z.length; i++) {
            y[i / columns.length * dim + columns[i % columns.length]] = z[i];
        }
        return y;
    }

    @ParameterizedTest
    @MethodSource("rows")
    void keepsTheContract(Row row) {
        for (int n : new int[] {0, 1, 4}) {
            OpContract.check(row.cases.apply(n), 2000 + n);
        }
    }

    @Test
    void everyOpHasARow() {
        Set<String> covered = rows().map(r -> r.name.replaceAll(",.*", "")).collect(Collectors.toSet());
        Set<String> there = Arrays.stream(AdapterOps.class.getDeclaredMethods())
                .filter(m -> Modifier.isPublic(m.getModifiers()))
                .map(m -> m.getName())
                .collect(Collectors.toCollection(TreeSet::new));
        assertThat(covered).isEqualTo(there).hasSize(6);
    }

    // ---------------------------------------------------------------- messages

    private record Misuse(Supplier<Tensor> call, String message) {
        @Override
        public String toString() {
            return message;
        }
    }

    private static Tensor of(int... dims) {
        return Tensor.zeros(dims);
    }

    static Stream<Misuse> misuses() {
        return Stream.of(
                new Misuse(
                        () -> AdapterOps.scaleColumns(of(2, 5), of(4)),
                        "scaleColumns: [2, 5] does not fit [4]: there must be one factor for each element of the last dim"),
                new Misuse(
                        () -> AdapterOps.addScaledColumnsInPlace(of(2, 5), of(2, 4), of(4)),
                        "addScaledColumns: [2, 5] does not fit [2, 4]: shapes must be equal"),
                new Misuse(
                        () -> AdapterOps.addScaledColumnsInPlace(of(2, 5), of(2, 5), of(6)),
                        "addScaledColumns: [2, 5] does not fit [6]: there must be one factor for each element of the last dim"),
                new Misuse(
                        () -> AdapterOps.transposeEach(of(2, 5), 2, 3),
                        "transposeEach: [2, 5]: the last dim must be 2 x 3"),
                new Misuse(
                        () -> AdapterOps.outerRows(of(2, 5), of(2, 4)),
                        "outerRows: [2, 5] does not fit [2, 4]: both must be matrices with equally long rows"),
                new Misuse(
                        () -> AdapterOps.replaceRowsInPlace(of(2, 5), new int[2], of(3, 4)),
                        "replaceRows: [2, 5] does not fit [3, 4]: rows of the matrix must be as long as those of y"),
                new Misuse(
                        () -> AdapterOps.replaceRowsInPlace(of(2, 5), new int[] {0, 3}, of(3, 5)),
                        "replaceRows: [2, 5]: needs one number a row, -1 or a row of [3, 5]"),
                new Misuse(
                        () -> AdapterOps.replaceColumnsInPlace(of(2, 5), new int[] {1, 2}, of(2, 3)),
                        "replaceColumns: [2, 5] does not fit [2, 3]: it must have as many rows, and one number for each of the"
                                + " 2 columns"),
                new Misuse(
                        () -> AdapterOps.replaceColumnsInPlace(of(2, 5), new int[] {1, 1}, of(2, 2)),
                        "replaceColumns: [2, 5]: columns [1, 1] must be different ones of it"));
    }

    @ParameterizedTest
    @MethodSource("misuses")
    void saysWhatDoesNotFit(Misuse m) {
        assertThatThrownBy(m.call::get).isInstanceOf(ShapeException.class).hasMessage(m.message);
    }

    @Test
    void aParameterIsNotChangedInPlace() {
        try (Arena arena = Arena.ofConfined()) {
            Tensor p = Tensor.allocate(arena, Shape.of(2, 5)).trainable(true);
            assertThatThrownBy(() -> AdapterOps.replaceRowsInPlace(p, new int[2], of(1, 5)))
                    .hasMessage("replaceRows: [2, 5] is trained and must not be changed in place while recording");
            assertThatThrownBy(() -> AdapterOps.replaceColumnsInPlace(p, new int[1], of(2, 1)))
                    .hasMessageContaining("must not be changed in place");
            assertThatThrownBy(() -> AdapterOps.addScaledColumnsInPlace(p, of(2, 5), of(5)))
                    .hasMessageContaining("must not be changed in place");
        }
    }
}
