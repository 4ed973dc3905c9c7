package anneal.quant.post;

import static org.assertj.core.api.Assertions.assertThat;

import anneal.Golden;
import anneal.io.Json;
import anneal.io.JsonObject;
import anneal.io.Safetensors;
import anneal.io.StoredTensor;
import anneal.kernels.Matrix;
import anneal.nn.DenseWeight;
import anneal.nn.Linear;
import anneal.nn.RmsNorm;
import anneal.quant.calibrate.Calibration;
import anneal.quant.calibrate.Junction;
import anneal.quant.calibrate.LayerInputs;
import anneal.quant.calibrate.Scaling;
import anneal.tensor.Memory;
import anneal.tensor.Ops;
import anneal.tensor.Shape;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Consumer;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/** golden/quant's groupwise, gptq, awq and smoothquant files: every case in them, by the names of their tensors. */
class PostTrainingGoldenTest {
    private static final Map<String, double[]> AREAS = new TreeMap<>();

    /** Sums of float32 products in another order than torch's. */
    private static final double SUMS = 1e-5;

    private static final Pattern RTN = Pattern.compile("rtn\\.b(\\d+)\\.g(\\d+)\\.(a?sym)\\.codes");
    private static final Pattern GPTQ = Pattern.compile("gptq\\.b(\\d+)\\.(row|g\\d+)(\\.actorder)?\\.dequantised");
    private static final Pattern SMOOTH = Pattern.compile("smooth([0-9.]+)\\.s");

    @AfterAll
    static void report() {
        AREAS.forEach((area, sum) -> Golden.report("quant/" + area, (int) sum[0], sum[1]));
    }

    private static void passed(String area, double worst) {
        double[] sum = AREAS.computeIfAbsent(area, a -> new double[2]);
        sum[0]++;
        sum[1] = Math.max(sum[1], worst);
    }

    /** A file and the facts beside it. */
    private record Data(Map<String, StoredTensor> tensors, JsonObject facts, Arena arena) {
        Tensor tensor(String name) {
            StoredTensor t = tensors.get(name);
            Tensor to = Tensor.allocate(
                    arena,
                    Shape.of(Arrays.stream(t.shape()).mapToInt(d -> (int) d).toArray()));
            to.set(t.floats());
            return to;
        }

        Matrix matrix(String name) {
            return new DenseWeight(tensor(name)).matrix();
        }

        float[] floats(String name) {
            return tensors.get(name).floats();
        }
    }

    private static Stream<DynamicTest> each(String name, Pattern cases, CaseTest test) {
        return Golden.files("quant", name + ".*\\.safetensors").stream().flatMap(file -> {
            try (Arena names = Arena.ofShared()) {
                return Safetensors.open(file, names).tensors().keySet().stream()
                        .map(cases::matcher)
                        .filter(Matcher::matches)
                        .toList()
                        .stream()
                        .map(m -> DynamicTest.dynamicTest(
                                file.getFileName() + " " + m.group(),
                                () -> with(file, d -> {
                                    passed(name, test.worst(d, m));
                                })));
            }
        });
    }

    private interface CaseTest {
        double worst(Data data, Matcher name);
    }

    private static void with(Path file, Consumer<Data> test) {
        try (Arena arena = Arena.ofShared();
                var _ = Memory.scope();
                var _ = Tape.pause()) {
            Path facts = Path.of(file.toString().replaceFirst("safetensors$", "json"));
            test.accept(new Data(Safetensors.open(file, arena).tensors(), Json.read(facts), arena));
        }
    }

    @TestFactory
    Stream<DynamicTest> groupwise() {
        return each("groupwise", RTN, (d, m) -> {
            String key = m.group().replace(".codes", "");
            boolean symmetric = m.group(3).equals("sym");
            Grid grid = new Grid(Integer.parseInt(m.group(1)), Integer.parseInt(m.group(2)), symmetric);
            Matrix w = d.matrix("w");
            UniformMatrix q = new Rtn(grid).quantise(w).matrix();
            int[] codes = d.tensors.get(m.group()).ints();
            float[] scales = d.floats(key + ".scales"), zeros = d.floats(key + ".zeros");
            for (int i = 0; i < w.rows(); i++) {
                int[] own = q.codes(i);
                for (int g = 0; g < q.groups(); g++) {
                    Grid.Step step = q.step(i, g);
                    assertThat(step.scale()).as(key + " scale").isEqualTo(scales[i * q.groups() + g]);
                    int shift = symmetric ? step.zero() : 0;
                    assertThat(step.zero() - shift).as(key + " zero").isEqualTo((int) zeros[i * q.groups() + g]);
                    for (int j = g * grid.group(); j < (g + 1) * grid.group(); j++) {
                        assertThat(own[j] - shift).as(key + " code").isEqualTo(codes[i * w.cols() + j]);
                    }
                }
            }
            // Not bit for bit: torch's zeros may have a sign.
            assertThat(Planted.largestDifference(Planted.floats(q), d.floats(key + ".dequantised")))
                    .isZero();
            double error = new LayerReport.Measured(w, d.tensor("x"), new UniformWeight(q)).error();
            return close(key, error, d.facts.number(key), SUMS);
        });
    }

    @TestFactory
    Stream<DynamicTest> gptq() {
        return each("gptq", GPTQ, (d, m) -> {
            String key = m.group().replace(".dequantised", "");
            int group = m.group(2).equals("row")
                    ? Grid.PER_ROW
                    : Integer.parseInt(m.group(2).substring(1));
            Gptq gptq = new Gptq(Grid.bits(Integer.parseInt(m.group(1))).groups(group));
            Matrix w = d.matrix("w");
            Tensor x = d.tensor("x");
            double[] moments = LayerInputs.of(x, Calibration.Options.MOMENTS).moments();
            UniformWeight q = (m.group(3) == null ? gptq : gptq.actOrdered()).quantise(w, moments);
            double worst = Planted.largestDifference(Planted.floats(q.matrix()), d.floats(m.group()));
            assertThat(worst).as(key).isLessThan(1e-6);
            close(key, new LayerReport.Measured(w, x, q).error(), d.facts.number(key), SUMS);
            double rtn = new LayerReport.Measured(w, x, new Rtn(gptq.grid()).quantise(w)).error();
            close(key, rtn, d.facts.number(key.replace("gptq", "rtn")), SUMS);
            return worst;
        });
    }

    @TestFactory
    Stream<DynamicTest> awq() {
        return each("awq", Pattern.compile("scales"), (d, m) -> {
            Tensor x = d.tensor("x"), w = d.tensor("w");
            LayerInputs inputs = LayerInputs.of(x, new Calibration.Options(false, x.rowCount(), 0));
            double worst = Planted.largestDifference(inputs.meanAbs(), d.floats("mean_abs"));
            assertThat(worst).isLessThan(1e-5);
            Grid grid = Grid.bits(4).groups(64);
            JsonObject losses = d.facts.object("grid");
            Awq awq = new Awq(grid, losses.keys().size(), false, false);
            Awq.Search found = awq.search(junction(w, x.rowSize(), d.arena), inputs);
            int i = 0;
            for (String ratio : losses.keys()) {
                close("loss at " + ratio, found.losses()[i++], losses.number(ratio), 2e-4 * losses.number(ratio));
            }
            assertThat(found.ratio()).isEqualTo(d.facts.number("best_ratio"));
            close("rtn", found.losses()[0], d.facts.number("rtn_error"), 1e-4);
            worst = Math.max(worst, Planted.largestDifference(found.scales(), d.floats("scales")));
            Tensor back = Ops.sub(w, Rounding.lost(new DenseWeight(w).matrix(), found.scales(), grid));
            worst = Math.max(worst, Planted.largestDifference(back.toArray(), d.floats("dequantised")));
            assertThat(worst).isLessThan(1e-5);
            return worst;
        });
    }

    @TestFactory
    Stream<DynamicTest> smoothquant() {
        return each("smoothquant", SMOOTH, (d, m) -> {
            String key = m.group().replaceFirst("\\.s$", "");
            Tensor x = d.tensor("x"), w = d.tensor("w");
            Junction junction = junction(w, x.rowSize(), d.arena);
            LayerInputs inputs = LayerInputs.of(x, Calibration.Options.SAMPLES);
            float[] s = SmoothQuant.scales(junction, inputs, Double.parseDouble(m.group(1)));
            double worst = relativeWorst(s, d.floats(m.group()));
            Matrix folded =
                    Scaling.columns(new DenseWeight(w).matrix(), s, d.arena).matrix();
            worst = Math.max(worst, relativeWorst(Planted.floats(folded), d.floats(key + ".w")));
            assertThat(worst).as(key).isLessThan(1e-6);
            float[] ones = new float[s.length];
            Arrays.fill(ones, 1);
            for (ActivationScale how : new ActivationScale[] {ActivationScale.PER_TOKEN, ActivationScale.PER_TENSOR}) {
                String name = how.name().toLowerCase();
                check(d, "w8a8." + name, x, ones, new DenseWeight(w).matrix(), how);
                check(d, key + ".w8a8_" + name, x, s, folded, how);
            }
            return worst;
        });
    }

    /** The integer product against torch's imitation of it in floats: a code at the edge may fall to the other side. */
    private static void check(Data d, String key, Tensor x, float[] s, Matrix w, ActivationScale how) {
        Tensor smooth = Tensor.like(x);
        float[] v = x.toArray();
        for (int i = 0; i < v.length; i++) {
            v[i] /= s[i % s.length];
        }
        smooth.set(v);
        float[] y = W8A8Linear.of(w, how).matmulT(smooth).toArray();
        assertThat(Planted.relative(y, d.floats(key))).as(key).isLessThan(1e-4);
        close(key, Planted.relative(y, d.floats("y")), d.facts.number(key), SUMS);
    }

    private static Junction junction(Tensor w, int in, Arena arena) {
        RmsNorm norm = new RmsNorm(Tensor.allocate(arena, Shape.of(in)), 1e-6f);
        return new Junction(
                "layer", new Junction.FromNorm(norm), Map.of("layer", new Linear(new DenseWeight(w), null)));
    }

    private static double relativeWorst(float[] a, float[] b) {
        double worst = 0;
        for (int i = 0; i < b.length; i++) {
            worst = Math.max(worst, Math.abs(a[i] - b[i]) / Math.max(1e-12, Math.abs(b[i])));
        }
        return worst;
    }

    private static double close(String what, double actual, double expected, double tolerance) {
        assertThat(Math.abs(actual - expected))
                .as("%s: %s, expected %s", what, actual, expected)
                .isLessThanOrEqualTo(tolerance);
        return Math.abs(actual - expected);
    }
}
