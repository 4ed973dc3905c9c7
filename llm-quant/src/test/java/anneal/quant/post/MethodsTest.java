package anneal.quant.post;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import anneal.kernels.Parallel;
import anneal.nn.Attention;
import anneal.quant.calibrate.Calibration;
import anneal.quant.calibrate.LayerInputs;
import anneal.tensor.Memory;
import anneal.tensor.Rng;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** Every option changes something; bad ones are one sentence; results do not depend on threads or on the block size. */
class MethodsTest {
    private static final Grid G4 = Grid.bits(4).groups(16);

    private static float[] hidden(PostTraining method) {
        try (Arena arena = Arena.ofShared()) {
            GoldenDecoder d = GoldenDecoder.load("llama", arena);
            method.apply(d.model().root(), d::forward);
            return d.hidden();
        }
    }

    @Test
    void everyOptionChangesSomething() {
        Map<String, PostTraining> variants = new LinkedHashMap<>();
        variants.put("rtn", new Rtn(G4));
        variants.put("rtn bits", new Rtn(Grid.bits(3).groups(16)));
        variants.put("rtn groups", new Rtn(Grid.bits(4).groups(8)));
        variants.put("rtn symmetric", new Rtn(G4.symmetrical()));
        variants.put("gptq", new Gptq(G4));
        variants.put("gptq damping", new Gptq(G4, 0.5, false, 128));
        variants.put("gptq act-order", new Gptq(G4).actOrdered());
        variants.put("awq", new Awq(G4));
        variants.put("awq steps", new Awq(G4, 3, true, true));
        variants.put("awq clip", new Awq(G4, 20, false, true));
        variants.put("awq inner", new Awq(G4, 20, true, false));
        variants.put("smoothquant", SmoothQuant.o1().build());
        variants.put("smoothquant alpha", SmoothQuant.o1().alpha(0.8).build());
        variants.put(
                "smoothquant alphaOf",
                SmoothQuant.o1().alphaOf("layers\\.1\\.mlp", 0.9).build());
        variants.put("smoothquant search", SmoothQuant.o1().search().build());
        variants.put("smoothquant inner", SmoothQuant.o1().inner().build());
        variants.put("smoothquant o2", SmoothQuant.o2().build());
        variants.put("zeroquant", ZeroQuant.w8a8(16));
        variants.put("zeroquant group", ZeroQuant.w8a8(8));
        variants.put("zeroquant bits", new ZeroQuant(4, 8, 16, null));
        variants.put("zeroquant feedForwardBits", ZeroQuant.mixed(16, null));
        variants.put("zeroquant lkd", ZeroQuant.mixed(16, new LayerDistillation(1, 1e-3)));
        variants.put("zeroquant lkd passes", ZeroQuant.mixed(16, new LayerDistillation(2, 1e-3)));
        variants.put("zeroquant lkd rate", ZeroQuant.mixed(16, new LayerDistillation(1, 2e-3)));
        Map<Integer, String> seen = new LinkedHashMap<>();
        variants.forEach((name, method) -> {
            String twin = seen.put(Arrays.hashCode(hidden(method)), name);
            assertThat(twin).as(name + " gives the same numbers as").isNull();
        });
    }

    /** O3 differs from O2 on a text that calibration has not seen; on the same text the largest input is the same. */
    @Test
    void staticScalesClipWhatCalibrationDidNotSee() {
        try (Arena arena = Arena.ofShared();
                var _ = Memory.scope();
                var _ = Tape.pause()) {
            Tensor w = Planted.normal(arena, new Rng(1), 0.1, 8, 16), x = Planted.normal(arena, new Rng(2), 1, 4, 16);
            UniformMatrix q = Rounding.nearest(
                    new anneal.nn.DenseWeight(w).matrix(), Grid.bits(8).symmetrical());
            float[] narrow =
                    new W8A8Linear(q, ActivationScale.STATIC, 0.5f).matmulT(x).toArray();
            float[] wide =
                    new W8A8Linear(q, ActivationScale.STATIC, 4f).matmulT(x).toArray();
            assertThat(Planted.relative(narrow, wide)).isGreaterThan(0.2);
        }
    }

    @Test
    void onlyWantedLayersChange() {
        try (Arena arena = Arena.ofShared()) {
            GoldenDecoder d = GoldenDecoder.load("llama", arena);
            PostReport report = new Gptq(G4).apply(d.model().root(), p -> p.endsWith("down_proj"), d::forward);
            assertThat(report.layers().stream().map(LayerReport::path))
                    .containsExactly("model.layers.0.mlp.down_proj", "model.layers.1.mlp.down_proj");
            assertThat(d.model().head().weight().format()).isEqualTo("F32");
            // A junction is left alone if one of its readers stays in floats.
            Attention before = d.model().attention(0);
            float[] hidden = d.hidden();
            assertThatThrownBy(() ->
                            SmoothQuant.o1().build().apply(d.model().root(), p -> p.endsWith("q_proj"), d::forward))
                    .hasMessage(
                            "smoothquant: no norm of the model feeds the chosen layers: there is nothing a scale could be"
                                    + " folded into");
            assertThat(d.model().attention(0)).isSameAs(before);
            assertThat(d.hidden()).isEqualTo(hidden);
        }
    }

    @Test
    void sameBitsForAnyBlockSizeAndNumberOfThreads() {
        try (Arena arena = Arena.ofShared();
                var _ = Memory.scope();
                var _ = Tape.pause()) {
            Tensor w = Planted.normal(arena, new Rng(1), 0.1, 40, 96),
                    x = Planted.correlated(arena, new Rng(2), 200, 96);
            LayerInputs in = LayerInputs.of(x, Calibration.Options.MOMENTS);
            int threads = Parallel.threads();
            for (Grid grid :
                    List.of(Grid.bits(3), Grid.bits(3).groups(32), Grid.bits(3).groups(48))) {
                float[] whole = null;
                for (int block : new int[] {96, 128, 1, 20, 32}) {
                    try {
                        Parallel.threads(1 + block % 3);
                        var q = new Gptq(grid, 0.01, false, block)
                                .quantise(new anneal.nn.DenseWeight(w).matrix(), in.moments());
                        float[] floats = Planted.floats(q.matrix());
                        whole = whole == null ? floats : whole;
                        assertThat(floats).as("%s, block %d", grid, block).isEqualTo(whole);
                    } finally {
                        Parallel.threads(threads);
                    }
                }
            }
        }
    }

    /** UT U H = 1. */
    @Test
    void inverseFactorIsOne() {
        int n = 150;
        try (Arena arena = Arena.ofShared();
                var _ = Memory.scope()) {
            LayerInputs in = LayerInputs.of(Planted.correlated(arena, new Rng(2), 200, n), Calibration.Options.MOMENTS);
            double[] h = in.moments();
            double[][] u = InverseFactor.of(rows(h, n));
            for (int i = 0; i < n; i++) {
                for (int j = 0; j < n; j++) {
                    double sum = 0;
                    for (int k = 0; k < n; k++) {
                        for (int l = 0; l <= Math.min(i, k); l++) {
                            sum += u[l][i] * u[l][k] * h[k * n + j];
                        }
                    }
                    assertThat(sum).isCloseTo(i == j ? 1 : 0, org.assertj.core.api.Assertions.within(1e-9));
                    assertThat(j < i ? u[i][j] : 0).isZero();
                }
            }
        }
    }

    private static double[][] rows(double[] flat, int n) {
        double[][] rows = new double[n][];
        Arrays.setAll(rows, i -> Arrays.copyOfRange(flat, i * n, (i + 1) * n));
        return rows;
    }

    /** A channel that calibration never saw move: its weights are zero, nothing fails. */
    @Test
    void gptqLivesWithDeadChannels() {
        try (Arena arena = Arena.ofShared();
                var _ = Memory.scope()) {
            Tensor x = Planted.correlated(arena, new Rng(2), 200, 16);
            Planted.outlier(x, 3, 0);
            Tensor w = Planted.normal(arena, new Rng(1), 0.1, 4, 16);
            double[] moments = LayerInputs.of(x, Calibration.Options.MOMENTS).moments();
            float[] q = Planted.floats(new Gptq(Grid.bits(4))
                    .quantise(new anneal.nn.DenseWeight(w).matrix(), moments)
                    .matrix());
            for (int i = 0; i < 4; i++) {
                assertThat(q[i * 16 + 3]).isZero();
            }
        }
    }

    @Test
    void badInputIsOneSentence() {
        assertThatThrownBy(() -> new Gptq(G4, 1, false, 1)).hasMessage("gptq: damping 1.0 must be in [0, 1)");
        assertThatThrownBy(() -> new Gptq(G4, 0.1, false, 0)).hasMessage("gptq: block 0 must be at least 1");
        assertThatThrownBy(() -> new Awq(G4, 0, true, true)).hasMessage("awq: steps 0 must be at least 1");
        assertThatThrownBy(() -> new Awq(Grid.bits(4).perTensor()))
                .hasMessage("awq: the clip search needs a scale per row or per group, not per tensor");
        assertThatThrownBy(() -> SmoothQuant.o1().alpha(1.5).build())
                .hasMessage("smoothquant: alpha 1.5 must be in [0, 1]");
        assertThatThrownBy(() -> SmoothQuant.o1().alphaOf("a", 0.3).search().build())
                .hasMessage("smoothquant: alphas of single layers [a] and a search for them: choose one");
        assertThatThrownBy(() -> ZeroQuant.w8a8(12))
                .hasMessage("zeroquant: group 12 must be a multiple of 8 columns, or PER_ROW");
        assertThatThrownBy(() -> new LayerDistillation(0, 1))
                .hasMessage("LayerDistillation: passes 0 must be at least 1");
        assertThatThrownBy(() -> new LayerDistillation(1, 0))
                .hasMessage("LayerDistillation: rate 0.0 must be positive");
        try (Arena arena = Arena.ofShared()) {
            GoldenDecoder d = GoldenDecoder.load("llama", arena);
            assertThatThrownBy(() -> SmoothQuant.o1()
                            .alphaOf("nowhere", 0.3)
                            .build()
                            .apply(d.model().root(), d::forward))
                    .hasMessage("smoothquant: no junction fits nowhere; the first is model.layers.0.self_attn.q_proj");
            assertThatThrownBy(() -> ZeroQuant.mixed(16, new LayerDistillation(1, 1e-3))
                            .apply(d.model().root(), () -> {
                                try (var _ = Tape.pause()) {
                                    d.forward();
                                }
                            }))
                    .hasMessage("distillation: the forward pass pauses the tape; a gradient is needed here");
            assertThatThrownBy(() ->
                            new Rtn(Grid.bits(4).groups(7)).apply(d.model().root(), d::forward))
                    .hasMessage(
                            "quantise: rows of 48 weights are no whole groups of 7 (at model.layers.0.self_attn.q_proj)");
            new Rtn(G4).apply(d.model().root(), d::forward);
            assertThatThrownBy(() -> new Gptq(G4).apply(d.model().root(), d::forward))
                    .hasMessage(
                            "quantise: model.layers.0.self_attn.q_proj is stored as INT4 g16 already; quantise from the"
                                    + " original weights");
        }
        assertThatThrownBy(() -> new Gptq(G4).quantise(new anneal.kernels.F32Matrix(null, 2, 16), new double[9]))
                .hasMessage("gptq: moments of 9 numbers do not fit weight [2, 16]: they must be [16, 16]");
        assertThatThrownBy(() -> InverseFactor.of(new double[][] {{1, 2}, {2, 1}}))
                .hasMessageStartingWith("gptq: the Hessian of 2 inputs is not positive definite (pivot -3.0 at 0)");
    }
}
