package anneal.generate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import anneal.generate.Generation.Stop;
import anneal.model.Decoder;
import anneal.model.DecoderConfig;
import anneal.model.Family;
import anneal.model.Init;
import anneal.model.Tokens;
import anneal.nn.RopeScaling;
import anneal.tensor.Memory;
import anneal.tensor.NllOptions;
import anneal.tensor.Rng;
import anneal.tensor.Tape;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** What a generator promises whatever the model says. */
class GeneratorTest {
    private static final int V = 19;
    private final Arena arena = Arena.ofShared();

    @AfterEach
    void close() {
        arena.close();
    }

    private Decoder model(int context) {
        return model(context, new RopeScaling.None());
    }

    private Decoder model(int context, RopeScaling scaling) {
        DecoderConfig config = DecoderConfig.builder(Family.LLAMA)
                .vocabSize(V)
                .hiddenSize(16)
                .feedForwardSize(32)
                .layers(2)
                .heads(4, 2, 0)
                .contextLength(context)
                .initRange(0.4)
                .rotary(new DecoderConfig.Rotary(10_000, 4, scaling))
                .build();
        return new Decoder(config, Init.usual(config).weights(config, 5, arena));
    }

    private static Sampling.Builder sampling() {
        return Sampling.builder().maxNewTokens(12).seed(3);
    }

    @Test
    void oneSeedIsOneText() {
        Generator g = new Generator(model(64));
        int[] prompt = {1, 2, 3};
        Sampling s = sampling().build();
        assertThat(g.generate(prompt, s).tokens())
                .isEqualTo(g.generate(prompt, s).tokens());
        assertThat(g.generate(prompt, s).tokens())
                .isNotEqualTo(g.generate(prompt, sampling().seed(4).build()).tokens());
    }

    @Test
    void rowsOfABatchDoNotSeeOneAnother() {
        Generator g = new Generator(model(64));
        List<int[]> prompts = List.of(new int[] {4, 5, 6, 7, 8}, new int[] {9}, new int[] {2, 2, 11});
        List<Generation> together = g.generate(prompts, sampling().build());
        List<Generation> others = g.generate(
                List.of(prompts.get(0), new int[] {1, 2, 3, 4, 5, 6, 7}, prompts.get(2)),
                sampling().build());
        assertThat(together.get(0).tokens()).isEqualTo(others.get(0).tokens());
        assertThat(together.get(2).tokens()).isEqualTo(others.get(2).tokens());
        assertThat(together.get(0).tokens())
                .isEqualTo(g.generate(prompts.get(0), sampling().build()).tokens());
    }

    @Test
    void logProbabilitiesAreThoseOfTheWholeSequence() {
        Decoder model = model(64);
        int[] prompt = {1, 2, 3};
        Generation g = new Generator(model)
                .generate(
                        prompt,
                        sampling()
                                .temperature(0.7)
                                .topK(5)
                                .repetitionPenalty(1.2)
                                .build());
        int[] all = IntStream.concat(Arrays.stream(prompt), Arrays.stream(g.tokens()))
                .toArray();
        int[] targets = Arrays.copyOfRange(all, 1, all.length + 1);
        targets[all.length - 1] = -1;
        try (Memory.Scope scope = Memory.scope();
                Tape.Pause p = Tape.pause()) {
            float[] nll = model.nll(Tokens.of(all), targets, NllOptions.PLAIN).toArray();
            for (int i = 0; i < g.tokens().length; i++) {
                assertThat(-g.logProbs()[i])
                        .isCloseTo(nll[prompt.length - 1 + i], org.assertj.core.data.Offset.offset(2e-5f));
            }
        }
    }

    @Test
    void aLongPromptIsComputedInPieces() {
        Decoder model = model(1200);
        Rng rng = new Rng(8);
        int[] prompt = IntStream.range(0, 1100).map(i -> rng.nextInt(V)).toArray();
        int[] expected;
        try (Memory.Scope scope = Memory.scope();
                Tape.Pause p = Tape.pause()) {
            float[] logits = model.logits(Tokens.of(prompt)).toArray();
            expected = new int[] {Cuts.likeliest(Arrays.copyOfRange(logits, 1099 * V, 1100 * V))};
        }
        Generator g = new Generator(model);
        assertThat(g.generate(prompt, Sampling.greedy(1)).tokens()).isEqualTo(expected);
        List<Generation> padded = g.generate(List.of(prompt, Arrays.copyOf(prompt, 20)), Sampling.greedy(5));
        assertThat(padded.get(0).tokens()[0]).isEqualTo(expected[0]);
        assertThat(padded.get(1).tokens())
                .isEqualTo(g.generate(Arrays.copyOf(prompt, 20), Sampling.greedy(5))
                        .tokens());
    }

    /** Angles that grow with the length: every token of the prompt gets those of the whole prompt, as in one forward pass. */
    @Test
    void aLongPromptOfAModelThatGrowsIsComputedAtOnce() {
        Decoder model = model(256, new RopeScaling.Dynamic(2, 256));
        Rng rng = new Rng(8);
        int[] prompt = IntStream.range(0, 1100).map(i -> rng.nextInt(V)).toArray();
        Generation g = new Generator(model).generate(prompt, Sampling.greedy(1));
        try (Memory.Scope scope = Memory.scope();
                Tape.Pause p = Tape.pause()) {
            int[] targets = new int[prompt.length];
            Arrays.fill(targets, -1);
            targets[prompt.length - 1] = g.tokens()[0];
            float nll = model.nll(Tokens.of(prompt), targets).get(prompt.length - 1);
            assertThat(g.logProbs()[0]).isCloseTo(-nll, within(1e-5f));
        }
    }

    @Test
    void itSaysWhyItStopped() {
        Decoder model = model(16);
        Generator g = new Generator(model);
        Generation full = g.generate(new int[] {1, 2, 3}, Sampling.greedy(100));
        assertThat(full.stop()).isEqualTo(Stop.CONTEXT);
        assertThat(full.tokens()).hasSize(13);
        assertThat(g.generate(new int[] {1, 2, 3}, Sampling.greedy(4)).stop()).isEqualTo(Stop.LENGTH);
        int third = full.tokens()[2];
        int first = IntStream.range(0, 13)
                .filter(i -> full.tokens()[i] == third)
                .findFirst()
                .orElseThrow();
        Generation ended = new Generator(model, third).generate(new int[] {1, 2, 3}, Sampling.greedy(100));
        assertThat(ended.stop()).isEqualTo(Stop.END_TOKEN);
        assertThat(ended.tokens()).isEqualTo(Arrays.copyOf(full.tokens(), first + 1));
        Sampling own =
                Sampling.builder().temperature(0).maxNewTokens(100).ends(third).build();
        assertThat(g.generate(new int[] {1, 2, 3}, own).tokens()).isEqualTo(ended.tokens());
        List<Integer> heard = new ArrayList<>();
        Generation stopped = g.stream(new int[] {1, 2, 3}, Sampling.greedy(100), token -> {
            heard.add(token);
            return heard.size() < 4;
        });
        assertThat(stopped.stop()).isEqualTo(Stop.LISTENER);
        assertThat(stopped.tokens()).isEqualTo(heard.stream().mapToInt(i -> i).toArray());
        assertThat(heard).hasSize(4);
    }

    @Test
    void minimumLengthsAndBansHold() {
        Decoder model = model(64);
        int likeliest =
                new Generator(model).generate(new int[] {1}, Sampling.greedy(1)).tokens()[0];
        Generation g = new Generator(model, likeliest)
                .generate(
                        new int[] {1},
                        Sampling.builder()
                                .temperature(0)
                                .maxNewTokens(9)
                                .minNewTokens(6)
                                .build());
        assertThat(Arrays.copyOf(g.tokens(), 6)).doesNotContain(likeliest);
        int[] none = new Generator(model)
                .generate(
                        new int[] {1},
                        sampling()
                                .suppressed(1, 2, 3, likeliest)
                                .maxNewTokens(40)
                                .build())
                .tokens();
        assertThat(none).doesNotContain(1, 2, 3, likeliest);
        assertThatThrownBy(() -> new Generator(model)
                        .generate(
                                new int[] {1},
                                Sampling.builder()
                                        .suppressed(IntStream.range(0, V).toArray())
                                        .build()))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("generate: every token is banned");
    }

    @Test
    void drawsFollowTheDistribution() {
        float[] logits = {1f, 0f, -1f, 2f, Float.NEGATIVE_INFINITY};
        double[] p = Cuts.softmax(logits);
        int n = 40_000;
        int[] counts = new int[logits.length];
        Rng rng = new Rng(12);
        for (int i = 0; i < n; i++) {
            counts[Cuts.draw(logits, rng)]++;
        }
        for (int i = 0; i < p.length; i++) {
            double deviation = Math.sqrt(p[i] * (1 - p[i]) / n);
            assertThat(Math.abs(counts[i] / (double) n - p[i])).isLessThanOrEqualTo(4 * deviation);
        }
    }

    @Test
    void beamsOfOneAreGreedy() {
        Decoder model = model(64);
        int[] prompt = {3, 1, 4};
        int[] greedy =
                new Generator(model).generate(prompt, Sampling.greedy(10)).tokens();
        List<BeamSearch.Beam> beams =
                new BeamSearch(model).search(prompt, BeamSearch.Options.of(1), Sampling.greedy(10));
        assertThat(beams).hasSize(1);
        assertThat(beams.getFirst().tokens()).isEqualTo(greedy);
        Sampling ended = Sampling.builder()
                .temperature(0)
                .maxNewTokens(10)
                .ends(greedy[2])
                .build();
        assertThat(new BeamSearch(model)
                        .search(prompt, BeamSearch.Options.of(1), ended)
                        .getFirst()
                        .tokens())
                .isEqualTo(new Generator(model).generate(prompt, ended).tokens())
                .hasSizeLessThan(10);
    }

    @Test
    void badInputIsNamed() {
        Generator g = new Generator(model(16));
        assertThatThrownBy(() -> g.generate(new int[0], Sampling.greedy(3)))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("generate: a prompt is empty; begin with the begin-of-text token");
        assertThatThrownBy(() -> g.generate(List.of(), Sampling.greedy(3))).hasMessage("generate: there is no prompt");
        assertThatThrownBy(() -> g.generate(new int[16], Sampling.greedy(3)))
                .hasMessage("generate: a prompt of 16 tokens leaves no room in the model's context of 16");
        for (Sampling.Builder b : List.of(
                Sampling.builder().suppressed(99),
                Sampling.builder().ends(99),
                Sampling.builder().banned(List.of(new int[] {1, 99})))) {
            assertThatThrownBy(() -> g.generate(new int[] {1}, b.build()))
                    .hasMessage("generate: token 99 is outside the model's vocabulary of 19");
        }
        Sampling longer = Sampling.builder()
                .temperature(0)
                .minNewTokens(3)
                .maxNewTokens(4)
                .build();
        assertThat(new Generator(model(16), 50256)
                        .generate(new int[] {1}, longer)
                        .tokens())
                .as("an end token of the config that the model does not have")
                .hasSize(4);
        assertThatThrownBy(() -> Sampling.builder().topP(0).build())
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("sampling: top-p 0.0 must be in (0, 1]");
        assertThatThrownBy(() -> Sampling.builder().topK(-1).build())
                .hasMessage("sampling: top-k -1 must be not negative (0 = all)");
        assertThatThrownBy(() -> Sampling.builder().temperature(-1).build())
                .hasMessage("sampling: temperature -1.0 must be not negative");
        assertThatThrownBy(() -> new BeamSearch.Options(2, 1, BeamSearch.EarlyStopping.FIRST, 3))
                .hasMessage("beam search: 3 texts of 2 beams: must be at least 1 and at most so many");
        assertThatThrownBy(() -> Cuts.likeliest(new float[] {Float.NaN, Float.NaN}))
                .hasMessage("generate: the model's scores are not numbers (NaN)");
    }
}
