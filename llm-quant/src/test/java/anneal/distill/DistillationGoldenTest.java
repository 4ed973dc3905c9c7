package anneal.distill;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.fail;
import static org.assertj.core.api.Assertions.within;

import anneal.Golden;
import anneal.io.Json;
import anneal.io.JsonObject;
import anneal.io.Safetensors;
import anneal.io.StoredTensor;
import anneal.tensor.DistillOps;
import anneal.tensor.Memory;
import anneal.tensor.Ops;
import anneal.tensor.Shape;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/** Losses and gradients of torch and TRL, means over the positions of the mask. */
class DistillationGoldenTest {
    private static final Pattern KL = Pattern.compile("(forward|reverse)_kl\\.T([\\d.]+)\\.mean_times_T2");
    private static final Pattern JSD = Pattern.compile("trl_generalized_jsd\\.beta([\\d.]+)\\.T([\\d.]+)");

    private double worst = 0;

    @Test
    void lossesAndGradientsAreTheRecordedOnes() {
        int cases = 0;
        for (Path file : Golden.files("quant", "distillation.*\\.json")) {
            JsonObject losses = Json.read(file);
            Path data = file.resolveSibling(file.getFileName().toString().replace(".json", ".safetensors"));
            for (String name : losses.keys()) {
                try (Arena arena = Arena.ofShared();
                        Memory.Scope scope = Memory.scope()) {
                    check(Safetensors.open(data, arena), name, losses.number(name), arena);
                    cases++;
                }
            }
        }
        Golden.report("quant/distillation", cases, worst);
    }

    private void check(Safetensors t, String name, double loss, Arena arena) {
        boolean hidden = name.equals("hidden_mse");
        Tensor student =
                tensor(t.get(hidden ? "hidden_student" : "student"), arena).trainable(true);
        int[] mask = t.get("mask").ints();
        int[] rows = IntStream.range(0, mask.length).filter(i -> mask[i] == 1).toArray();
        Tensor own = rows(student, rows),
                wanted = rows(tensor(t.get(hidden ? "hidden_teacher" : "teacher"), arena), rows);
        Tensor each = hidden
                ? DistillOps.meanSquare(Ops.matmulT(own, tensor(t.get("projection"), arena)), wanted)
                : targets(name).loss(own, wanted);
        Tensor mean = Ops.scale(Ops.sum(each), 1f / rows.length);
        assertThat((double) mean.item()).as(name).isCloseTo(loss, within(2e-6 * Math.max(1, Math.abs(loss))));
        Tape.backward(mean);
        float[] have = student.grad().toArray(),
                expected = t.get("grad." + name).floats();
        for (int i = 0; i < have.length; i++) {
            worst = Math.max(worst, Math.abs(have[i] - expected[i]));
            assertThat(have[i]).as("grad.%s [%d]", name, i).isCloseTo(expected[i], within(1e-6f));
        }
    }

    private static SoftTargets targets(String name) {
        Matcher kl = KL.matcher(name), jsd = JSD.matcher(name);
        if (kl.matches()) {
            double temperature = Double.parseDouble(kl.group(2));
            return kl.group(1).equals("forward") ? SoftTargets.forward(temperature) : SoftTargets.reverse(temperature);
        }
        return jsd.matches()
                ? SoftTargets.jensenShannon(Double.parseDouble(jsd.group(1)), Double.parseDouble(jsd.group(2)))
                : fail("no such loss here: " + name);
    }

    private static Tensor rows(Tensor x, int[] rows) {
        return Ops.rows(x.view(x.rowCount(), x.rowSize()), rows);
    }

    private static Tensor tensor(StoredTensor t, Arena arena) {
        int[] dims = IntStream.range(0, t.shape().length)
                .map(i -> (int) t.shape()[i])
                .toArray();
        Tensor x = Tensor.allocate(arena, Shape.of(dims));
        x.set(t.floats());
        return x;
    }
}
