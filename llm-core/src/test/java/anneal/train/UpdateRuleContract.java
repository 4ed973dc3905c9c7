package anneal.train;

import static org.assertj.core.api.Assertions.assertThat;

import anneal.kernels.Parallel;
import anneal.tensor.Rng;
import anneal.tensor.Shape;
import anneal.tensor.Tensor;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What every update rule must do; a new rule is a subclass of a few getters. */
abstract class UpdateRuleContract {
    /** The rule, without weight decay. */
    abstract UpdateRule rule();

    /** The rule, with weight decay. */
    abstract UpdateRule withDecay();

    /** A learning rate with which 800 steps come near the bottom of a parabola. */
    abstract double parabolaRate();

    /** A learning rate that stays stable in Rosenbrock's valley. */
    abstract double rosenbrockRate();

    private Arena arena;

    @BeforeEach
    void open() {
        arena = Arena.ofShared();
    }

    @AfterEach
    void close() {
        arena.close();
    }

    private Tensor parameter(Rng rng, int... dims) {
        Tensor p = Tensor.allocate(arena, Shape.of(dims));
        p.set(uniform(rng, p.size()));
        return p;
    }

    private static float[] uniform(Rng rng, long n) {
        float[] a = new float[(int) n];
        for (int i = 0; i < a.length; i++) {
            a[i] = (float) (4 * rng.nextDouble() - 2);
        }
        return a;
    }

    /** A matrix, a vector, and a matrix that is cut into several pieces. */
    private Map<String, Tensor> parameters() {
        Rng rng = new Rng(1);
        Map<String, Tensor> all = new LinkedHashMap<>();
        all.put("layer.weight", parameter(rng, 5, 7));
        all.put("layer.bias", parameter(rng, 13));
        all.put("big.weight", parameter(rng, 301, 130));
        return all;
    }

    /** Makes steps with gradients that depend on the step's number alone. */
    private static void steps(Optimizer o, Map<String, Tensor> parameters, int from, int to, float factor) {
        for (int i = from; i < to; i++) {
            Rng rng = new Rng(100 + i);
            parameters.values().forEach(p -> {
                float[] g = uniform(rng, p.size());
                for (int k = 0; k < g.length; k++) {
                    g[k] *= factor;
                }
                p.trainable(true).grad().set(g);
            });
            o.step(1 / factor, 1e-2);
        }
    }

    private Map<String, float[]> after(UpdateRule rule, int count, float factor) {
        Map<String, Tensor> parameters = parameters();
        try (Optimizer o = new Optimizer(parameters, rule, List.of())) {
            steps(o, parameters, 0, count, factor);
            return values(parameters);
        }
    }

    private static Map<String, float[]> values(Map<String, Tensor> tensors) {
        Map<String, float[]> all = new LinkedHashMap<>();
        tensors.forEach((name, t) -> all.put(name, t.toArray()));
        return all;
    }

    private static void assertSameBits(Map<String, float[]> a, Map<String, float[]> b) {
        assertThat(a.keySet()).isEqualTo(b.keySet());
        a.forEach((name, x) -> assertThat(x).as(name).containsExactly(b.get(name)));
    }

    @Test
    void findsTheBottomOfAParabola() {
        Tensor p = parameter(new Rng(5), 4, 6);
        float[] goal = uniform(new Rng(6), 24);
        double start = parabola(p, goal);
        try (Optimizer o = new Optimizer(Map.of("p", p), rule(), List.of())) {
            for (int i = 0; i < 800; i++) {
                parabola(p, goal);
                o.step(1, parabolaRate() * (1 - i / 800.0));
            }
        }
        assertThat(parabola(p, goal)).isLessThan(1e-3 * start);
    }

    /** Sum of (p - goal)^2, its gradient in p's. */
    private static double parabola(Tensor p, float[] goal) {
        float[] x = p.toArray(), g = new float[x.length];
        double sum = 0;
        for (int i = 0; i < x.length; i++) {
            g[i] = 2 * (x[i] - goal[i]);
            sum += (double) (x[i] - goal[i]) * (x[i] - goal[i]);
        }
        p.trainable(true).grad().set(g);
        return sum;
    }

    @Test
    void goesDownRosenbrocksValley() {
        Tensor p = Tensor.allocate(arena, Shape.of(2));
        p.set(new float[] {-1.2f, 1f});
        double start = rosenbrock(p);
        try (Optimizer o = new Optimizer(Map.of("p", p), rule(), List.of())) {
            for (int i = 0; i < 1500; i++) {
                rosenbrock(p);
                o.step(1, rosenbrockRate());
            }
        }
        assertThat(rosenbrock(p)).isLessThan(0.02 * start);
    }

    /** (1 - x)^2 + 100 (y - x^2)^2. */
    private static double rosenbrock(Tensor p) {
        double x = p.get(0), y = p.get(1), u = y - x * x;
        p.trainable(true).grad().set(new float[] {(float) (-2 * (1 - x) - 400 * x * u), (float) (200 * u)});
        return (1 - x) * (1 - x) + 100 * u * u;
    }

    @Test
    void goesOnBitForBitFromASavedState() {
        Map<String, Tensor> straight = parameters();
        Map<String, float[]> half;
        Map<String, byte[]> state = new LinkedHashMap<>();
        try (Optimizer o = new Optimizer(straight, withDecay(), List.of())) {
            steps(o, straight, 0, 5, 1);
            half = values(straight);
            o.state().forEach((name, t) -> state.put(name, t.data().toArray(ValueLayout.JAVA_BYTE)));
            steps(o, straight, 5, 10, 1);
        }
        Map<String, Tensor> resumed = parameters();
        resumed.forEach((name, p) -> p.set(half.get(name)));
        try (Optimizer o = new Optimizer(resumed, withDecay(), List.of())) {
            o.state().forEach((name, t) -> t.data().copyFrom(MemorySegment.ofArray(state.get(name))));
            o.steps(5);
            steps(o, resumed, 5, 10, 1);
        }
        assertSameBits(values(resumed), values(straight));
    }

    @Test
    void makesTheSameStepsWithItsStateInAFile(@TempDir Path folder) throws IOException {
        Map<String, Tensor> parameters = parameters();
        try (Optimizer o = new Optimizer(parameters, withDecay(), List.of(), folder)) {
            steps(o, parameters, 0, 4, 1);
        }
        assertSameBits(values(parameters), after(withDecay(), 4, 1));
        try (Stream<Path> left = Files.list(folder)) {
            assertThat(left).isEmpty();
        }
    }

    @Test
    void doesNotDependOnTheNumberOfThreads() {
        int before = Parallel.threads();
        try {
            Parallel.threads(1);
            Map<String, float[]> one = after(withDecay(), 3, 1);
            Parallel.threads(2);
            assertSameBits(after(withDecay(), 3, 1), one);
        } finally {
            Parallel.threads(before);
        }
    }

    @Test
    void scalesTheGradientInsideTheStep() {
        assertSameBits(after(rule(), 4, 8f), after(rule(), 4, 1f));
    }

    @Test
    void decaysMatricesAndSparesVectors() {
        Map<String, float[]> without = after(rule(), 3, 1), with = after(withDecay(), 3, 1);
        assertThat(with.get("layer.weight")).isNotEqualTo(without.get("layer.weight"));
        assertThat(with.get("layer.bias")).containsExactly(without.get("layer.bias"));
    }

    @Test
    void everyGroupHasItsRateAndDecay() {
        Map<String, Tensor> parameters = parameters();
        Map<String, float[]> before = values(parameters);
        List<ParameterGroup> groups =
                List.of(new ParameterGroup("^big", 0, true), new ParameterGroup("bias$", 1, true));
        try (Optimizer o = new Optimizer(parameters, withDecay(), groups)) {
            steps(o, parameters, 0, 3, 1);
        }
        assertThat(parameters.get("big.weight").toArray()).containsExactly(before.get("big.weight"));
        assertThat(parameters.get("layer.bias").toArray())
                .isNotEqualTo(after(withDecay(), 3, 1).get("layer.bias"));
    }
}
