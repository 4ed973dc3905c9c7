package anneal.generate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import anneal.Golden;
import anneal.generate.BeamSearch.EarlyStopping;
import anneal.io.Json;
import anneal.io.JsonObject;
import anneal.model.Decoder;
import anneal.model.GoldenFolders;
import anneal.model.ModelFiles;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/** Greedy texts and beams against transformers, token by token. */
class GoldenGenerationTest {
    private static final Set<String> KNOWN = Set.of(
            "max_new_tokens",
            "repetition_penalty",
            "no_repeat_ngram_size",
            "num_beams",
            "length_penalty",
            "early_stopping",
            "num_return_sequences");
    private static int cases;
    private static double worst;

    @AfterAll
    static void report() {
        Golden.report("models generation", cases, worst);
    }

    @TestFactory
    Stream<DynamicTest> texts() {
        return GoldenFolders.read().stream()
                .filter(f -> Files.exists(f.resolve("generation.json")))
                .map(f -> DynamicTest.dynamicTest(f.getFileName() + "", () -> run(f)));
    }

    @SuppressWarnings("unchecked")
    private static void run(Path folder) {
        List<Object> list = (List<Object>) Json.readAny(folder.resolve("generation.json"));
        try (Arena arena = Arena.ofShared()) {
            Decoder model = ModelFiles.load(folder, arena);
            for (int i = 0; i < list.size(); i++) {
                check(model, new JsonObject((Map<String, Object>) list.get(i), folder + " case " + i));
                cases++;
            }
            together(model, list);
        }
    }

    private static Sampling sampling(JsonObject options) {
        options.requireKnown(KNOWN);
        return Sampling.builder()
                .temperature(0)
                .maxNewTokens(options.integer("max_new_tokens"))
                .repetitionPenalty(options.number("repetition_penalty", 1))
                .noRepeatNgram(options.integer("no_repeat_ngram_size", 0))
                .build();
    }

    private static void check(Decoder model, JsonObject c) {
        JsonObject options = c.object("options");
        int[] ends = model.config().tokens().eos();
        List<int[]> expected = new ArrayList<>();
        for (Object row : c.list("new_tokens")) {
            expected.add(((List<?>) row).stream().mapToInt(t -> (Integer) t).toArray());
        }
        if (!options.has("num_beams")) {
            Generation got = new Generator(model, ends).generate(c.integers("prompt"), sampling(options));
            assertThat(got.tokens()).as(c.where()).isEqualTo(expected.getFirst());
            return;
        }
        List<BeamSearch.Beam> got =
                new BeamSearch(model, ends).search(c.integers("prompt"), beams(options), sampling(options));
        double[] scores = c.numbers("sequences_scores");
        assertThat(got).as(c.where()).hasSize(expected.size());
        for (int i = 0; i < scores.length; i++) {
            assertThat(got.get(i).tokens()).as("%s, text %d", c.where(), i).isEqualTo(expected.get(i));
            assertThat(got.get(i).score()).as("%s, score %d", c.where(), i).isCloseTo(scores[i], within(2e-4));
            worst = Math.max(worst, Math.abs(got.get(i).score() - scores[i]));
        }
    }

    private static BeamSearch.Options beams(JsonObject options) {
        Object early = options.map().getOrDefault("early_stopping", false);
        EarlyStopping stopping = early.equals("never")
                ? EarlyStopping.NEVER
                : early.equals(true) ? EarlyStopping.FIRST : EarlyStopping.HEURISTIC;
        return new BeamSearch.Options(
                options.integer("num_beams"),
                options.number("length_penalty", 1),
                stopping,
                options.integer("num_return_sequences", 1));
    }

    /** All plain prompts in one left-padded batch give the same texts. */
    @SuppressWarnings("unchecked")
    private static void together(Decoder model, List<Object> list) {
        List<int[]> prompts = new ArrayList<>();
        List<Object> expected = new ArrayList<>();
        Sampling sampling = null;
        for (Object o : list) {
            JsonObject c = new JsonObject((Map<String, Object>) o, "");
            if (c.object("options").keys().equals(Set.of("max_new_tokens"))) {
                prompts.add(c.integers("prompt"));
                expected.add(c.list("new_tokens").getFirst());
                sampling = sampling(c.object("options"));
            }
        }
        List<Generation> got = new Generator(model, model.config().tokens().eos()).generate(prompts, sampling);
        for (int i = 0; i < got.size(); i++) {
            assertThat(Arrays.stream(got.get(i).tokens()).boxed().toList())
                    .as("row %d of a padded batch", i)
                    .isEqualTo(expected.get(i));
        }
    }
}
