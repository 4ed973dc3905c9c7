package anneal.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import anneal.Golden;
import anneal.io.JsonObject;
import anneal.kernels.Compute;
import anneal.tensor.Memory;
import anneal.tensor.Ops;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import anneal.train.StepReport;
import java.lang.foreign.Arena;
import java.util.List;
import java.util.Map;
import java.util.function.ToDoubleFunction;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/**
 * The decoders of golden/models in bfloat16, against numbers that transformers computed in f32.
 *
 * <p>Tolerances. A bfloat16 has 8 bits of mantissa, so rounding moves a number by at most u = 2^-8 of it and, as the errors are spread
 * evenly over [-ulp/2, ulp/2] and numbers over their binade, by about u / 2.4 in the root mean square. A term of a product has two such
 * operands: u / 1.7. Where signs are random, the error of a sum has the same ratio to the sum as that of a term to the term. So
 * each product adds noise of u / 1.7 of what it computes; independent noise adds by squares, and a number behind p products in a row is
 * off by u sqrt(p) / 1.7 of its root mean square. A block has six in a row (projections, scores, weighted values, output; up and down
 * of the feed-forward), the last projection is one more: p = 6 layers + 1 forward, and twice that for a gradient, whose way leads
 * forward and back. The tests allow two and a half times that (a gradient that is a sum over tokens has terms that cancel, and its
 * noise does not), and for the largest of N numbers sqrt(2 ln N) times as much, which is where the largest of N normal numbers lies. A
 * loss is off as a logit is; after some steps it has fallen by more or less in the ratio that gradients are off.
 */
class GoldenBfloat16Test {
    private static final double U = 0x1p-8;
    private static final double MARGIN = 2.5;

    /** The worst of logits, gradients, ten losses, as a part of what is allowed. */
    private static final double[] WORST = new double[3];

    private static final int[] CASES = new int[3];

    /** Noise relative to the root mean square after so many products in a row. */
    private static double noise(int products) {
        return MARGIN * U * Math.sqrt(products) / 1.7;
    }

    private static int products(Decoder model) {
        return 6 * model.config().layers() + 1;
    }

    private static double logitNoise(GoldenModel g, Decoder model) {
        return noise(products(model)) * rms(g.floats("logits"), null);
    }

    private static double rms(float[] x, float[] minus) {
        double squares = 0;
        for (int i = 0; i < x.length; i++) {
            double d = (double) x[i] - (minus == null ? 0 : minus[i]);
            squares += d * d;
        }
        return Math.sqrt(squares / x.length);
    }

    private static Stream<DynamicTest> each(String needs, int slot, ToDoubleFunction<GoldenModel> test) {
        assertThat(GoldenModel.folders()).isNotEmpty();
        return GoldenModel.folders().stream()
                .map(folder -> DynamicTest.dynamicTest(folder.getFileName() + "", () -> {
                    try (Arena arena = Arena.ofShared();
                            Memory.Scope scope = Memory.scope()) {
                        GoldenModel golden = GoldenModel.read(folder, arena);
                        if (golden.has(needs)) {
                            WORST[slot] = Math.max(WORST[slot], test.applyAsDouble(golden));
                            CASES[slot]++;
                        }
                    } finally {
                        Tape.clear();
                    }
                }));
    }

    @AfterAll
    static void somethingWasRounded() {
        assertThat(CASES[0] == 0 || WORST[0] > 0.05).as("bfloat16 is not f32").isTrue();
        Golden.report("models bf16 logits, part", CASES[0], WORST[0]);
        Golden.report("models bf16 gradients, part", CASES[1], WORST[1]);
        Golden.report("models bf16 ten losses, part", CASES[2], WORST[2]);
    }

    @TestFactory
    Stream<DynamicTest> logits() {
        return each("logits", 0, g -> {
            try (Arena arena = Arena.ofShared();
                    Tape.Pause pause = Tape.pause();
                    Tape.Precision precision = Tape.compute(Compute.BF16)) {
                Decoder model = ModelFiles.load(g.folder(), arena);
                float[] got = model.logits(g.tokens()).toArray(), expected = g.floats("logits");
                double allowed = logitNoise(g, model);
                double off = rms(got, expected), largest = 0;
                for (int i = 0; i < got.length; i++) {
                    largest = Math.max(largest, Math.abs(got[i] - expected[i]));
                }
                assertThat(off).as("root mean square of the error").isLessThan(allowed);
                assertThat(largest).as("largest error").isLessThan(allowed * Math.sqrt(2 * Math.log(got.length)));
                return off / allowed;
            }
        });
    }

    private static double backward(Decoder model, GoldenModel g) {
        try (Memory.Scope scope = Memory.scope()) {
            Tensor loss;
            try (Tape.Precision precision = Tape.compute(Compute.BF16)) {
                loss = Ops.scale(Ops.sum(model.nll(g.tokens(), g.targets())), 1f / g.trained());
            }
            Tape.backward(loss);
            return loss.item();
        }
    }

    @TestFactory
    Stream<DynamicTest> gradients() {
        return each("hidden_states.0", 1, g -> {
            try (Arena arena = Arena.ofShared()) {
                Decoder model = ModelFiles.load(g.folder(), arena).train(arena);
                double loss = backward(model, g), worst = 0;
                assertThat(loss).isCloseTo(g.facts().number("loss"), within(logitNoise(g, model)));
                for (Map.Entry<String, Tensor> e : model.trainable().entrySet()) {
                    float[] got = e.getValue().grad().toArray(), expected = g.floats("grad." + e.getKey());
                    double off = rms(got, expected), allowed = noise(2 * products(model)) * rms(expected, null);
                    assertThat(off).as(e.getKey()).isLessThan(allowed);
                    worst = Math.max(worst, off / allowed);
                }
                return worst;
            }
        });
    }

    @TestFactory
    Stream<DynamicTest> tenSteps() {
        return each("hidden_states.0", 2, g -> {
            double worst = 0;
            try (Arena arena = Arena.ofShared()) {
                Decoder model = ModelFiles.load(g.folder(), arena);
                JsonObject recorded = g.facts().object("adamw");
                double[] losses = recorded.numbers("losses");
                List<StepReport> reports = TrainerGoldenTest.run(g, "adamw", recorded, Compute.BF16);
                for (int i = 0; i < losses.length; i++) {
                    double fallen = Math.abs(losses[0] - losses[i]);
                    double allowed = logitNoise(g, model) + noise(2 * products(model)) * fallen;
                    assertThat(reports.get(i).loss()).as("loss %d", i).isCloseTo(losses[i], within(allowed));
                    worst = Math.max(worst, Math.abs(reports.get(i).loss() - losses[i]) / allowed);
                }
            }
            return worst;
        });
    }
}
