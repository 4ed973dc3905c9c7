package anneal.tensor;

import static org.assertj.core.api.Assertions.assertThat;

import anneal.kernels.Activation;
import anneal.kernels.Attention;
import anneal.kernels.Kernels;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.IntFunction;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** {@link OpContract} for every op of {@link Ops}, each with no, one and several rows. */
class OpContractTest {
    private static final int[] ROWS = {0, 1, 4};

    /** An op: the methods of Ops that it is about, and its case for a number of rows. */
    private record Row(String name, Set<String> methods, IntFunction<OpContract.Case> cases) {
        @Override
        public String toString() {
            return name;
        }
    }

    private static Row row(
            String name, String method, IntFunction<int[][]> shapes, OpContract.FloatOp op, OpContract.DoubleOp ref) {
        return new Row(name, Set.of(method), n -> new OpContract.Case(false, shapes.apply(n), op, ref));
    }

    private static Row inPlace(
            String name, String method, IntFunction<int[][]> shapes, OpContract.FloatOp op, OpContract.DoubleOp ref) {
        return new Row(name, Set.of(method), n -> new OpContract.Case(true, shapes.apply(n), op, ref));
    }

    private static int[][] shapes(int[]... shapes) {
        return shapes;
    }

    private static int[] dims(int... dims) {
        return dims;
    }

    static Stream<Row> rows() {
        return Stream.of(
                        products(),
                        normalisation(),
                        activations(),
                        elementwise(),
                        rowsAndColumns(),
                        positions(),
                        attention(),
                        distributions(),
                        chains())
                .flatMap(List::stream);
    }

    private static List<Row> products() {
        Bf16Matrix stored = Bf16Matrix.random(3, 5, 1), turned = Bf16Matrix.random(5, 3, 2);
        return List.of(
                row(
                        "matmulT",
                        "matmulT(Tensor, Tensor)",
                        n -> shapes(dims(n, 2, 5), dims(3, 5)),
                        in -> Ops.matmulT(in[0], in[1]),
                        in -> References.matmulT(in[0], in[1], 5)),
                row(
                        "matmulT stored",
                        "matmulT(Tensor, Matrix)",
                        n -> shapes(dims(n, 5)),
                        in -> Ops.matmulT(in[0], stored),
                        in -> References.matmulT(in[0], stored.vars(), 5)),
                row(
                        "matmul",
                        "matmul(Tensor, Tensor)",
                        n -> shapes(dims(n, 5), dims(5, 3)),
                        in -> Ops.matmul(in[0], in[1]),
                        in -> References.matmulT(in[0], References.transpose(in[1], 3), 5)),
                row(
                        "matmul stored",
                        "matmul(Tensor, Matrix)",
                        n -> shapes(dims(n, 5)),
                        in -> Ops.matmul(in[0], turned),
                        in -> References.matmulT(in[0], References.transpose(turned.vars(), 3), 5)),
                inPlace(
                        "addMatmulT",
                        "addMatmulTInPlace(Tensor, Tensor, Tensor, float)",
                        n -> shapes(dims(n, 3), dims(n, 5), dims(3, 5)),
                        in -> Ops.addMatmulTInPlace(in[0], in[1], in[2], 0.25f),
                        in -> References.zip(
                                in[0], References.matmulT(in[1], in[2], 5), (y, p) -> y.plus(p.times(0.25)))),
                row(
                        "matmulTLowRank",
                        "matmulTLowRank(Tensor, Matrix, Tensor, Tensor, Tensor, float)",
                        n -> shapes(dims(n, 2, 5), dims(2, 5), dims(3, 2)),
                        in -> Ops.matmulTLowRank(in[0], stored, in[0], in[1], in[2], 0.25f),
                        in -> lowRank(stored, in[0], in[0], in[1], in[2])),
                row(
                        "matmulTLowRank with dropout",
                        "matmulTLowRank(Tensor, Matrix, Tensor, Tensor, Tensor, float)",
                        n -> shapes(dims(n, 5), dims(n, 5), dims(2, 5), dims(3, 2)),
                        in -> Ops.matmulTLowRank(in[0], stored, in[1], in[2], in[3], 0.25f),
                        in -> lowRank(stored, in[0], in[1], in[2], in[3])),
                inPlace(
                        "addBias",
                        "addBiasInPlace(Tensor, Tensor)",
                        n -> shapes(dims(n, 2, 3), dims(3)),
                        in -> Ops.addBiasInPlace(in[0], in[1]),
                        in -> References.addBias(in[0], in[1])));
    }

    private static Var[] lowRank(Bf16Matrix w, Var[] x, Var[] z, Var[] a, Var[] b) {
        Var[] addition = References.matmulT(References.matmulT(z, a, 5), b, 2);
        return References.zip(References.matmulT(x, w.vars(), 5), addition, (y, p) -> y.plus(p.times(0.25)));
    }

    private static List<Row> normalisation() {
        return List.of(
                row(
                        "rmsNorm",
                        "rmsNorm(Tensor, Tensor, float)",
                        n -> shapes(dims(n, 7), dims(7)),
                        in -> Ops.rmsNorm(in[0], in[1], 0.125f),
                        in -> References.rmsNorm(in[0], in[1], 0.125)),
                row(
                        "layerNorm",
                        "layerNorm(Tensor, Tensor, Tensor, float)",
                        n -> shapes(dims(n, 7), dims(7), dims(7)),
                        in -> Ops.layerNorm(in[0], in[1], in[2], 0.125f),
                        in -> References.layerNorm(in[0], in[1], in[2], 0.125)));
    }

    private static List<Row> activations() {
        List<Row> rows = new ArrayList<>();
        for (Activation f : Activation.values()) {
            rows.add(row(
                    "activation " + f,
                    "activation(Tensor, Activation)",
                    n -> shapes(dims(n, 9)),
                    in -> Ops.activation(in[0], f),
                    in -> References.map(in[0], x -> References.activation(x, f))));
            rows.add(row(
                    "gated " + f,
                    "gated(Tensor, Tensor, Activation)",
                    n -> shapes(dims(n, 9), dims(n, 9)),
                    in -> Ops.gated(in[0], in[1], f),
                    in -> References.zip(
                            in[0],
                            in[1],
                            (gate, up) -> References.activation(gate, f).times(up))));
        }
        return rows;
    }

    private static List<Row> elementwise() {
        long state = 77, seed = new Rng(state).nextLong();
        return List.of(
                row(
                        "add",
                        "add(Tensor, Tensor)",
                        n -> shapes(dims(n, 3), dims(n, 3)),
                        in -> Ops.add(in[0], in[1]),
                        in -> References.zip(in[0], in[1], Var::plus)),
                row(
                        "add to itself",
                        "add(Tensor, Tensor)",
                        n -> shapes(dims(n, 3)),
                        in -> Ops.add(in[0], in[0]),
                        in -> References.map(in[0], x -> x.plus(x))),
                inPlace(
                        "add in place",
                        "addInPlace(Tensor, Tensor)",
                        n -> shapes(dims(n, 3), dims(n, 3)),
                        in -> Ops.addInPlace(in[0], in[1]),
                        in -> References.zip(in[0], in[1], Var::plus)),
                row(
                        "sub",
                        "sub(Tensor, Tensor)",
                        n -> shapes(dims(n, 3), dims(n, 3)),
                        in -> Ops.sub(in[0], in[1]),
                        in -> References.zip(in[0], in[1], Var::minus)),
                row(
                        "mul",
                        "mul(Tensor, Tensor)",
                        n -> shapes(dims(n, 3), dims(n, 3)),
                        in -> Ops.mul(in[0], in[1]),
                        in -> References.zip(in[0], in[1], Var::times)),
                row(
                        "square",
                        "mul(Tensor, Tensor)",
                        n -> shapes(dims(n, 3)),
                        in -> Ops.mul(in[0], in[0]),
                        in -> References.map(in[0], x -> x.times(x))),
                row(
                        "scale",
                        "scale(Tensor, float)",
                        n -> shapes(dims(n, 3)),
                        in -> Ops.scale(in[0], -1.5f),
                        in -> References.map(in[0], x -> x.times(-1.5))),
                row(
                        "dropout",
                        "dropout(Tensor, float)",
                        n -> shapes(dims(n, 11)),
                        in -> {
                            Tape.noise().restore(state);
                            return Ops.dropout(in[0], 0.375f);
                        },
                        in -> References.dropout(in[0], 0.375, seed)),
                row(
                        "dropout of nothing",
                        "dropout(Tensor, float)",
                        n -> shapes(dims(n, 3)),
                        in -> Ops.scale(Ops.dropout(in[0], 0f), 2f),
                        in -> References.map(in[0], x -> x.times(2))),
                row("sum", "sum(Tensor)", n -> shapes(dims(n, 3)), in -> Ops.sum(in[0]), in ->
                        new Var[] {Var.sum(in[0])}),
                row(
                        "sumLast",
                        "sumLast(Tensor)",
                        n -> shapes(dims(n, 2, 3)),
                        in -> Ops.sumLast(in[0]),
                        in -> References.byRow(in[0], 3, r -> new Var[] {Var.sum(r)})),
                row("sumLast of a vector", "sumLast(Tensor)", n -> shapes(dims(n)), in -> Ops.sumLast(in[0]), in ->
                        new Var[] {Var.sum(in[0])}));
    }

    private static List<Row> rowsAndColumns() {
        int[] ids = {2, 0, 2, 5};
        Bf16Matrix table = Bf16Matrix.random(6, 3, 3);
        return List.of(
                new Row(
                        "embedding",
                        Set.of("embedding(Tensor, int[])"),
                        n -> new OpContract.Case(
                                false,
                                shapes(dims(6, 3)),
                                in -> Ops.embedding(in[0], Arrays.copyOf(ids, n)),
                                in -> References.rows(in[0], 3, Arrays.copyOf(ids, n)))),
                new Row(
                        "embedding stored",
                        Set.of("embedding(Matrix, int[])"),
                        n -> new OpContract.Case(
                                false,
                                shapes(dims(n, 3)),
                                in -> Ops.mul(in[0], Ops.embedding(table, Arrays.copyOf(ids, n))),
                                in -> References.zip(
                                        in[0], References.rows(table.vars(), 3, Arrays.copyOf(ids, n)), Var::times))),
                new Row(
                        "rows",
                        Set.of("rows(Tensor, int[])"),
                        n -> new OpContract.Case(
                                false,
                                shapes(dims(3, 2, 4)),
                                in -> Ops.rows(in[0], Arrays.copyOf(ids, n)),
                                in -> References.rows(in[0], 4, Arrays.copyOf(ids, n)))),
                row(
                        "columns",
                        "columns(Tensor, int, int)",
                        n -> shapes(dims(n, 2, 7)),
                        in -> Ops.columns(in[0], 2, 3),
                        in -> References.columns(in[0], 7, 2, 3)),
                row(
                        "prepend",
                        "prepend(Tensor, Tensor)",
                        n -> shapes(dims(n, 3), dims(2, 3, 3)),
                        in -> Ops.prepend(in[0], in[1]),
                        in -> prepended(in[0], in[1], 9)),
                new Row(
                        "prepend to nothing",
                        Set.of("prepend(Tensor, Tensor)"),
                        n -> new OpContract.Case(
                                false,
                                shapes(dims(2, 3), dims(n, 0, 3)),
                                in -> Ops.prepend(in[0], in[1]),
                                in -> References.rows(in[0], 6, new int[n]))),
                row(
                        "no columns",
                        "columns(Tensor, int, int)",
                        n -> shapes(dims(n, 7)),
                        in -> Ops.columns(in[0], 7, 0),
                        in -> new Var[0]));
    }

    /** a in front of each piece of x with this many numbers. */
    private static Var[] prepended(Var[] a, Var[] x, int piece) {
        return References.byRow(
                x,
                piece,
                row -> Stream.concat(Arrays.stream(a), Arrays.stream(row))
                        .map(v -> v.times(1))
                        .toArray(Var[]::new));
    }

    private static List<Row> positions() {
        List<Row> rows = new ArrayList<>();
        for (boolean interleaved : new boolean[] {false, true}) {
            rows.add(new Row(
                    interleaved ? "rope interleaved" : "rope half-split",
                    Set.of("ropeInPlace(Tensor, Tensor, Tensor, Rope)"),
                    n -> {
                        Kernels.Rope s = new Kernels.Rope(n, 2, 6, 4, interleaved);
                        double[] angles = angles(2 * n, 5);
                        return new OpContract.Case(
                                true,
                                shapes(dims(n, 12)),
                                in -> Ops.ropeInPlace(in[0], trig(angles, true), trig(angles, false), s),
                                in -> References.rope(in[0], trigVars(angles, true), trigVars(angles, false), s));
                    }));
        }
        return rows;
    }

    private static double[] angles(int n, long seed) {
        Rng rng = new Rng(seed);
        double[] a = new double[n];
        Arrays.setAll(a, i -> 7 * rng.nextDouble());
        return a;
    }

    private static double trig(double angle, boolean cos) {
        return (float) (cos ? Math.cos(angle) : Math.sin(angle));
    }

    private static Tensor trig(double[] angles, boolean cos) {
        float[] values = new float[angles.length];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) trig(angles[i], cos);
        }
        return Tensor.of(values, angles.length / 2, 2);
    }

    private static Var[] trigVars(double[] angles, boolean cos) {
        return Var.of(Arrays.stream(angles).map(a -> trig(a, cos)).toArray());
    }

    private static List<Row> attention() {
        float[] slopes = {0.5f, 0.25f, 0.125f, 0.0625f};
        return List.of(
                attention("causal", n -> spec(n, 3, 3, 3, 2, 2, true, 0, null, null, 0, 0)),
                attention("grouped", n -> spec(n, 3, 3, 3, 4, 2, false, 0, null, null, 0, 0)),
                attention("cached", n -> spec(n, 2, 4, 5, 4, 1, true, 0, null, null, 0, 0)),
                attention("window", n -> spec(n, 4, 4, 4, 1, 1, true, 2, null, null, 0, 0)),
                attention("packed", n -> spec(n, 4, 4, 4, 2, 1, true, 0, segments(n, 0, 0, 1, -1), null, 0, 0)),
                attention("alibi", n -> spec(n, 3, 3, 3, 4, 4, true, 0, null, slopes, 0, 0)),
                attention("soft cap", n -> spec(n, 3, 3, 3, 4, 2, true, 0, null, slopes, 1.5f, 0)),
                attention("dropout", n -> spec(n, 3, 3, 3, 2, 1, false, 0, null, null, 0, 0.25f)));
    }

    private static int[] segments(int batch, int... one) {
        int[] all = new int[batch * one.length];
        Arrays.setAll(all, i -> one[i % one.length]);
        return all;
    }

    private static Attention spec(
            int batch,
            int queries,
            int keys,
            int capacity,
            int heads,
            int kvHeads,
            boolean causal,
            int window,
            int[] segments,
            float[] slopes,
            float softcap,
            float dropout) {
        return new Attention(
                batch,
                queries,
                keys,
                capacity,
                heads,
                kvHeads,
                3,
                0.5f,
                causal,
                window,
                segments,
                segments,
                slopes,
                softcap,
                dropout,
                0x1234_5678_9abc_def0L);
    }

    private static Row attention(String name, IntFunction<Attention> spec) {
        return new Row("attention " + name, Set.of("attention(Tensor, Tensor, Tensor, Attention)"), n -> {
            Attention s = spec.apply(Math.min(n, 2));
            int[] q = dims(s.batch(), s.queryLen(), s.heads() * s.headDim());
            int[] kv = dims(s.batch(), s.capacity(), s.kvHeads() * s.headDim());
            return new OpContract.Case(
                    false,
                    shapes(q, kv, kv),
                    in -> Ops.attention(in[0], in[1], in[2], s),
                    in -> References.attention(in[0], in[1], in[2], s));
        });
    }

    private static List<Row> distributions() {
        int[] targets = {3, -1, 0, 4};
        Bf16Matrix projection = Bf16Matrix.random(5, 3, 4);
        List<Row> rows = new ArrayList<>(List.of(
                row(
                        "softmax",
                        "softmax(Tensor)",
                        n -> shapes(dims(n, 5)),
                        in -> Ops.softmax(in[0]),
                        in -> References.softmax(in[0], 5)),
                row(
                        "logSoftmax",
                        "logSoftmax(Tensor)",
                        n -> shapes(dims(n, 5)),
                        in -> Ops.logSoftmax(in[0]),
                        in -> References.logSoftmax(in[0], 5))));
        for (NllOptions o : List.of(NllOptions.PLAIN, new NllOptions(0.125f, 0), new NllOptions(0.25f, 0.0625f))) {
            IntFunction<int[]> t = n -> Arrays.copyOf(targets, n);
            rows.add(new Row(
                    "nll of logits " + o,
                    Set.of("nll(Tensor, int[], NllOptions)"),
                    n -> new OpContract.Case(
                            false,
                            shapes(dims(n, 5)),
                            in -> Ops.nll(in[0], t.apply(n), o),
                            in -> References.nll(in[0], 5, t.apply(n), o))));
            rows.add(new Row(
                    "nll projected " + o,
                    Set.of("nll(Tensor, Tensor, int[], NllOptions)"),
                    n -> new OpContract.Case(
                            false,
                            shapes(dims(n, 3), dims(5, 3)),
                            in -> Ops.nll(in[0], in[1], t.apply(n), o),
                            in -> References.nll(References.matmulT(in[0], in[1], 3), 5, t.apply(n), o))));
            rows.add(new Row(
                    "nll projected, stored " + o,
                    Set.of("nll(Tensor, Matrix, int[], NllOptions)"),
                    n -> new OpContract.Case(
                            false,
                            shapes(dims(n, 3)),
                            in -> Ops.nll(in[0], projection, t.apply(n), o),
                            in -> References.nll(References.matmulT(in[0], projection.vars(), 3), 5, t.apply(n), o))));
        }
        return rows;
    }

    /** What a layer with a low-rank adapter does, all in place, and a residual branch. */
    private static List<Row> chains() {
        Row layer = new Row("matmulT, addMatmulT, addBias, rope, attention", Set.of(), n -> {
            Attention s = Attention.causal(1, n, 2, 2, 4);
            Kernels.Rope rope = new Kernels.Rope(n, 2, 4, 4, false);
            double[] angles = angles(2 * n, 6);
            return new OpContract.Case(
                    false,
                    shapes(dims(1, n, 3), dims(8, 3), dims(2, 3), dims(8, 2), dims(8)),
                    in -> {
                        Tensor q = Ops.matmulT(in[0], in[1]);
                        q = Ops.addMatmulTInPlace(q, Ops.matmulT(in[0], in[2]), in[3], 0.5f);
                        q = Ops.addBiasInPlace(q, in[4]);
                        Tensor v = Ops.matmulT(in[0], in[1]);
                        q = Ops.ropeInPlace(q, trig(angles, true), trig(angles, false), rope);
                        return Ops.attention(q, q, v, s);
                    },
                    in -> {
                        Var[] v = References.matmulT(in[0], in[1], 3);
                        Var[] low = References.matmulT(References.matmulT(in[0], in[2], 3), in[3], 2);
                        Var[] q = References.zip(v, low, (a, b) -> a.plus(b.times(0.5)));
                        q = References.rope(
                                References.addBias(q, in[4]), trigVars(angles, true), trigVars(angles, false), rope);
                        return References.attention(q, q, v, s);
                    });
        });
        Row residual = row(
                "residual branch",
                "addInPlace(Tensor, Tensor)",
                n -> shapes(dims(n, 3), dims(3)),
                in -> Ops.addInPlace(Ops.rmsNorm(in[0], in[1], 0.5f), in[0]),
                in -> References.zip(References.rmsNorm(in[0], in[1], 0.5), in[0], Var::plus));
        return List.of(layer, residual);
    }

    @ParameterizedTest
    @MethodSource("rows")
    void keepsTheContract(Row row) {
        for (int n : ROWS) {
            OpContract.check(row.cases.apply(n), 1000 + n);
        }
    }

    @Test
    void everyOpHasARow() {
        Set<String> covered = rows().flatMap(r -> r.methods.stream()).collect(Collectors.toCollection(TreeSet::new));
        Set<String> there = Arrays.stream(Ops.class.getDeclaredMethods())
                .filter(m -> Modifier.isPublic(m.getModifiers()))
                .map(OpContractTest::signature)
                .collect(Collectors.toCollection(TreeSet::new));
        assertThat(covered).containsExactlyElementsOf(there);
    }

    private static String signature(Method m) {
        return m.getName()
                + Arrays.stream(m.getParameterTypes())
                        .map(Class::getSimpleName)
                        .collect(Collectors.joining(", ", "(", ")"));
    }
}
