package anneal.peft;

import static org.assertj.core.api.Assertions.assertThat;

import anneal.io.Json;
import anneal.io.JsonObject;
import anneal.io.Safetensors;
import anneal.io.StoredTensor;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** What PEFT's AdaLoRA did after each recorded step: budget, scores, masks (exact), singular values, and the file at the end. */
record AdaLoraSteps(Path folder, JsonObject facts, Map<String, StoredTensor> golden) {
    private static final String PREFIX = "base_model.model.", VALUES = ".lora_E";

    /** After step {@code step}, from 1. */
    void check(int step, Adapters adapters) {
        AdaLoraTuning tuning = (AdaLoraTuning) adapters.tuning();
        JsonObject row = facts.objects("steps").get(step - 1);
        assertThat(row.integer("global_step")).isEqualTo(step);
        int layers = adapters.paths().size();
        AdaLora method = (AdaLora) adapters.method();
        RankBudget.Steps budget = tuning.budget();
        assertThat(budget.left(step, method.initialRank() * layers, method.targetRank() * layers))
                .as("budget after step " + step)
                .isEqualTo(row.integer("budget"));
        assertThat(tuning.isFinal()).isEqualTo(step >= budget.last());
        if (row.has("scores")) {
            JsonObject scores = row.object("scores");
            assertThat(scores.keys()).hasSize(layers);
            for (String key : scores.keys()) {
                close(
                        "score after step " + step + " of " + key,
                        tuning.allocator().scores(path(key)),
                        scores.numbers(key),
                        1e-3);
            }
            if (row.flag("allocates")) {
                JsonObject mask = row.object("mask");
                assertThat(mask.keys()).hasSize(layers);
                for (String key : mask.keys()) {
                    assertThat(tuning.left().get(path(key)).stream().map(k -> k ? 1 : 0))
                            .as("mask after step " + step + " of " + key)
                            .isEqualTo(mask.list(key));
                }
            }
        }
        adapters.parameters().forEach((name, p) -> {
            if (name.endsWith(VALUES)) {
                float[]
                        expected =
                                golden.get("E_after_step" + step + "." + PREFIX + name)
                                        .floats(),
                        actual = p.toArray();
                for (int i = 0; i < expected.length; i++) {
                    assertThat(actual[i] == 0)
                            .as("zero after step " + step + ": " + name)
                            .isEqualTo(expected[i] == 0);
                    assertThat(Math.abs(actual[i] - expected[i])).isLessThanOrEqualTo(2e-4f);
                }
            }
        });
    }

    private static String path(String key) {
        return key.substring(PREFIX.length(), key.length() - VALUES.length());
    }

    /** Scores are products of four small numbers: relative to the largest of the layer. */
    private static void close(String what, double[] actual, double[] expected, double tolerance) {
        assertThat(actual).as(what).hasSameSizeAs(expected);
        double largest = 0;
        for (double e : expected) {
            largest = Math.max(largest, Math.abs(e));
        }
        for (int i = 0; i < expected.length; i++) {
            assertThat(Math.abs(actual[i] - expected[i]))
                    .as("%s[%d]: %s, expected %s", what, i, actual[i], expected[i])
                    .isLessThanOrEqualTo(tolerance * largest);
        }
    }

    /** Our own run, saved: cut to the same ranks, named the same, close in every number. */
    void checkFile(Adapters adapters, Path temp, Arena arena) {
        Path ours = temp.resolve(folder.getFileName() + "-trained");
        adapters.save(ours);
        JsonObject config = Json.read(ours.resolve("adapter_config.json"));
        JsonObject peft = Json.read(folder.resolve("adapter_config.json"));
        for (String key : Set.of("rank_pattern", "total_step", "tinit", "tfinal", "deltaT")) {
            assertThat(config.map().get(key)).as(key).isEqualTo(peft.map().get(key));
        }
        Map<String, StoredTensor> a = Safetensors.open(ours.resolve("adapter_model.safetensors"), arena)
                .tensors();
        Map<String, StoredTensor> b = Safetensors.open(folder.resolve("adapter_model.safetensors"), arena)
                .tensors();
        assertThat(new HashSet<>(a.keySet())).isEqualTo(new HashSet<>(b.keySet()));
        a.forEach((key, t) -> {
            assertThat(t.shape()).as(key).isEqualTo(b.get(key).shape());
            assertThat(t.floats())
                    .as(key)
                    .usingComparatorWithPrecision(2e-4f)
                    .containsExactly(b.get(key).floats());
        });
        int kept = RankReport.of(adapters).total();
        assertThat(kept).isEqualTo(facts.integer("target_budget"));
        List<Integer> ranks = RankReport.of(adapters).modules().stream()
                .map(RankReport.Entry::rank)
                .toList();
        assertThat(ranks.stream().mapToInt(r -> r).sum()).isEqualTo(kept);
    }
}
