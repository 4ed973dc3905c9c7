package anneal.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import anneal.kernels.Parallel;
import anneal.tensor.Memory;
import anneal.tensor.Ops;
import anneal.tensor.Rng;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.stream.Stream;
import org.assertj.core.data.Offset;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Gradients of whole models: against differences of a double-precision forward pass, and against themselves in other orders. */
class DecoderGradientTest {
    private static final int V = 23;
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

    static Stream<DecoderConfig> models() {
        return Stream.of(
                base(Family.GPT2).heads(4).build(),
                base(Family.LLAMA).heads(4, 2, 0).build(),
                base(Family.LLAMA)
                        .heads(4)
                        .tied(true)
                        .biases(new DecoderConfig.Biases(true, true, true))
                        .build(),
                base(Family.QWEN2).heads(4, 1, 0).tied(true).build(),
                base(Family.QWEN3).heads(4, 2, 6).build());
    }

    private static DecoderConfig.Builder base(Family family) {
        return DecoderConfig.builder(family)
                .vocabSize(V)
                .hiddenSize(16)
                .feedForwardSize(24)
                .layers(2)
                .contextLength(32)
                .initRange(0.3);
    }

    /** Random weights everywhere, so that norms and biases are not one and zero. */
    private Decoder model(DecoderConfig config) {
        Decoder model = new Decoder(config, Init.usual(config).weights(config, 1, arena));
        Rng rng = new Rng(2);
        model.parameters().values().forEach(p -> {
            float[] a = p.toArray();
            for (int i = 0; i < a.length; i++) {
                a[i] += (float) (0.2 * rng.nextGaussian());
            }
            p.set(a);
        });
        return model;
    }

    private static int[] ids(int n, long seed) {
        Rng rng = new Rng(seed);
        return java.util.stream.IntStream.range(0, n).map(i -> rng.nextInt(V)).toArray();
    }

    private static int[] next(int[] ids, int length) {
        int[] targets = new int[ids.length];
        for (int i = 0; i < ids.length; i++) {
            targets[i] = i % length == length - 1 ? -1 : ids[i + 1];
        }
        return targets;
    }

    private static Map<String, float[]> gradients(Decoder model, Tokens tokens, int[] targets) {
        model.parameters().values().forEach(Tensor::zeroGrad);
        Tape.noise().restore(5);
        try (Memory.Scope step = Memory.scope()) {
            Tape.backward(Ops.sum(model.nll(tokens, targets)));
        }
        Map<String, float[]> g = new LinkedHashMap<>();
        model.parameters().forEach((name, p) -> g.put(name, p.grad().toArray()));
        return g;
    }

    @ParameterizedTest
    @MethodSource("models")
    void equalsCentralDifferences(DecoderConfig config) {
        Decoder model = model(config);
        int[] ids = ids(2 * 7, 3), targets = next(ids, 7);
        Map<String, float[]> got = gradients(model, Tokens.of(ids, 2, 7), targets);
        Map<String, double[]> weights = new LinkedHashMap<>();
        model.parameters().forEach((name, p) -> {
            float[] f = p.toArray();
            double[] d = new double[f.length];
            Arrays.setAll(d, i -> f[i]);
            weights.put(name, d);
        });
        DoubleDecoder reference = new DoubleDecoder(config, weights);
        Rng rng = new Rng(4);
        weights.forEach((name, w) -> {
            for (int s = 0; s < 6; s++) {
                int i = rng.nextInt(w.length);
                double at = w[i], eps = 1e-5;
                w[i] = at + eps;
                double up = total(reference, ids, targets);
                w[i] = at - eps;
                double down = total(reference, ids, targets);
                w[i] = at;
                double expected = (up - down) / (2 * eps), g = got.get(name)[i];
                assertThat(Math.abs(g - expected))
                        .as("%s[%d]: %s, central difference %s", name, i, g, expected)
                        .isLessThan(2e-5 + 1e-4 * Math.abs(expected));
            }
        });
        assertThat(got.values()).allMatch(g -> norm(g) > 0);
    }

    private static double norm(float[] g) {
        double sum = 0;
        for (float x : g) {
            sum += x * x;
        }
        return sum;
    }

    private static float largest(float[] g) {
        float largest = 0;
        for (float x : g) {
            largest = Math.max(largest, Math.abs(x));
        }
        return largest;
    }

    private static double total(DoubleDecoder reference, int[] ids, int[] targets) {
        return reference.nll(Arrays.copyOf(ids, 7), Arrays.copyOf(targets, 7))
                + reference.nll(Arrays.copyOfRange(ids, 7, 14), Arrays.copyOfRange(targets, 7, 14));
    }

    @ParameterizedTest
    @MethodSource("models")
    void ofPackedRowsIsTheSumOfTheParts(DecoderConfig config) {
        Decoder model = model(config);
        int[] a = ids(5, 6), b = ids(8, 7);
        int[] packed = java.util.stream.IntStream.concat(Arrays.stream(a), Arrays.stream(b))
                .toArray();
        int[] positions = {0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 5, 6, 7}, segments = {0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1};
        int[] targets = next(packed, 13);
        targets[4] = -1;
        Map<String, float[]> together = gradients(model, new Tokens(packed, 1, 13, positions, segments), targets);
        Map<String, float[]> first = gradients(model, Tokens.of(a), next(a, 5));
        Map<String, float[]> second = gradients(model, Tokens.of(b), next(b, 8));
        together.forEach((name, g) -> {
            // what is added up is as large as the largest gradients, however small the sum: they are what rounding goes
            // by
            Offset<Float> offset = Offset.offset(2e-5f + 4e-6f * largest(g));
            for (int i = 0; i < g.length; i++) {
                assertThat(g[i]).as(name + " " + i).isCloseTo(first.get(name)[i] + second.get(name)[i], offset);
            }
        });
    }

    @ParameterizedTest
    @MethodSource("models")
    void withCheckpointsIsTheSameBits(DecoderConfig config) {
        DecoderConfig dropping = dropping(config);
        Decoder model = model(dropping);
        int[] ids = ids(2 * 9, 8);
        Map<String, float[]> plain = gradients(model, Tokens.of(ids, 2, 9), next(ids, 9));
        model.checkpointing(true);
        Map<String, float[]> again = gradients(model, Tokens.of(ids, 2, 9), next(ids, 9));
        again.forEach((name, g) -> assertThat(g).as(name).isEqualTo(plain.get(name)));
    }

    private static DecoderConfig dropping(DecoderConfig c) {
        Map<String, Object> json = new LinkedHashMap<>(c.toJson());
        json.put(c.family() == Family.GPT2 ? "attn_pdrop" : "attention_dropout", 0.2);
        if (c.family() == Family.GPT2) {
            json.put("resid_pdrop", 0.1);
            json.put("embd_pdrop", 0.1);
        }
        return DecoderConfig.of(new anneal.io.JsonObject(json, "test"));
    }

    @ParameterizedTest
    @MethodSource("models")
    void dropoutActsOnlyWhileTraining(DecoderConfig config) {
        Decoder with = model(dropping(config)), without = model(config);
        Tokens tokens = Tokens.of(ids(9, 9));
        assertThat(with.hidden(tokens, null).toArray())
                .isNotEqualTo(without.hidden(tokens, null).toArray());
        try (Tape.Pause p = Tape.pause()) {
            assertThat(with.hidden(tokens, null).toArray())
                    .isEqualTo(without.hidden(tokens, null).toArray());
        }
    }

    @ParameterizedTest
    @MethodSource("models")
    void isTheSameBitsForOneAndTwoThreads(DecoderConfig config) {
        Decoder model = model(dropping(config));
        int[] ids = ids(3 * 11, 10);
        int before = Parallel.threads();
        try {
            Parallel.threads(1);
            Map<String, float[]> one = gradients(model, Tokens.of(ids, 3, 11), next(ids, 11));
            Parallel.threads(2);
            Map<String, float[]> two = gradients(model, Tokens.of(ids, 3, 11), next(ids, 11));
            two.forEach((name, g) -> assertThat(g).as(name).isEqualTo(one.get(name)));
        } finally {
            Parallel.threads(before);
        }
    }

    @Test
    void useAfterCloseThrows() {
        DecoderConfig config = models().findFirst().orElseThrow();
        Arena own = Arena.ofShared();
        Decoder model = new Decoder(config, Init.usual(config).weights(config, 1, own));
        Tensor hidden;
        try (Memory.Scope step = Memory.scope()) {
            hidden = model.hidden(Tokens.of(1, 2, 3, 4, 5, 6, 7, 8, 9), null);
        }
        assertThat(Boolean.getBoolean("anneal.memory.check")).isTrue();
        assertThatThrownBy(() -> hidden.get(0)).isInstanceOf(IllegalStateException.class);
        own.close();
        assertThatThrownBy(() -> model.hidden(Tokens.of(1, 2, 3, 4, 5, 6, 7, 8, 9), null))
                .isInstanceOf(IllegalStateException.class);
    }
}
