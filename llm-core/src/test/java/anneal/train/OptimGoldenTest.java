package anneal.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import anneal.Golden;
import anneal.io.Json;
import anneal.io.JsonObject;
import anneal.io.Safetensors;
import anneal.io.StoredTensor;
import anneal.tensor.Shape;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;

/** Trajectories of torch's optimisers on recorded gradients, and of Lion by its paper. */
class OptimGoldenTest {
    /** Recorded too, and not offered here. */
    private static final Set<String> NOT_OFFERED = Set.of("amsgrad", "rmsprop", "adagrad", "adamax", "nadam");

    @Test
    void rulesFollowTheRecordedTrajectories() {
        int cases = 0;
        double worst = 0;
        for (Path facts : Golden.files("parts", "optim.*\\.json")) {
            JsonObject rules = Json.read(facts);
            Path data = facts.resolveSibling(facts.getFileName().toString().replace(".json", ".safetensors"));
            try (Arena arena = Arena.ofShared()) {
                Safetensors t = Safetensors.open(data, arena);
                for (String name : rules.keys()) {
                    if (!NOT_OFFERED.contains(name)) {
                        worst = Math.max(worst, follow(name, rules.object(name), t, arena));
                        cases++;
                    }
                }
            }
        }
        Golden.report("parts/optim", cases, worst);
    }

    private static double follow(String name, JsonObject options, Safetensors t, Arena arena) {
        StoredTensor start = t.get("start");
        Tensor p = Tensor.allocate(
                arena,
                Shape.of(java.util.Arrays.stream(start.shape())
                        .mapToInt(Math::toIntExact)
                        .toArray()));
        p.set(start.floats());
        double lr = options.number("lr"), worst = 0;
        int compared = 0;
        try (Optimizer o = new Optimizer(Map.of("p", p), rule(name, options), List.of())) {
            for (int i = 0; t.tensors().containsKey("gradient." + i); i++) {
                p.grad().set(t.get("gradient." + i).floats());
                o.step(1, name.startsWith("adafactor") ? Math.min(lr, 1 / Math.sqrt(i + 1)) : lr);
                StoredTensor expected = t.tensors().get(name + "." + i);
                if (expected != null) {
                    float[] want = expected.floats(), have = p.toArray();
                    for (int k = 0; k < want.length; k++) {
                        assertThat(have[k])
                                .as("%s step %d [%d]", options.where(), i, k)
                                .isCloseTo(want[k], within(3e-6f));
                        worst = Math.max(worst, Math.abs(have[k] - want[k]));
                    }
                    compared++;
                }
            }
        }
        assertThat(compared).as("snapshots of " + name).isPositive();
        return worst;
    }

    /** torch's defaults for what the options do not say. */
    private static UpdateRule rule(String name, JsonObject o) {
        double[] betas = o.has("betas") ? o.numbers("betas") : new double[] {0.9, 0.999};
        double eps = o.number("eps", 1e-8), decay = o.number("weight_decay", name.startsWith("adamw") ? 0.01 : 0);
        return switch (name.split("-")[0]) {
            case "adamw" -> new AdamW(betas[0], betas[1], eps, decay);
            case "adam" -> new Adam(betas[0], betas[1], eps, decay);
            case "sgd" -> new Sgd(o.number("momentum", 0), o.number("dampening", 0), o.flag("nesterov", false), decay);
            case "lion" -> new Lion(betas[0], betas[1], decay);
            // torch's Adafactor is the paper's with steps in proportion to the parameter and a rate of min(lr,
            // 1/sqrt(t)).
            case "adafactor" -> new Adafactor(true, false, false, o.number("d", 1), -0.8, 0, 1e-30, 1e-3, decay);
            default -> throw new AssertionError("no rule for the recorded trajectory " + name);
        };
    }
}
