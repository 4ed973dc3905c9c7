package anneal.peft;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import anneal.Golden;
import anneal.io.Json;
import anneal.io.JsonObject;
import anneal.io.Safetensors;
import anneal.io.StoredTensor;
import anneal.model.Decoder;
import anneal.model.ModelFiles;
import anneal.model.SequenceClassifier;
import anneal.model.Tokens;
import anneal.tensor.Memory;
import anneal.tensor.Ops;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import anneal.train.AdamW;
import anneal.train.Optimizer;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/** Classifiers with adapters against PEFT's: folders of golden/peft that say a number of labels. */
class ClassificationGoldenTest {
    private static final String PREFIX = "base_model.model.";

    private static int cases;
    private static double worst;

    @TempDir
    static Path temp;

    static boolean isClassification(Path folder) {
        Path facts = folder.resolve("golden.json");
        return Files.exists(facts) && Json.read(facts).has("num_labels");
    }

    @TestFactory
    Stream<DynamicTest> peftsNumbers() {
        return Golden.cases("peft").stream()
                .filter(ClassificationGoldenTest::isClassification)
                .map(f -> DynamicTest.dynamicTest(f.getFileName().toString(), () -> {
                    try (Arena arena = Arena.ofShared()) {
                        Case c = new Case(f, arena);
                        c.train();
                        c.reload();
                    } finally {
                        Tape.clear();
                    }
                    cases++;
                }));
    }

    @AfterAll
    static void report() {
        Assumptions.assumeTrue(Golden.cases("peft").stream().anyMatch(ClassificationGoldenTest::isClassification));
        Golden.report("peft/classification", cases, worst);
    }

    private static final class Case {
        private final Path folder;
        private final Arena arena;
        private final Map<String, StoredTensor> golden;
        private final JsonObject facts;
        private final int[] labels;

        Case(Path folder, Arena arena) {
            this.folder = folder;
            this.arena = arena;
            golden = Safetensors.open(folder.resolve("golden.safetensors"), arena)
                    .tensors();
            facts = Json.read(folder.resolve("golden.json"));
            labels = golden.get("labels").ints();
        }

        private Map<String, StoredTensor> file(Path of) {
            return Safetensors.open(of.resolve("adapter_model.safetensors"), arena)
                    .tensors();
        }

        /** The base with the head that PEFT began with, which is back when the adapter is disabled. */
        private SequenceClassifier base() {
            Decoder body = ModelFiles.load(folder.getParent().resolve(facts.string("base")), arena);
            SequenceClassifier model = new SequenceClassifier(body, facts.integer("num_labels"), arena, 0);
            Tensor score = model.head().weight().parameter().orElseThrow();
            score.set(file(folder.resolve("init")).get(PREFIX + "score.weight").floats());
            return model;
        }

        private Tokens tokens(String prefix) {
            long[] shape = golden.get(prefix + "input_ids").shape();
            int[] mask = golden.get((golden.containsKey(prefix + "attention_mask") ? prefix : "") + "attention_mask")
                    .ints();
            int[] segments = new int[mask.length];
            for (int i = 0; i < mask.length; i++) {
                segments[i] = mask[i] - 1;
            }
            return new Tokens(golden.get(prefix + "input_ids").ints(), (int) shape[0], (int) shape[1], null, segments);
        }

        void train() {
            SequenceClassifier model = base();
            Adapters adapters = Adapters.load(model, folder.resolve("init"));
            compare("logits.fresh", model, "", 5e-5);
            JsonObject o = facts.object("optimizer");
            AdamW rule = new AdamW(o.number("beta1"), o.number("beta2"), o.number("eps"), o.number("weight_decay"));
            double[] losses = facts.numbers("losses");
            try (Optimizer optimizer = new Optimizer(adapters.parameters(), rule, List.of())) {
                for (int i = 0; i < losses.length; i++) {
                    optimizer.zeroGrad();
                    double loss;
                    try (var _ = Memory.scope()) {
                        Tensor sum = Ops.sum(model.nll(tokens(""), labels));
                        Tape.backward(sum);
                        loss = sum.item() / labels.length;
                    }
                    close("loss " + i, new float[] {(float) loss}, new float[] {(float) losses[i]}, 1e-5);
                    compareGradients(adapters, i);
                    optimizer.step(1.0 / labels.length, o.number("lr"));
                }
            }
            long trained = adapters.parameters().values().stream()
                    .mapToLong(Tensor::size)
                    .sum();
            assertThat(trained).isEqualTo(facts.integer("trainable_parameters"));
            compare("logits.final", model, "", 2e-4);
            try (var _ = adapters.disabled()) {
                compare("logits.disabled", model, "", 5e-5);
            }
            adapters.parameters()
                    .forEach((name, p) -> close(
                            name, p.toArray(), file(folder).get(PREFIX + name).floats(), 2e-4));
        }

        private void compareGradients(Adapters adapters, int step) {
            String start = "grad" + step + "." + PREFIX;
            Set<String> recorded = golden.keySet().stream()
                    .filter(k -> k.startsWith(start))
                    .map(k -> k.substring(start.length()))
                    .collect(Collectors.toSet());
            assertThat(recorded).isIn(Set.of(), adapters.parameters().keySet());
            for (String name : recorded) {
                float[] g = adapters.parameters().get(name).grad().toArray(),
                        expected = golden.get(start + name).floats();
                float largest = 1e-3f;
                for (int i = 0; i < g.length; i++) {
                    g[i] /= labels.length;
                    largest = Math.max(largest, Math.abs(expected[i]));
                }
                close("gradient " + step + " of " + name, g, expected, 1e-4 * largest);
            }
        }

        void reload() {
            SequenceClassifier model = base();
            Adapters adapters = Adapters.load(model, folder);
            compare("logits.final", model, "", 5e-5);
            for (String key : golden.keySet()) { // left.logits: padding in front; inner_pad.logits: a padding id inside
                if (key.endsWith(".logits")) {
                    compare(key, model, key.substring(0, key.length() - "logits".length()), 5e-5);
                }
            }
            adapters.merge();
            compare("logits.final", model, "", 5e-5);
            Map<String, Tensor> weights = model.parameters();
            golden.keySet().stream()
                    .filter(k -> k.startsWith("merged."))
                    .forEach(key -> close(
                            key,
                            weights.get(key.substring("merged.".length())).toArray(),
                            golden.get(key).floats(),
                            1e-6));
            adapters.unmerge();
            compareFiles(adapters);
            assertThatThrownBy(() -> Adapters.load(base().body(), folder))
                    .hasMessage(folder.resolve("adapter_config.json")
                            + ": task_type SEQ_CLS needs a model with a head to classify with; this one has none");
        }

        private void compareFiles(Adapters adapters) {
            Path ours = temp.resolve(folder.getFileName().toString());
            adapters.save(ours);
            Map<String, StoredTensor> a = file(ours), b = file(folder);
            assertThat(new TreeSet<>(a.keySet())).isEqualTo(new TreeSet<>(b.keySet()));
            a.forEach((key, t) ->
                    assertThat(t.floats()).as(key).containsExactly(b.get(key).floats()));
            Map<String, Object> peft =
                    Json.read(folder.resolve("adapter_config.json")).map();
            Json.read(ours.resolve("adapter_config.json"))
                    .map()
                    .forEach((key, value) -> assertThat(value).as(key).isEqualTo(peft.get(key)));
        }

        private void compare(String key, SequenceClassifier model, String prefix, double tolerance) {
            try (var _ = Memory.scope();
                    var _ = Tape.pause()) {
                close(
                        key,
                        model.logits(tokens(prefix)).toArray(),
                        golden.get(key).floats(),
                        tolerance);
            }
        }

        private void close(String what, float[] actual, float[] expected, double tolerance) {
            assertThat(actual).as(folder.getFileName() + ": " + what).hasSameSizeAs(expected);
            for (int i = 0; i < expected.length; i++) {
                double d = Math.abs(actual[i] - expected[i]);
                assertThat(d)
                        .as("%s: %s[%d] is %s, expected %s", folder.getFileName(), what, i, actual[i], expected[i])
                        .isLessThanOrEqualTo(tolerance);
                worst = Math.max(worst, d);
            }
        }
    }
}
