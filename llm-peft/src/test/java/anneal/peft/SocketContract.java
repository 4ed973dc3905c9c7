package anneal.peft;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import anneal.generate.Generator;
import anneal.generate.Sampling;
import anneal.model.Decoder;
import anneal.model.DecoderConfig;
import anneal.model.Family;
import anneal.model.Init;
import anneal.model.Tokens;
import anneal.nn.Module;
import anneal.tensor.Memory;
import anneal.tensor.Ops;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import anneal.train.AdamW;
import anneal.train.Optimizer;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * {@link AdapterContract} for methods that plug into attention, sub-layers or the input embedding: they change no weight, so they
 * cannot be merged, and a fresh one need be no identity; each says what holds instead.
 */
abstract class SocketContract {
    static final int V = 19, LIMIT = 24;
    private static final int[] IDS = {3, 7, 1, 12, 18, 5};
    private static final int[] TARGETS = {7, 1, 12, 18, 5, -1};

    abstract Adapters attach(Module root, long seed);

    /** What holds of a fresh adapter in place of "it changes nothing". */
    abstract void freshHolds(Decoder plain, Decoder adapted, Adapters adapters);

    /** True if the file holds what a network made, not the network. */
    boolean flattened() {
        return false;
    }

    @TempDir
    Path dir;

    private final Arena arena = Arena.ofShared();

    @BeforeEach
    @AfterEach
    void clear() {
        Tape.clear();
    }

    @AfterEach
    void close() {
        arena.close();
    }

    static Decoder model(Family family, Arena arena) {
        DecoderConfig config = DecoderConfig.builder(family)
                .vocabSize(V)
                .hiddenSize(24)
                .feedForwardSize(32)
                .layers(2)
                .heads(6, family == Family.GPT2 ? 6 : 2, 0)
                .contextLength(LIMIT)
                .initRange(0.3)
                .build();
        return new Decoder(config, Init.usual(config).weights(config, 3, arena));
    }

    final Decoder model(Family family) {
        return model(family, arena);
    }

    private Decoder model() {
        return model(Family.LLAMA);
    }

    static float[] logits(Decoder m, int... ids) {
        try (var _ = Memory.scope();
                var _ = Tape.pause()) {
            return m.logits(Tokens.of(ids)).toArray();
        }
    }

    private static float[] logits(Decoder m) {
        return logits(m, IDS);
    }

    private static double backward(Decoder m) {
        try (var _ = Memory.scope()) {
            Tensor sum = Ops.sum(m.nll(Tokens.of(IDS), TARGETS));
            Tape.backward(sum);
            return sum.item();
        }
    }

    private static double loss(Decoder m) {
        try (var _ = Memory.scope();
                var _ = Tape.pause()) {
            return Ops.sum(m.nll(Tokens.of(IDS), TARGETS)).item();
        }
    }

    @ParameterizedTest
    @EnumSource(Family.class)
    void freshIsWhatTheMethodSays(Family family) {
        Decoder model = model(family);
        Adapters adapters = attach(model, 1);
        freshHolds(model(family), model, adapters);
        AdapterContract.disturb(adapters);
        assertThat(logits(model)).isNotEqualTo(logits(model(family)));
    }

    @ParameterizedTest
    @EnumSource(Family.class)
    void disabledIsTheBaseBitForBit(Family family) {
        Decoder model = model(family);
        float[] base = logits(model);
        Adapters adapters = attach(model, 1);
        AdapterContract.disturb(adapters);
        float[] adapted = logits(model);
        try (var _ = adapters.disabled()) {
            assertThat(logits(model)).containsExactly(base);
            assertThat(model.contextLength()).isEqualTo(LIMIT);
        }
        assertThat(logits(model)).containsExactly(adapted);
        adapters.detach();
        assertThat(logits(model)).containsExactly(base);
    }

    @Test
    void cannotBeMergedAndSaysWhy() {
        Decoder model = model();
        Adapters adapters = attach(model, 1);
        AdapterContract.disturb(adapters);
        float[] adapted = logits(model);
        assertThatThrownBy(adapters::merge)
                .isInstanceOf(UnsupportedOperationException.class)
                .hasMessageStartingWith("merge: ")
                .hasMessageContaining("cannot become part of")
                .hasMessageEndingWith("keep the adapter beside the model");
        assertThat(adapters.merged()).isFalse();
        assertThat(logits(model)).containsExactly(adapted);
    }

    @Test
    void aPlaceThatIsTakenIsRefused() {
        Decoder model = model();
        Adapters adapters = attach(model, 1);
        float[] adapted = logits(model);
        assertThatThrownBy(() -> attach(model, 1))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageStartingWith("attach: ")
                .hasMessageContaining(adapters.paths().getFirst());
        assertThat(logits(model)).containsExactly(adapted);
    }

    /** True if the seed has no part in how it starts. */
    boolean seedless() {
        return false;
    }

    @Test
    void theSeedDecidesHowItStarts() {
        float[] first = start(1);
        assertThat(start(1)).containsExactly(first);
        assertThat(Arrays.equals(start(2), first)).isEqualTo(seedless());
    }

    /** All numbers of a fresh adapter. */
    private float[] start(long seed) {
        List<Tensor> parameters = List.copyOf(attach(model(), seed).parameters().values());
        float[] all =
                new float[(int) parameters.stream().mapToLong(Tensor::size).sum()];
        int at = 0;
        for (Tensor p : parameters) {
            System.arraycopy(p.toArray(), 0, all, at, (int) p.size());
            at += (int) p.size();
        }
        return all;
    }

    @ParameterizedTest
    @EnumSource(Family.class)
    void savedIsLoaded(Family family) throws IOException {
        Decoder model = model(family), other = model(family);
        Adapters adapters = attach(model, 1);
        AdapterContract.disturb(adapters);
        adapters.save(dir.resolve("a"));
        Adapters loaded = Adapters.load(other, dir.resolve("a"));
        if (flattened()) { // the network made all columns at once for the file, and makes some at a time for a layer
            AdapterContract.assertClose(logits(other), logits(model), 1e-5);
        } else {
            assertThat(logits(other)).containsExactly(logits(model));
            assertThat(loaded.parameters().keySet())
                    .isEqualTo(adapters.parameters().keySet());
        }
        assertThat(other.parameters().values()).noneMatch(Tensor::tracked);
        assertThat(loaded.parameters().values()).noneMatch(Tensor::tracked);
        loaded.save(dir.resolve("b"));
        assertThat(names(dir.resolve("b"))).isEqualTo(names(dir.resolve("a")));
        for (String name : names(dir.resolve("a"))) {
            assertThat(dir.resolve("b").resolve(name))
                    .hasSameBinaryContentAs(dir.resolve("a").resolve(name));
        }
    }

    private static List<String> names(Path folder) throws IOException {
        try (var files = Files.list(folder)) {
            return files.map(f -> f.getFileName().toString()).sorted().toList();
        }
    }

    @Test
    void whatIsLoadedTrainsOn() {
        Decoder model = model(), other = model();
        Adapters adapters = attach(model, 1);
        double start = loss(model);
        train(model, adapters, 8);
        double then = loss(model);
        assertThat(then).isLessThan(start);
        adapters.save(dir);
        Adapters loaded = Adapters.load(other, dir);
        assertThat(loss(other)).isCloseTo(then, within(1e-4));
        train(other, loaded, 8);
        assertThat(loss(other)).isLessThan(then);
    }

    private static void train(Decoder model, Adapters adapters, int steps) {
        try (Optimizer optimizer = new Optimizer(adapters.parameters(), new AdamW(0.9, 0.999, 1e-8, 0), List.of())) {
            for (int i = 0; i < steps; i++) {
                optimizer.zeroGrad();
                backward(model);
                optimizer.step(1, 1e-2);
            }
        }
    }

    @Test
    void onlyTheAdapterIsTrainedAndItsGradientIsRight() {
        Decoder model = model();
        Adapters adapters = attach(model, 1);
        AdapterContract.disturb(adapters);
        backward(model);
        assertThat(model.parameters().values()).noneMatch(Tensor::tracked).noneMatch(Tensor::hasGrad);
        adapters.parameters().forEach((name, p) -> {
            for (long i = 0; i < p.size(); i += Math.max(1, p.size() / 5)) {
                double numeric = (lossWith(model, p, i, 2e-3f) - lossWith(model, p, i, -2e-3f)) / 4e-3;
                double analytic = p.grad().get(i);
                assertThat(analytic).as("%s[%d]", name, i).isCloseTo(numeric, within(5e-3 + 2e-2 * Math.abs(numeric)));
            }
        });
    }

    private static double lossWith(Decoder model, Tensor p, long i, float change) {
        float[] before = p.toArray(), values = before.clone();
        values[(int) i] += change;
        p.set(values);
        try {
            return loss(model);
        } finally {
            p.set(before);
        }
    }

    @Test
    void checkpointsGiveTheSameGradients() {
        Map<String, float[]> plain = gradients(false);
        gradients(true).forEach((name, g) -> assertThat(g).as(name).containsExactly(plain.get(name)));
    }

    private Map<String, float[]> gradients(boolean checkpointing) {
        Decoder model = model();
        Adapters adapters = attach(model, 1);
        AdapterContract.disturb(adapters);
        model.checkpointing(checkpointing);
        backward(model);
        Map<String, float[]> all = new LinkedHashMap<>();
        adapters.parameters().forEach((name, p) -> all.put(name, p.grad().toArray()));
        return all;
    }

    @ParameterizedTest
    @EnumSource(Family.class)
    void greedyWithACacheIsGreedyWithout(Family family) {
        Decoder model = model(family);
        AdapterContract.disturb(attach(model, 1));
        List<int[]> prompts = List.of(IDS, new int[] {4, 9}, new int[] {8});
        Sampling greedy = Sampling.builder().temperature(0).maxNewTokens(7).build();
        var together = new Generator(model).generate(prompts, greedy);
        for (int i = 0; i < prompts.size(); i++) {
            assertThat(together.get(i).tokens()).isEqualTo(without(model, prompts.get(i), 7));
        }
    }

    private static int[] without(Decoder model, int[] prompt, int count) {
        int[] all = prompt;
        for (int t = 0; t < count; t++) {
            float[] logits = logits(model, all);
            int best = 0;
            for (int v = 1; v < V; v++) {
                if (logits[logits.length - V + v] > logits[logits.length - V + best]) {
                    best = v;
                }
            }
            all = Arrays.copyOf(all, all.length + 1);
            all[all.length - 1] = best;
        }
        return Arrays.copyOfRange(all, prompt.length, all.length);
    }

    /** What stands in front leaves less room, and generation stops where the room ends. */
    @ParameterizedTest
    @EnumSource(Family.class)
    void generationFillsTheContextAndStops(Family family) {
        Decoder model = model(family);
        attach(model, 1);
        Sampling longer = Sampling.builder().temperature(0).maxNewTokens(100).build();
        int[] tokens = new Generator(model).generate(IDS, longer).tokens();
        assertThat(IDS.length + tokens.length).isEqualTo(model.contextLength());
    }
}
