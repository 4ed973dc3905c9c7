package anneal.model;

import static org.assertj.core.api.Assertions.assertThat;

import anneal.Golden;
import anneal.io.JsonObject;
import anneal.kernels.Kernels;
import anneal.kernels.ScalarAttention;
import anneal.tensor.Memory;
import anneal.tensor.Ops;
import anneal.tensor.Shape;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.ToDoubleFunction;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/** Every decoder of golden/models against the numbers of transformers; tolerances as its README suggests. */
class GoldenModelsTest {
    /** What every case has; the other tensors are recorded of some only. */
    private static final Set<String> ALWAYS = Set.of("logits", "nll");

    private static final Map<String, double[]> AREAS = new TreeMap<>();

    private static Stream<DynamicTest> each(String area, String needs, ToDoubleFunction<GoldenModel> test) {
        assertThat(GoldenModel.folders())
                .as("cases in %s/models", Golden.root())
                .isNotEmpty();
        return GoldenModel.folders().stream()
                .map(folder -> DynamicTest.dynamicTest(folder.getFileName() + "", () -> {
                    try (Arena arena = Arena.ofShared()) {
                        GoldenModel golden = GoldenModel.read(folder, arena);
                        if (ALWAYS.contains(needs) || golden.has(needs)) {
                            double worst;
                            try (Memory.Scope scope = Memory.scope()) {
                                worst = test.applyAsDouble(golden);
                            }
                            double[] sum = AREAS.computeIfAbsent("models " + area, a -> new double[2]);
                            sum[0]++;
                            sum[1] = Math.max(sum[1], worst);
                        }
                    } finally {
                        Tape.clear();
                    }
                }));
    }

    @AfterAll
    static void report() {
        AREAS.forEach((area, sum) -> Golden.report(area, (int) sum[0], sum[1]));
    }

    @TestFactory
    Stream<DynamicTest> logits() {
        return each("logits", "logits", g -> {
            try (Arena arena = Arena.ofShared();
                    Tape.Pause p = Tape.pause()) {
                Decoder model = ModelFiles.load(g.folder(), arena);
                return GoldenModel.close("logits", model.logits(g.tokens()).toArray(), g.floats("logits"), 1e-4);
            }
        });
    }

    @TestFactory
    Stream<DynamicTest> nll() {
        return each("nll", "nll", g -> {
            try (Arena arena = Arena.ofShared();
                    Tape.Pause p = Tape.pause()) {
                Tensor nll = ModelFiles.load(g.folder(), arena).nll(g.tokens(), g.targets());
                float[] all = nll.toArray(), shifted = new float[g.batch() * (g.length() - 1)];
                for (int i = 0; i < shifted.length; i++) {
                    shifted[i] = all[i / (g.length() - 1) * g.length() + i % (g.length() - 1)];
                }
                double loss = Ops.sum(nll).item() / g.trained();
                assertThat(g.trained()).isEqualTo(g.facts().integer("trained_tokens"));
                assertThat(loss).isCloseTo(g.facts().number("loss"), org.assertj.core.data.Offset.offset(2e-5));
                return GoldenModel.close("nll", shifted, g.floats("nll"), 1e-4);
            }
        });
    }

    @TestFactory
    Stream<DynamicTest> hiddenStates() {
        return each("hidden states", "hidden_states.0", g -> {
            try (Arena arena = Arena.ofShared();
                    Tape.Pause p = Tape.pause()) {
                Decoder model = ModelFiles.load(g.folder(), arena);
                int layers = model.config().layers();
                float[][] states = new float[layers + 1][];
                model.attention(0).after((output, input) -> {
                    states[0] = input.toArray();
                    return output;
                });
                for (int i = 0; i < layers; i++) {
                    int next = i + 1;
                    model.feedForward(i).after((output, input) -> {
                        states[next] = output.toArray();
                        return output;
                    });
                }
                states[layers] = model.hidden(g.tokens(), null).toArray();
                double worst = 0;
                for (int i = 0; i <= layers; i++) {
                    String name = "hidden_states." + i;
                    worst = Math.max(worst, GoldenModel.close(name, states[i], g.floats(name), 1e-4));
                }
                return worst;
            }
        });
    }

    @TestFactory
    Stream<DynamicTest> attentions() {
        return each("attentions", "attentions.0", g -> {
            try (Arena arena = Arena.ofShared();
                    Tape.Pause p = Tape.pause()) {
                Decoder model = ModelFiles.load(g.folder(), arena);
                double[] worst = {0};
                for (int i = 0; i < model.config().layers(); i++) {
                    String name = "attentions." + i;
                    model.attention(i)
                            .watch((q, k, s) -> worst[0] = Math.max(
                                    worst[0],
                                    GoldenModel.close(
                                            name,
                                            ScalarAttention.probabilities(q.buf(), k.buf(), s),
                                            g.floats(name),
                                            2e-5)));
                }
                model.hidden(g.tokens(), null);
                return worst[0];
            }
        });
    }

    @TestFactory
    Stream<DynamicTest> padded() {
        return each("left padding", "padded.logits", g -> {
            try (Arena arena = Arena.ofShared();
                    Tape.Pause p = Tape.pause()) {
                int[] mask = g.ints("padded.attention_mask");
                int[] segments = new int[mask.length], positions = new int[mask.length];
                for (int i = 0; i < mask.length; i++) {
                    segments[i] = mask[i] - 1;
                    positions[i] = i % g.length() == 0 || mask[i - 1] == 0 ? 0 : positions[i - 1] + 1;
                }
                Tokens tokens = new Tokens(g.ints("padded.input_ids"), g.batch(), g.length(), positions, segments);
                float[] logits =
                        ModelFiles.load(g.folder(), arena).logits(tokens).toArray();
                float[] expected = g.floats("padded.logits");
                int v = logits.length / mask.length;
                for (int i = 0; i < logits.length; i++) {
                    logits[i] = mask[i / v] == 0 ? expected[i] : logits[i];
                }
                return GoldenModel.close("padded logits", logits, expected, 1e-4);
            }
        });
    }

    @TestFactory
    Stream<DynamicTest> gradients() {
        return each("gradients", "hidden_states.0", g -> {
            try (Arena arena = Arena.ofShared()) {
                Decoder model = ModelFiles.load(g.folder(), arena).train(arena);
                backward(model, g);
                TreeSet<String> names = new TreeSet<>();
                g.tensors().keySet().stream()
                        .filter(n -> n.startsWith("grad."))
                        .forEach(n -> names.add(n.substring(5)));
                assertThat(model.trainable().keySet()).containsExactlyInAnyOrderElementsOf(names);
                double worst = 0;
                for (Map.Entry<String, Tensor> e : model.trainable().entrySet()) {
                    float[] expected = g.floats("grad." + e.getKey());
                    double norm = 0;
                    for (float x : expected) {
                        norm += (double) x * x;
                    }
                    double tolerance = Math.max(2e-5, 5e-5 * Math.sqrt(norm));
                    worst = Math.max(
                            worst,
                            GoldenModel.close(e.getKey(), e.getValue().grad().toArray(), expected, tolerance));
                }
                return worst;
            }
        });
    }

    /** The mean NLL, with gradients added to the parameters. */
    private static double backward(Decoder model, GoldenModel g) {
        try (Memory.Scope scope = Memory.scope()) {
            Tensor loss = Ops.scale(Ops.sum(model.nll(g.tokens(), g.targets())), 1f / g.trained());
            Tape.backward(loss);
            return loss.item();
        }
    }

    @TestFactory
    Stream<DynamicTest> tenSteps() {
        return each(
                "ten AdamW steps",
                "hidden_states.0",
                g -> Math.max(train(g, "adamw"), train(g, "adamw_cosine_warmup")));
    }

    private static double train(GoldenModel g, String trajectory) {
        JsonObject expected = g.facts().object(trajectory);
        double[] losses = expected.numbers("losses"), norms = expected.numbers("gradient_norms_before_clipping");
        double[] rates = expected.numbers("learning_rates");
        double worst = 0;
        try (Arena arena = Arena.ofShared()) {
            Decoder model = ModelFiles.load(g.folder(), arena).train(arena);
            AdamW adam = new AdamW(model.trainable(), arena);
            for (int i = 0; i < losses.length; i++) {
                adam.zeroGrad();
                double loss = backward(model, g);
                assertThat(loss).as("loss %d", i).isCloseTo(losses[i], org.assertj.core.data.Offset.offset(1e-4));
                double norm = adam.step(rates[i]);
                assertThat(norm).as("norm %d", i).isCloseTo(norms[i], org.assertj.core.data.Offset.offset(1e-3));
                worst = Math.max(worst, Math.abs(loss - losses[i]));
            }
        }
        return worst;
    }

    /** AdamW straight on the kernel: weight decay 0.01 on everything, clipped at norm 1. */
    private static final class AdamW {
        private final Map<String, Tensor> parameters;
        private final Map<String, Tensor> m = new TreeMap<>();
        private final Map<String, Tensor> v = new TreeMap<>();
        private int steps;

        AdamW(Map<String, Tensor> parameters, Arena arena) {
            this.parameters = parameters;
            parameters.forEach((name, p) -> {
                m.put(name, Tensor.allocate(arena, Shape.of((int) p.size())));
                v.put(name, Tensor.allocate(arena, Shape.of((int) p.size())));
            });
        }

        void zeroGrad() {
            parameters.values().forEach(Tensor::zeroGrad);
        }

        double step(double rate) {
            double squares = 0;
            for (Tensor p : parameters.values()) {
                squares += Kernels.get().dot(p.gradBuf(), p.gradBuf(), p.size());
            }
            double norm = Math.sqrt(squares);
            steps++;
            Kernels.Adam adam = new Kernels.Adam(
                    (float) Math.min(1, 1 / (norm + 1e-6)),
                    0,
                    0.9f,
                    0.999f,
                    1e-8f,
                    (float) (rate * 0.01),
                    (float) (rate / (1 - Math.pow(0.9, steps))),
                    (float) Math.sqrt(1 - Math.pow(0.999, steps)));
            parameters.forEach((name, p) -> Kernels.get()
                    .adam(p.buf(), p.gradBuf(), m.get(name).buf(), v.get(name).buf(), p.size(), adam));
            return norm;
        }
    }
}
