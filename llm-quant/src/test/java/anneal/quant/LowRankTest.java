package anneal.quant;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import anneal.io.Json;
import anneal.kernels.Parallel;
import anneal.model.Decoder;
import anneal.model.DecoderConfig;
import anneal.model.Family;
import anneal.model.Init;
import anneal.model.ModelFiles;
import anneal.model.Tokens;
import anneal.nn.DenseWeight;
import anneal.nn.Linear;
import anneal.nn.Module;
import anneal.nn.Stored;
import anneal.nn.Weight;
import anneal.quant.calibrate.Calibration;
import anneal.tensor.DType;
import anneal.tensor.Memory;
import anneal.tensor.NllOptions;
import anneal.tensor.Ops;
import anneal.tensor.Rng;
import anneal.tensor.Shape;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import anneal.train.AdamW;
import anneal.train.Optimizer;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class LowRankTest {
    private static final int TOKENS = 300;

    private final Arena arena = Arena.ofShared();

    @TempDir
    private Path dir;

    @AfterEach
    void close() {
        Tape.clear();
        arena.close();
    }

    /** One layer whose inputs are large in a few directions that its weight does not care for. */
    private final class One extends Module {
        private final Linear linear;
        private final Tensor x;

        One(int out, int in, long seed) {
            linear = child("layers.0.linear", new Linear(new DenseWeight(random(seed, out, in)), null));
            Tensor mixed = random(seed + 1, in, in);
            float[] m = mixed.toArray();
            for (int i = 0; i < m.length; i++) {
                m[i] *= (float) Math.exp(-0.3 * (i / in));
            }
            mixed.set(m);
            x = Tensor.allocate(arena, Shape.of(TOKENS, in));
            try (var _ = Memory.scope()) {
                x.set(Ops.matmul(random(seed + 2, TOKENS, in), mixed));
            }
        }

        void run() {
            linear.forward(x);
        }

        /** The sums of squares of what two weights differ by, in outputs or in numbers, over that of the first. */
        double lost(Weight before, Weight after, boolean outputs) {
            try (var _ = Memory.scope();
                    var _ = Tape.pause()) {
                Tensor a = outputs ? before.matmulT(x) : before.rows(rows()),
                        b = outputs ? after.matmulT(x) : after.rows(rows());
                return Math.sqrt(squares(Ops.sub(a, b)) / squares(a));
            }
        }

        private int[] rows() {
            return IntStream.range(0, linear.out()).toArray();
        }
    }

    private Tensor random(long seed, int... dims) {
        Tensor t = Tensor.allocate(arena, Shape.of(dims));
        Rng rng = new Rng(seed);
        float[] a = new float[(int) t.size()];
        for (int i = 0; i < a.length; i++) {
            a[i] = (float) rng.nextGaussian();
        }
        t.set(a);
        return t;
    }

    private static double squares(Tensor t) {
        double sum = 0;
        for (float x : t.toArray()) {
            sum += (double) x * x;
        }
        return sum;
    }

    /** What is lost is what the report says, and each kind is the better one by its own measure. */
    @Test
    void eachKindLosesWhatItSaysAndLessThanTheOther() {
        for (int[] shape : new int[][] {{20, 30}, {40, 24}}) {
            One one = new One(shape[0], shape[1], 1);
            Weight before = one.linear.weight();
            LowRank eight = new LowRank(new LowRank.Size.Rank(8));
            Calibration seen = Calibration.capture(one, one::run);
            LowRank.Layer plain = eight.apply(one, arena).getFirst();
            Weight p = one.linear.weight();
            one.linear.weight(before);
            LowRank.Layer weighted =
                    eight.apply(one, path -> seen.of(path).moments(), arena).getFirst();
            Weight w = one.linear.weight();
            assertThat(plain)
                    .isEqualTo(new LowRank.Layer(
                            "layers.0.linear", 8, shape[0] * shape[1], 8L * (shape[0] + shape[1]), plain.lost()));
            assertThat(one.lost(before, p, false)).isCloseTo(plain.lost(), within(1e-4));
            assertThat(one.lost(before, w, true)).isCloseTo(weighted.lost(), within(1e-4));
            assertThat(one.lost(before, p, false)).isLessThan(one.lost(before, w, false));
            assertThat(one.lost(before, w, true)).isLessThan(0.5 * one.lost(before, p, true));
        }
    }

    /** A matrix of rank 3 and inputs of rank 2: nothing is lost, and no inverse of what has none is needed. */
    @Test
    void whatIsOfLowRankIsKeptWhole() {
        for (int[] shape : new int[][] {{20, 30}, {40, 24}}) {
            One one = new One(shape[0], shape[1], 5);
            try (var _ = Memory.scope()) {
                ((DenseWeight) one.linear.weight())
                        .tensor()
                        .set(Ops.matmul(random(6, shape[0], 3), random(7, 3, shape[1])));
                one.x.set(Ops.matmul(random(8, TOKENS, 2), random(9, 2, shape[1])));
            }
            Weight before = one.linear.weight();
            LowRank most = new LowRank(new LowRank.Size.Energy(0.99999));
            assertThat(most.apply(one, arena).getFirst().rank()).isEqualTo(3);
            assertThat(one.lost(before, one.linear.weight(), false)).isLessThan(1e-5);
            one.linear.weight(before);
            Calibration seen = Calibration.capture(one, one::run);
            assertThat(most.apply(one, path -> seen.of(path).moments(), arena)
                            .getFirst()
                            .rank())
                    .isEqualTo(2);
            assertThat(one.lost(before, one.linear.weight(), true)).isLessThan(1e-4);
        }
    }

    @Test
    void sizesSayTheRank() {
        One one = new One(20, 30, 1);
        Weight before = one.linear.weight();
        assertThat(new LowRank(new LowRank.Size.Sparsity(0.5)).apply(one, arena).getFirst())
                .satisfies(l -> assertThat(l.rank()).isEqualTo(6)) // 0.5 * 600 / 50
                .satisfies(l -> assertThat(l.numbersAfter()).isEqualTo(300));
        one.linear.weight(before);
        assertThat(new LowRank(new LowRank.Size.Energy(0.999)).apply(one, arena).getFirst())
                .isEqualTo(new LowRank.Layer("layers.0.linear", 0, 600, 600, 0));
        assertThat(one.linear.weight()).as("factors would be larger").isSameAs(before);
    }

    private Decoder model(Family family) {
        DecoderConfig config = DecoderConfig.builder(family)
                .vocabSize(40)
                .hiddenSize(24)
                .feedForwardSize(48)
                .layers(2)
                .heads(4)
                .contextLength(32)
                .initRange(0.3)
                .build();
        return new Decoder(config, Init.usual(config).weights(config, 3, arena));
    }

    private static float[] logits(Decoder model) {
        try (var _ = Memory.scope();
                var _ = Tape.pause()) {
            return model.logits(Tokens.of(1, 5, 3, 17, 30)).toArray();
        }
    }

    @ParameterizedTest
    @EnumSource(
            value = Family.class,
            names = {"LLAMA", "GPT2"})
    void aModelRunsIsSavedSmallerAndComesBack(Family family) throws IOException {
        Decoder model = model(family);
        Path large = Files.createDirectory(dir.resolve("large"));
        ModelFiles.save(model, large, DType.F32);
        Calibration seen = Calibration.capture(model, () -> logits(model));
        List<LowRank.Layer> layers = new LowRank(new LowRank.Size.Sparsity(0.4))
                .apply(model, path -> seen.of(path).moments(), arena);
        assertThat(layers).hasSize(family == Family.GPT2 ? 8 : 14).allMatch(l -> l.rank() > 0);
        long saved = layers.stream()
                .mapToLong(l -> l.numbersBefore() - l.numbersAfter())
                .sum();
        for (DType type : List.of(DType.F32, DType.BF16)) {
            Path small = Files.createDirectory(dir.resolve("small-" + type));
            ModelFiles.save(model, small, type);
            Decoder back = ModelFiles.load(small, arena);
            float[] have = logits(back), want = logits(model);
            for (int i = 0; i < want.length; i++) {
                assertThat(have[i]).isCloseTo(want[i], within(type == DType.F32 ? 0f : 0.1f));
            }
            assertThat(back.find(Linear.class)
                            .get(layers.getFirst().path())
                            .weight()
                            .format())
                    .isEqualTo("LOW-RANK");
            assertThat(Json.read(small.resolve("config.json"))
                            .object("quantization_config")
                            .string("quant_method"))
                    .isEqualTo("low_rank");
        }
        long before = Files.size(large.resolve("model.safetensors"));
        long after = Files.size(dir.resolve("small-F32/model.safetensors"));
        assertThat((double) (before - after)).isCloseTo(4.0 * saved, within(2000.0)); // names
        assertThat(Files.size(dir.resolve("small-BF16/model.safetensors"))).isLessThan(after * 6 / 10);
    }

    @Test
    void aFileWithoutOneFactorIsNamed() throws IOException {
        Decoder model = model(Family.LLAMA);
        new LowRank(new LowRank.Size.Rank(4), "q_proj").apply(model, arena);
        LowRankFile reader = new LowRankFile();
        Map<String, Stored> tensors = new LinkedHashMap<>(model.find(Linear.class)
                .get("model.layers.0.self_attn.q_proj")
                .weight()
                .folderForm()
                .orElseThrow()
                .tensors());
        assertThatThrownBy(() -> reader.read("q", 24, 25, new LinkedHashMap<>(tensors), arena))
                .hasMessage("q.weight_u F32 [24, 4] and weight_v F32 [4, 24] must be real numbers [24, k] and [k, 25]");
        tensors.remove("weight_v");
        assertThatThrownBy(() -> reader.read("q", 24, 24, tensors, arena)).hasMessage("q.weight_v is missing");
    }

    /** Gradients of both factors are those of the product, and training moves both from a file too. */
    @Test
    void bothFactorsAreTrained() throws IOException {
        Decoder made = model(Family.LLAMA);
        new LowRank(new LowRank.Size.Sparsity(0.4)).apply(made, arena);
        Path folder = Files.createDirectory(dir.resolve("small"));
        ModelFiles.save(made, folder, DType.F32);
        Decoder model = ModelFiles.load(folder, arena).train(arena);
        String path = "model.layers.1.mlp.up_proj";
        Map<String, Tensor> trained = model.trainable();
        assertThat(trained).containsKeys(path + ".weight_u", path + ".weight_v").doesNotContainKey(path + ".weight");
        int[] targets = {5, 3, 17, 30, 2};
        Tokens text = Tokens.of(1, 5, 3, 17, 30);
        double[] losses = new double[2];
        try (Optimizer o = new Optimizer(trained, new AdamW(0), List.of())) {
            for (int step = 0; step < 20; step++) {
                try (var _ = Memory.scope()) {
                    trained.values().forEach(Tensor::zeroGrad);
                    Tensor loss = Ops.sum(model.nll(text, targets, NllOptions.PLAIN));
                    losses[step == 0 ? 0 : 1] = loss.item();
                    Tape.backward(loss);
                    if (step == 0) {
                        checkGradient(model, trained.get(path + ".weight_u"), text, targets);
                        checkGradient(model, trained.get(path + ".weight_v"), text, targets);
                    }
                    o.step(1, 1e-2);
                }
            }
        }
        assertThat(losses[1]).isLessThan(0.5 * losses[0]);
    }

    private static void checkGradient(Decoder model, Tensor p, Tokens text, int[] targets) {
        float[] values = p.toArray();
        for (int i : new int[] {0, values.length / 2, values.length - 1}) {
            double[] loss = new double[2];
            for (int side = 0; side < 2; side++) {
                float[] moved = values.clone();
                moved[i] += side == 0 ? 1e-2f : -1e-2f;
                p.set(moved);
                try (var _ = Memory.scope();
                        var _ = Tape.pause()) {
                    loss[side] =
                            Ops.sum(model.nll(text, targets, NllOptions.PLAIN)).item();
                }
            }
            p.set(values);
            double slope = (loss[0] - loss[1]) / 2e-2;
            assertThat((double) p.grad().get(i)).isCloseTo(slope, within(2e-3 + 0.02 * Math.abs(slope)));
        }
    }

    @Test
    void doesNotDependOnTheNumberOfThreads() {
        int before = Parallel.threads();
        float[][] found = new float[2][];
        try {
            for (int threads = 1; threads <= 2; threads++) {
                Parallel.threads(threads);
                One one = new One(40, 24, 1);
                Calibration seen = Calibration.capture(one, one::run);
                new LowRank(new LowRank.Size.Rank(5))
                        .apply(one, path -> seen.of(path).moments(), arena);
                found[threads - 1] = ((LowRankWeight) one.linear.weight())
                        .u()
                        .parameter()
                        .orElseThrow()
                        .toArray();
            }
        } finally {
            Parallel.threads(before);
        }
        assertThat(found[0]).containsExactly(found[1]);
    }

    @Test
    void saysWhatIsWrong() {
        One one = new One(20, 30, 1);
        assertThatThrownBy(() -> new LowRank.Size.Rank(0)).hasMessage("low rank: rank 0 must be at least 1");
        assertThatThrownBy(() -> new LowRank.Size.Energy(1)).hasMessage("low rank: energy 1.0 must be in (0, 1)");
        assertThatThrownBy(() -> new LowRank.Size.Sparsity(0)).hasMessage("low rank: sparsity 0.0 must be in (0, 1)");
        LowRank some = new LowRank(new LowRank.Size.Rank(2), "k_proj");
        assertThatThrownBy(() -> some.apply(one, arena))
                .hasMessage("low rank: no linear layer matches k_proj of [layers.0.linear]");
        LowRank eight = new LowRank(new LowRank.Size.Rank(8));
        eight.apply(one, arena);
        Weight before = one.linear.weight();
        assertThat(eight.apply(one, arena).getFirst().rank())
                .as("factors again")
                .isEqualTo(8);
        assertThat(one.lost(before, one.linear.weight(), false)).isLessThan(1e-5);
        One broken = new One(20, 30, 1);
        float[] w = ((DenseWeight) broken.linear.weight()).tensor().toArray();
        w[31] = Float.NaN;
        ((DenseWeight) broken.linear.weight()).tensor().set(w);
        assertThatThrownBy(() -> eight.apply(broken, arena))
                .hasMessage("low rank: layers.0.linear has NaN at [1, 1]; it must be finite");
        assertThatThrownBy(() -> new LowRankWeight(new DenseWeight(random(1, 4, 3)), new DenseWeight(random(1, 2, 5))))
                .hasMessage("low rank: [4, 3] and [2, 5] are no factors of one matrix");
        assertThatThrownBy(() -> Quantizer.format(new Nf4(32)).apply(one))
                .hasMessageContaining("layers.0.linear is quantised already, as LOW-RANK");
    }
}
