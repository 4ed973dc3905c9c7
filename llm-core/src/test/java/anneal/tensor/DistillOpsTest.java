package anneal.tensor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import anneal.kernels.Attention;
import anneal.tensor.OpContract.Case;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

/** {@link OpContract} for the losses of distillation; the teacher is a constant of each case. */
class DistillOpsTest {
    private static final int V = 7;
    private static final int[] ROWS = {0, 1, 4};

    private static float[] random(int n, long seed) {
        Rng rng = new Rng(seed);
        float[] x = new float[n];
        for (int i = 0; i < n; i++) {
            x[i] = (float) (2 * rng.nextGaussian());
        }
        return x;
    }

    private static Var[] vars(float[] x) {
        return Var.of(doubles(x));
    }

    private static double[] doubles(float[] x) {
        double[] d = new double[x.length];
        Arrays.setAll(d, i -> x[i]);
        return d;
    }

    private static Var[] softmax(Var[] x, double temperature) {
        Var[] e = References.map(x, v -> v.times(1 / temperature).exp());
        Var sum = Var.sum(e);
        return References.map(e, v -> v.over(sum));
    }

    /** KL(a || b). */
    private static Var kl(Var[] a, Var[] b) {
        return Var.sum(References.zip(a, b, (x, y) -> x.times(x.log().minus(y.log()))));
    }

    private static Var divergence(Var[] student, Var[] teacher, double beta, double temperature) {
        Var[] p = softmax(student, temperature), q = softmax(teacher, temperature);
        if (beta == 0 || beta == 1) {
            return beta == 0 ? kl(q, p) : kl(p, q);
        }
        Var[] m = References.zip(p, q, (x, y) -> x.times(1 - beta).plus(y.times(beta)));
        return kl(q, m).times(beta).plus(kl(p, m).times(1 - beta));
    }

    private static Var[] rows(Var[] student, float[] teacher, java.util.function.BinaryOperator<Var[]> loss) {
        Var[] t = vars(teacher);
        List<Var> out = new ArrayList<>();
        for (int at = 0; at < student.length; at += V) {
            out.addAll(List.of(loss.apply(Arrays.copyOfRange(student, at, at + V), Arrays.copyOfRange(t, at, at + V))));
        }
        return out.toArray(Var[]::new);
    }

    @Test
    void divergenceIsItsFormula() {
        for (int n : ROWS) {
            float[] teacher = random(n * V, 11);
            for (double beta : new double[] {0, 0.25, 0.5, 1}) {
                for (double temperature : new double[] {1, 2.5}) {
                    OpContract.check(
                            new Case(
                                    false,
                                    new int[][] {{n, V}},
                                    in -> DistillOps.divergence(
                                            in[0], Tensor.of(teacher, n, V), (float) beta, (float) temperature),
                                    in -> rows(
                                            in[0], teacher, (s, t) -> new Var[] {divergence(s, t, beta, temperature)})),
                            n + 1);
                }
            }
        }
    }

    @Test
    void divergenceOfTopComparesTheRestAsOneClass() {
        int k = 3;
        for (int n : ROWS) {
            int[] ids = new int[n * k];
            float[] logQ = new float[n * k];
            for (int i = 0; i < ids.length; i++) {
                ids[i] = (2 * i / k + i % k * 2) % V;
                logQ[i] = (float) Math.log(0.4 / (1 + i % k));
            }
            OpContract.check(
                    new Case(
                            false,
                            new int[][] {{n, V}},
                            in -> DistillOps.divergenceOfTop(in[0], ids, logQ, 2),
                            in -> top(in[0], ids, logQ, k)),
                    n + 1);
        }
    }

    private static Var[] top(Var[] student, int[] ids, float[] logQ, int k) {
        List<Var> out = new ArrayList<>();
        for (int row = 0; row * V < student.length; row++) {
            Var[] p = softmax(Arrays.copyOfRange(student, row * V, row * V + V), 2);
            Var sum = Var.of(0), s = Var.of(1);
            double r = 1;
            for (int i = row * k; i < row * k + k; i++) {
                double q = Math.exp(logQ[i]);
                sum = sum.plus(p[ids[i]].log().times(-q)).plus(q * logQ[i]);
                s = s.minus(p[ids[i]]);
                r -= q;
            }
            out.add(sum.plus(r * Math.log(r)).minus(s.log().times(r)));
        }
        return out.toArray(Var[]::new);
    }

    @Test
    void divergenceOfAllClassesIsTheForwardOne() {
        float[] teacher = random(2 * V, 3), student = random(2 * V, 4);
        try (Memory.Scope scope = Memory.scope()) {
            Tensor s = Tensor.of(student, 2, V), t = Tensor.of(teacher, 2, V);
            int[] ids = new int[2 * V];
            Arrays.setAll(ids, i -> i % V);
            float[] all = DistillOps.divergenceOfTop(s, ids, Ops.logSoftmax(t).toArray(), 1)
                    .toArray();
            float[] forward = DistillOps.divergence(s, t, 0, 1).toArray();
            for (int i = 0; i < 2; i++) {
                assertThat(all[i]).isCloseTo(forward[i], within(1e-5f));
            }
        }
    }

    @Test
    void meanSquareIsItsFormula() {
        for (int n : ROWS) {
            float[] b = random(n * V, 5);
            OpContract.check(
                    new Case(
                            false,
                            new int[][] {{n, V}},
                            in -> DistillOps.meanSquare(in[0], Tensor.of(b, n, V)),
                            in -> rows(in[0], b, (x, y) -> new Var[] {
                                Var.sum(References.zip(
                                                x, y, (u, v) -> u.minus(v).times(u.minus(v))))
                                        .times(1.0 / V)
                            })),
                    n + 1);
        }
    }

    /** Two rows of three tokens, four query heads on two key heads; the teacher has heads of another size. */
    @Test
    void attentionDivergenceIsItsFormula() {
        Attention s = Attention.causal(2, 3, 4, 2, 2), t = Attention.causal(2, 3, 4, 4, 3);
        float[] tq = random(2 * 3 * 12, 6), tk = random(2 * 3 * 12, 7);
        OpContract.check(
                new Case(
                        false,
                        new int[][] {{2, 3, 8}, {2, 3, 4}},
                        in -> DistillOps.attentionDivergence(
                                new DistillOps.Heads(in[0], in[1], s),
                                new DistillOps.Heads(Tensor.of(tq, 2, 3, 12), Tensor.of(tk, 2, 3, 12), t)),
                        in -> attention(in[0], in[1], s, vars(tq), vars(tk), t)),
                1);
    }

    private static Var[] attention(Var[] q, Var[] k, Attention s, Var[] tq, Var[] tk, Attention t) {
        List<Var> out = new ArrayList<>();
        for (int b = 0; b < s.batch(); b++) {
            for (int i = 0; i < s.queryLen(); i++) {
                Var sum = Var.of(0);
                for (int h = 0; h < s.heads(); h++) {
                    sum = sum.plus(kl(probabilities(tq, tk, t, b, h, i), probabilities(q, k, s, b, h, i)));
                }
                out.add(sum.times(1.0 / s.heads()));
            }
        }
        return out.toArray(Var[]::new);
    }

    private static Var[] probabilities(Var[] q, Var[] k, Attention s, int b, int h, int i) {
        int g = h / (s.heads() / s.kvHeads()), size = s.headDim();
        Var[] scores = new Var[i + 1];
        for (int j = 0; j <= i; j++) {
            int query = ((b * s.queryLen() + i) * s.heads() + h) * size;
            int key = ((b * s.keyLen() + j) * s.kvHeads() + g) * size;
            scores[j] = Var.sum(References.zip(
                            Arrays.copyOfRange(q, query, query + size),
                            Arrays.copyOfRange(k, key, key + size),
                            Var::times))
                    .times(s.scale());
        }
        return softmax(scores, 1);
    }

    @Test
    void isZeroForAPerfectStudentAndFiniteForAWrongOne() {
        try (Memory.Scope scope = Memory.scope();
                Arena arena = Arena.ofShared()) {
            Tensor t = Tensor.of(random(V, 8), 1, V);
            for (float beta : new float[] {0, 0.1f, 1}) {
                assertThat(DistillOps.divergence(t, t, beta, 1).item()).isCloseTo(0, within(1e-6f));
            }
            Tensor sure = Tensor.allocate(arena, Shape.of(1, V)).trainable(true);
            sure.set(new float[] {500, 0, 0, 0, 0, 0, -500});
            Tensor loss = DistillOps.divergence(sure, Tensor.of(new float[] {-500, 0, 0, 0, 0, 0, 500}, 1, V), 0.5f, 1);
            assertThat(loss.item()).isCloseTo((float) Math.log(2), within(1e-5f));
            Tape.backward(loss);
            assertThat(sure.grad().toArray()).doesNotContain(Float.NaN);
        }
    }

    @Test
    void saysWhatIsWrong() {
        try (Memory.Scope scope = Memory.scope()) {
            Tensor a = Tensor.zeros(2, 3), b = Tensor.zeros(2, 4);
            assertThatThrownBy(() -> DistillOps.divergence(a, b, 0, 1))
                    .hasMessage("divergence: [2, 3] does not fit [2, 4]: shapes must be equal");
            assertThatThrownBy(() -> DistillOps.divergence(a, a, 2, 1))
                    .hasMessage("divergence: beta 2.0 must be in [0, 1]");
            assertThatThrownBy(() -> DistillOps.divergence(a, a, 0, 0))
                    .hasMessage("divergence: temperature 0.0 must be positive");
            assertThatThrownBy(() -> DistillOps.meanSquare(a, b))
                    .hasMessage("meanSquare: [2, 3] does not fit [2, 4]: shapes must be equal");
            assertThatThrownBy(() -> DistillOps.divergenceOfTop(a, new int[3], new float[3], 1))
                    .hasMessage(
                            "divergenceOfTop: [2, 3]: needs equally many ids and log-probabilities for each row, got 3"
                                    + " and 3");
            assertThatThrownBy(() -> DistillOps.divergenceOfTop(a, new int[] {0, 3}, new float[2], 1))
                    .hasMessage("divergenceOfTop: id 3 is outside the 3 classes");
            DistillOps.Heads x = new DistillOps.Heads(a, a, Attention.causal(1, 2, 1, 1, 3));
            DistillOps.Heads y = new DistillOps.Heads(b, b, Attention.causal(1, 2, 2, 2, 2));
            assertThatThrownBy(() -> DistillOps.attentionDivergence(x, y))
                    .isInstanceOf(ShapeException.class)
                    .hasMessageStartingWith("attentionDivergence: student ")
                    .hasMessageEndingWith("rows, heads, queries and keys must be equally many");
        }
    }
}
