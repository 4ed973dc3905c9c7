package anneal.peft;

import static org.assertj.core.api.Assertions.assertThat;

import anneal.Golden;
import anneal.io.Json;
import anneal.io.JsonObject;
import anneal.io.Safetensors;
import anneal.io.StoredTensor;
import anneal.model.Decoder;
import anneal.model.ModelFiles;
import anneal.model.Tokens;
import anneal.peft.Combination.Kind;
import anneal.peft.Combination.Majority;
import anneal.tensor.Memory;
import anneal.tensor.Tape;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/** Several adapters in one model, and combinations of them, against PEFT's: golden/peft/combine and folders of its form. */
class CombineGoldenTest {
    private static int cases;
    private static double worst;

    @TestFactory
    Stream<DynamicTest> combinations() {
        return Golden.cases("peft").stream()
                .filter(CombineGoldenTest::isCombination)
                .flatMap(folder -> {
                    Map<String, Object> all = Json.read(folder.resolve("golden.json"))
                            .object("cases")
                            .map();
                    return Stream.concat(
                            Stream.of(DynamicTest.dynamicTest("use", () -> inModel(folder, Case::use))),
                            all.keySet().stream()
                                    .map(name -> DynamicTest.dynamicTest(
                                            name, () -> inModel(folder, c -> c.combine(name)))));
                });
    }

    static boolean isCombination(Path folder) {
        Path facts = folder.resolve("golden.json");
        return Files.exists(facts) && Json.read(facts).has("cases") && Files.isDirectory(folder.resolve("a"));
    }

    private interface Check {
        void accept(Case c);
    }

    private static void inModel(Path folder, Check check) {
        try (Arena arena = Arena.ofShared()) {
            check.accept(new Case(folder, arena));
        } finally {
            Tape.clear();
        }
        cases++;
    }

    @AfterAll
    static void report() {
        Assumptions.assumeTrue(Golden.cases("peft").stream().anyMatch(CombineGoldenTest::isCombination));
        Golden.report("peft/combine", cases, worst);
    }

    private static final class Case {
        private final Path folder;
        private final Map<String, StoredTensor> golden;
        private final JsonObject facts;
        private final Decoder model;
        private final AdapterSet set;

        Case(Path folder, Arena arena) {
            this.folder = folder;
            golden = Safetensors.open(folder.resolve("golden.safetensors"), arena)
                    .tensors();
            facts = Json.read(folder.resolve("golden.json"));
            model = ModelFiles.load(folder.getParent().resolve(facts.string("base")), arena);
            set = new AdapterSet(model);
            for (Path adapter : folders()) {
                set.load(adapter.getFileName().toString(), adapter);
            }
        }

        private Iterable<Path> folders() {
            try (Stream<Path> s = Files.list(folder)) {
                return s.filter(Files::isDirectory).sorted().toList();
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }

        private float[] logits() {
            long[] shape = golden.get("input_ids").shape();
            try (var _ = Memory.scope();
                    var _ = Tape.pause()) {
                return model.logits(Tokens.of(golden.get("input_ids").ints(), (int) shape[0], (int) shape[1]))
                        .toArray();
            }
        }

        /** logits.a: that one; logits.a+b-active-together: both, in this order; logits.disabled: the base. */
        void use() {
            float[] base = logits();
            closeLogits("logits.disabled", base);
            for (String key : golden.keySet()) {
                String name = key.startsWith("logits.") ? key.substring("logits.".length()) : "";
                if (name.endsWith("-active-together")) {
                    set.use(name.replace("-active-together", "").split("\\+"));
                    closeLogits(key, logits());
                } else if (set.names().contains(name)) {
                    set.use(name);
                    closeLogits(key, logits());
                    assertThat(logits()).isNotEqualTo(base);
                }
            }
            try (var _ = set.disabled()) {
                assertThat(logits()).containsExactly(base);
            }
            set.use();
            assertThat(logits()).containsExactly(base);
        }

        void combine(String name) {
            JsonObject c = facts.object("cases").object(name);
            Map<String, Double> weights = new LinkedHashMap<>();
            double[] w = c.numbers("weights");
            for (int i = 0; i < w.length; i++) {
                weights.put(c.strings("adapters").get(i), w[i]);
            }
            Combination how = new Combination(
                    Kind.valueOf(c.string("combination_type").toUpperCase()),
                    c.integer("svd_rank", 0),
                    c.number("density", 1),
                    Majority.valueOf(c.string("majority_sign_method", "total").toUpperCase()),
                    0);
            Adapters combined = set.combine(name, how, weights);
            Lora lora = (Lora) combined.method();
            assertThat(lora.rank()).isEqualTo(c.integer("result_r"));
            assertThat(lora.alpha()).isEqualTo(c.number("result_lora_alpha"));
            for (String path : combined.paths()) {
                LowRank ab = LowRank.of(combined, path);
                close("A." + name + "." + path, ab.a(), 1e-6);
                close("B." + name + "." + path, ab.b(), 1e-6);
                close("delta." + name + "." + path, ab.product(lora.scaling(path)), 2e-6);
            }
            set.use(name);
            closeLogits("logits." + name, logits());
        }

        private void closeLogits(String key, float[] logits) {
            float[] actual = logits.clone();
            int[] mask = golden.get("attention_mask").ints();
            float[] expected = golden.get(key).floats();
            int v = actual.length / mask.length;
            for (int i = 0; i < actual.length; i++) {
                actual[i] = mask[i / v] == 0 ? expected[i] : actual[i];
            }
            close(key, actual, 5e-5);
        }

        /** Factors are recorded where they are unique, updates for some layers. */
        private void close(String key, float[] actual, double tolerance) {
            if (!golden.containsKey(key)) {
                assertThat(key).doesNotStartWith("logits.");
                return;
            }
            float[] expected = golden.get(key).floats();
            assertThat(actual).as(key).hasSameSizeAs(expected);
            double most = 0;
            for (int i = 0; i < expected.length; i++) {
                most = Math.max(most, Math.abs(actual[i] - expected[i]));
            }
            assertThat(most).as("%s: %s", folder.getFileName(), key).isLessThanOrEqualTo(tolerance);
            worst = Math.max(worst, most);
        }
    }
}
