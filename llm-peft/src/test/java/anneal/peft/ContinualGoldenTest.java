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
import anneal.nn.Trainable;
import anneal.tensor.Memory;
import anneal.tensor.NllOptions;
import anneal.tensor.Ops;
import anneal.tensor.Shape;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/** {@link Ewc}, {@link Fisher} and {@link OrthogonalLora} against PyTorch's numbers: folders of golden/peft with their files. */
class ContinualGoldenTest {
    private static int cases;
    private static double worst;

    static boolean isContinual(Path folder) {
        return Files.exists(folder.resolve("ewc.json")) || Files.exists(folder.resolve("olora.json"));
    }

    private static List<Path> folders() {
        return Golden.cases("peft").stream()
                .filter(ContinualGoldenTest::isContinual)
                .toList();
    }

    @TestFactory
    Stream<DynamicTest> pytorchsNumbers() {
        return folders().stream()
                .flatMap(f -> Stream.of(test(f, "ewc", Ewc.class), test(f, "olora", OrthogonalLora.class)));
    }

    private static DynamicTest test(Path folder, String name, Class<?> method) {
        return DynamicTest.dynamicTest(folder.getFileName() + "/" + name, () -> {
            try (Arena arena = Arena.ofShared()) {
                JsonObject facts = Json.read(folder.resolve(name + ".json"));
                Map<String, StoredTensor> golden = Safetensors.open(folder.resolve(name + ".safetensors"), arena)
                        .tensors();
                if (method == Ewc.class) {
                    ewc(folder, facts, golden, arena);
                } else {
                    olora(facts, golden, arena);
                }
                cases++;
            } finally {
                Tape.clear();
            }
        });
    }

    @AfterAll
    static void report() {
        Assumptions.assumeFalse(folders().isEmpty());
        Golden.report("peft/continual", cases, worst);
    }

    // ---------------------------------------------------------------- EWC

    private static void ewc(Path folder, JsonObject facts, Map<String, StoredTensor> golden, Arena arena) {
        Decoder model = ModelFiles.load(folder.getParent().resolve(facts.string("base")), arena);
        int count = facts.integer("examples"),
                length = (int) golden.get("input_ids").shape()[1];
        int[] ids = golden.get("input_ids").ints(),
                labels = golden.get("labels").ints();
        Map<String, Tensor> parameters = trained(model, golden, arena);
        double[] nll = facts.numbers("per_example_nll");
        Fisher fisher =
                Fisher.of(() -> parameters, IntStream.range(0, count).boxed().toList(), n -> {
                    Tensor mean = nll(model, row(ids, n, length), row(labels, n, length));
                    close("nll of example " + n, mean.item(), nll[n], 1e-5);
                    return mean;
                });
        double sum = 0;
        for (Map.Entry<String, Tensor> e : fisher.weight().entrySet()) {
            float[] expected = golden.get("fisher." + e.getKey()).floats(),
                    ours = e.getValue().toArray();
            close("Fisher of " + e.getKey(), ours, expected, 1e-4 * largest(expected));
            for (float f : ours) {
                sum += f;
            }
        }
        close("sum of Fisher", sum, facts.number("sum_fisher"), 1e-4 * facts.number("sum_fisher"));
        assertThat(sum)
                .as("not the square of the mean gradient")
                .isGreaterThan(2 * facts.number("sum_of_squared_mean_gradient_for_contrast"));

        parameters.forEach((name, p) -> p.set(golden.get("theta." + name).floats()));
        Ewc ewc = new Ewc(() -> parameters, fisher, facts.number("fisher_lambda"));
        try (var _ = Memory.scope()) {
            Tensor penalty = ewc.penalty().orElseThrow();
            close("penalty", penalty.item(), facts.number("penalty"), 1e-4 * facts.number("penalty"));
            Tape.backward(penalty);
        }
        golden.forEach((key, expected) -> {
            if (key.startsWith("grad.")) {
                float[] e = expected.floats();
                Tensor p = parameters.get(key.substring("grad.".length()));
                close(key, p.grad().toArray(), e, 1e-4 * largest(e));
            }
        });
    }

    /** The model's own parameters, all that the file has a Fisher of, and nothing else. */
    private static Map<String, Tensor> trained(Decoder model, Map<String, StoredTensor> golden, Arena arena) {
        Map<String, Tensor> all = new TreeMap<>();
        all.putAll(model.train(arena).parameters());
        assertThat(all.keySet())
                .isEqualTo(new TreeMap<>(golden)
                        .subMap("theta.", "theta/").keySet().stream()
                                .map(k -> k.substring("theta.".length()))
                                .collect(Collectors.toSet()));
        return all;
    }

    private static int[] row(int[] all, int n, int length) {
        return Arrays.copyOfRange(all, n * length, (n + 1) * length);
    }

    /** The mean over the labelled tokens, labels being ids one place to the left of their targets. */
    private static Tensor nll(Decoder model, int[] ids, int[] labels) {
        int[] targets = new int[ids.length];
        int trained = 0;
        for (int i = 0; i < ids.length; i++) {
            targets[i] = i == ids.length - 1 || labels[i + 1] < 0 ? -1 : labels[i + 1];
            trained += targets[i] < 0 ? 0 : 1;
        }
        Tensor sum = Ops.sum(model.nll(Tokens.of(ids, 1, ids.length), targets, NllOptions.PLAIN));
        return Ops.scale(sum, 1f / trained);
    }

    // ---------------------------------------------------------------- O-LoRA

    private static void olora(JsonObject facts, Map<String, StoredTensor> golden, Arena arena) {
        Map<String, Tensor> now = new LinkedHashMap<>();
        Map<String, Map<String, Tensor>> earlier = new TreeMap<>();
        golden.forEach((key, t) -> {
            String module = key.substring(0, key.lastIndexOf('.')), end = key.substring(key.lastIndexOf('.') + 1);
            if (end.equals("A_new") || end.equals("B_new")) {
                now.put(
                        module + ".lora_" + end.charAt(0) + ".weight",
                        tensor(t, arena).trainable(true));
            } else if (end.startsWith("A_task")) {
                earlier.computeIfAbsent(end, e -> new LinkedHashMap<>())
                        .put(module + ".lora_A.weight", tensor(t, arena));
            }
        });
        assertThat(earlier).hasSizeGreaterThan(1);
        List<Map<String, Tensor>> tasks = List.copyOf(earlier.values());
        Trainable lora = () -> now;
        double lambda1 = facts.number("lambda1"), lambda2 = facts.number("lambda2");
        try (var _ = Memory.scope()) {
            OrthogonalLora both = new OrthogonalLora(lora, tasks, lambda1, lambda2);
            close("overlap", both.overlaps().item(), facts.number("orth"), 1e-4);
            close("penalty", both.penalty().orElseThrow().item(), facts.number("penalty"), 1e-4);
            Tape.clear();
        }
        gradients(new OrthogonalLora(lora, tasks, 1, 0), now, golden, "grad_orth_wrt_A_new");
        gradients(new OrthogonalLora(lora, tasks, 0, 1), now, golden, "grad_l2_wrt_A_new");
        JsonObject modules = facts.object("per_module");
        for (String module : modules.keys()) {
            Map<String, Tensor> one = new LinkedHashMap<>(now);
            one.keySet().removeIf(name -> !name.startsWith(module + "."));
            try (var _ = Memory.scope()) {
                JsonObject expected = modules.object(module);
                close(
                        module,
                        new OrthogonalLora(() -> one, tasks, 1, 0).overlaps().item(),
                        expected.number("orth_f64"),
                        1e-5);
                Tensor size = new OrthogonalLora(() -> one, tasks, 0, 1).term();
                close(module, size.item(), expected.number("l2"), 1e-5);
            } finally {
                Tape.clear();
            }
        }
    }

    private static void gradients(
            OrthogonalLora method, Map<String, Tensor> now, Map<String, StoredTensor> golden, String recorded) {
        now.values().forEach(Tensor::zeroGrad);
        try (var _ = Memory.scope()) {
            Tape.backward(method.penalty().orElseThrow());
        }
        now.forEach((name, p) -> {
            if (name.endsWith(".lora_A.weight")) {
                String key = name.substring(0, name.length() - "lora_A.weight".length()) + recorded;
                close(key, p.grad().toArray(), golden.get(key).floats(), 1e-5);
            }
        });
    }

    private static Tensor tensor(StoredTensor t, Arena arena) {
        Tensor x = Tensor.allocate(
                arena,
                Shape.of(Arrays.stream(t.shape()).mapToInt(Math::toIntExact).toArray()));
        x.set(t.floats());
        return x;
    }

    // ---------------------------------------------------------------- comparing

    private static float largest(float[] x) {
        float most = 1e-6f;
        for (float v : x) {
            most = Math.max(most, Math.abs(v));
        }
        return most;
    }

    private static void close(String what, float[] actual, float[] expected, double tolerance) {
        assertThat(actual).as(what).hasSameSizeAs(expected);
        for (int i = 0; i < expected.length; i++) {
            close(what + "[" + i + "]", actual[i], expected[i], tolerance);
        }
    }

    private static void close(String what, double actual, double expected, double tolerance) {
        double d = Math.abs(actual - expected);
        assertThat(d).as("%s is %s, expected %s", what, actual, expected).isLessThanOrEqualTo(tolerance);
        worst = Math.max(worst, d);
    }
}
