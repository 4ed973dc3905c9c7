package anneal.generate;

import static org.assertj.core.api.Assertions.assertThat;

import anneal.Golden;
import anneal.io.Json;
import anneal.io.JsonObject;
import anneal.io.Safetensors;
import anneal.io.StoredTensor;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/** Each processor, and all together, against transformers': which tokens stay, and with what probability. */
class GoldenSamplingTest {
    private static final Pattern NUMBERED = Pattern.compile("([a-z_ ]+?) ?([0-9.]+)");
    private static int cases;
    private static double worst;

    @AfterAll
    static void report() {
        Golden.report("parts/sampling", cases, worst);
    }

    @TestFactory
    Stream<DynamicTest> distributions() {
        return Golden.files("parts", "sampling.*\\.safetensors").stream()
                .map(f -> DynamicTest.dynamicTest(f.getFileName() + "", () -> run(f)));
    }

    private static void run(Path file) {
        JsonObject facts =
                Json.read(file.resolveSibling(file.getFileName().toString().replace(".safetensors", ".json")));
        try (Arena arena = Arena.ofShared()) {
            Map<String, StoredTensor> t = Safetensors.open(file, arena).tensors();
            for (String name : t.keySet()) {
                if (name.endsWith(".kept")) {
                    check(name.substring(0, name.length() - 5), t, facts);
                    cases++;
                }
            }
        }
    }

    private static void check(String name, Map<String, StoredTensor> t, JsonObject facts) {
        int[] history = t.get("history").ints(), kept = t.get(name + ".kept").ints();
        float[] logits = t.get("logits").floats();
        float[] expected = t.get(name + ".probabilities").floats();
        int rows = (int) t.get("logits").shape()[0], v = logits.length / rows, length = history.length / rows;
        int[] ends =
                facts.has("min_length") ? new int[] {facts.object("min_length").integer("eos")} : new int[0];
        List<Processor> processors = Processor.of(options(name, facts), ends);
        assertThat(processors).as(name).isNotEmpty();
        for (int r = 0; r < rows; r++) {
            float[] x = Arrays.copyOfRange(logits, r * v, (r + 1) * v);
            int[] tokens = Arrays.copyOfRange(history, r * length, (r + 1) * length);
            for (Processor p : processors) {
                p.apply(x, new Processor.History(tokens, length, length));
            }
            double[] probabilities = Cuts.softmax(x);
            for (int i = 0; i < v; i++) {
                assertThat(x[i] != Float.NEGATIVE_INFINITY)
                        .as("%s: row %d, token %d stays", name, r, i)
                        .isEqualTo(kept[r * v + i] == 1);
                double difference = Math.abs(probabilities[i] - expected[r * v + i]);
                assertThat(difference).as("%s: row %d, token %d", name, r, i).isLessThan(2e-6);
                worst = Math.max(worst, difference);
            }
        }
    }

    private static Sampling options(String name, JsonObject facts) {
        Sampling.Builder b = Sampling.builder();
        switch (name) {
            case "all" -> facts.strings("order of 'all'").forEach(part -> set(b, part));
            case "min_length" -> b.minLength(facts.object("min_length").integer("minimum"));
            case "bad_words" ->
                b.banned(facts.list("bad_words").stream()
                        .map(row -> ((List<?>) row)
                                .stream().mapToInt(id -> (Integer) id).toArray())
                        .toList());
            default -> set(b, name);
        }
        return b.build();
    }

    private static void set(Sampling.Builder b, String text) {
        Matcher m = NUMBERED.matcher(text);
        assertThat(m.matches()).as("sampling case \"" + text + "\"").isTrue();
        double x = Double.parseDouble(m.group(2));
        switch (m.group(1)) {
            case "temperature" -> b.temperature(x);
            case "top_k" -> b.topK((int) x);
            case "top_p" -> b.topP(x);
            case "min_p" -> b.minP(x);
            case "typical" -> b.typicalP(x);
            case "epsilon" -> b.epsilon(x);
            case "eta" -> b.eta(x);
            case "repetition" -> b.repetitionPenalty(x);
            case "no_repeat_ngram" -> b.noRepeatNgram((int) x);
            default -> throw new AssertionError("no processor for the case \"" + text + "\"");
        }
    }
}
