package anneal.peft;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import anneal.ArenaFixture;
import anneal.tensor.Memory;
import anneal.tensor.Ops;
import anneal.tensor.Shape;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import anneal.train.AdamW;
import anneal.train.Loss;
import anneal.train.Schedule;
import anneal.train.TrainConfig;
import anneal.train.Trainer;
import java.nio.file.Path;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.function.IntFunction;
import org.junit.jupiter.api.Test;

/** {@link Fisher}, {@link Ewc} and {@link OrthogonalLora} on numbers that can be followed by hand, in a trainer, and in files. */
class ContinualTest extends ArenaFixture {
    private Tensor parameter(float... values) {
        Tensor p = Tensor.allocate(arena, Shape.of(values.length)).trainable(true);
        p.set(values);
        return p;
    }

    /** The gradient of sum x p is x: examples (3, 1) and (-1, 2) have the squares (9, 1) and (1, 4), and the mean gradient (1, 1.5). */
    @Test
    void fisherIsTheMeanOfSquares() {
        Tensor p = parameter(5, 7);
        Fisher fisher = Fisher.of(
                () -> Map.of("p", p),
                List.of(new float[] {3, 1}, new float[] {-1, 2}),
                x -> Ops.sum(Ops.mul(p, Tensor.of(x, 2))));
        assertThat(fisher.weight().get("p").toArray()).containsExactly(5, 2.5f);
        assertThat(fisher.from().get("p").toArray()).containsExactly(5, 7);
        assertThat(p.hasGrad()).isFalse();
        p.set(new float[] {6, 5}); // moved by 1 and -2: 10 / 2 (5 * 1 + 2.5 * 4) = 75, gradient 10 (5, -5)
        Ewc ewc = new Ewc(() -> Map.of("p", p), fisher, 10);
        try (var _ = Memory.scope()) {
            Tensor penalty = ewc.penalty().orElseThrow();
            assertThat(penalty.item()).isEqualTo(75);
            Tape.backward(penalty);
        }
        assertThat(p.grad().toArray()).containsExactly(50, -50);
        Ewc twice = new Ewc(ewc, fisher, 2);
        try (var _ = Memory.scope()) {
            assertThat(twice.penalty().orElseThrow().item()).isEqualTo(90);
        }
    }

    @Test
    void aTaskIsSavedAndReadAgain() {
        Tensor p = parameter(1, 2, 3);
        Fisher fisher = Fisher.of(() -> Map.of("a.b", p), List.of(2f), x -> Ops.scale(Ops.sum(p), x));
        fisher.save(dir.resolve("task.safetensors"));
        Fisher read = Fisher.load(dir.resolve("task.safetensors"));
        assertThat(read.weight().get("a.b").toArray()).containsExactly(4, 4, 4);
        assertThat(read.from().get("a.b").toArray()).containsExactly(1, 2, 3);
        AdapterContract.disturb(saved());
        Path lora = dir.resolve("lora");
        assertThatThrownBy(() -> Fisher.load(lora.resolve("adapter_model.safetensors")))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("begins neither with from. nor with fisher.");
        assertThat(OrthogonalLora.read(lora).keySet())
                .containsExactlyInAnyOrder(
                        "model.layers.0.self_attn.q_proj.lora_A.weight",
                        "model.layers.1.self_attn.q_proj.lora_A.weight");
        assertThatThrownBy(() -> OrthogonalLora.read(dir)).hasMessageContaining("adapter_model.safetensors");
    }

    private Adapters saved() {
        Adapters adapters = Lora.rank(2).on("q_proj").attach(new TinyModel(arena, 2), 1);
        adapters.save(dir.resolve("lora"));
        return adapters;
    }

    /** One number between two tasks, (p - 1)^2 and (p - 4)^2: with a spring of stiffness s at 1 it ends at (4 + s) / (1 + s). */
    @Test
    void theTrainerHoldsWhatTheEarlierTaskNeeds() {
        double free = secondTask(0), held = secondTask(6);
        assertThat(free).isCloseTo(4, within(0.02));
        // Stiffness: F of (p - 1)^2 at 1.5 is (2 * 0.5)^2 = 1; 6 / 2 F (p - 1.5)^2 has its half way where 2 (p - 4) + 6
        // (p - 1.5) = 0
        assertThat(held).isCloseTo((2 * 4 + 6 * 1.5) / 8, within(0.02));
    }

    private double secondTask(double lambda) {
        Tensor p = parameter(1.5f);
        Fisher fisher = Fisher.of(() -> Map.of("p", p), List.of(1f), x -> distance(p, x));
        IntFunction<Iterator<Float>> data = epoch -> List.of(4f, 4f).iterator();
        TrainConfig config = TrainConfig.builder()
                .steps(400)
                .accumulate(2)
                .schedule(new Schedule.Constant(2e-2))
                .build();
        try (Trainer trainer = new Trainer(new Ewc(() -> Map.of("p", p), fisher, lambda), new AdamW(0), config)) {
            trainer.fit(data, x -> new Loss(distance(p, x), 1));
        }
        return p.item();
    }

    private static Tensor distance(Tensor p, float to) {
        Tensor d = Ops.sub(p, Tensor.of(new float[] {to}, 1));
        return Ops.mul(d, d);
    }

    @Test
    void aSecondLoraKeepsAwayFromTheFirst() {
        TinyModel model = new TinyModel(arena, 2);
        Adapters first = Lora.rank(2).on("q_proj", "v_proj").attach(model, 1);
        AdapterContract.disturb(first);
        first.merge();
        Adapters second = Lora.rank(2).on("q_proj").attach(model, 2);
        OrthogonalLora apart = new OrthogonalLora(second, List.of(first.parameters()), 0.5, 0);
        double before = overlap(apart);
        assertThat(before).isGreaterThan(0.1);
        TrainConfig config = TrainConfig.builder()
                .steps(200)
                .schedule(new Schedule.LinearDecay(1e-2, 0))
                .build();
        try (Trainer trainer = new Trainer(apart, new AdamW(0), config)) {
            trainer.fit(
                    epoch -> List.of(0).iterator(),
                    x -> new Loss(Ops.scale(Ops.sum(Ops.logSoftmax(model.forward())), -1e-3f), 5));
        }
        assertThat(overlap(apart)).isLessThan(before / 20);
        assertThat(first.parameters().values()).noneMatch(Tensor::hasGrad); // the first task's stay as they are
        second.disabled().close();
    }

    private static double overlap(OrthogonalLora method) {
        try (var _ = Memory.scope();
                var _ = Tape.pause()) {
            return method.overlaps().item();
        }
    }

    @Test
    void saysWhatDoesNotFit() {
        Tensor p = parameter(1, 2), q = parameter(1);
        Fisher fisher = Fisher.of(() -> Map.of("p", p), List.of(1), x -> Ops.sum(p));
        refused(
                () -> Fisher.of(() -> Map.of("p", p), List.of(), x -> Ops.sum(p)),
                "Fisher: there is no example to measure the task by");
        refused(
                () -> Fisher.of(
                        () -> Map.of("p", p), List.of(1, 2), x -> Ops.scale(Ops.sum(p), x == 2 ? Float.NaN : 1)),
                "Fisher: the loss of example 1 is NaN, which is not finite");
        refused(
                () -> new Ewc(() -> Map.of("p", p), fisher, -1),
                "Ewc: lambda -1.0 must be a number that is not negative");
        refused(
                () -> new Ewc(() -> Map.of("q", q), fisher, 1),
                "Ewc: the task was not measured for [q], and was measured for what is not trained, [p]");
        refused(() -> new Ewc(() -> Map.of("p", q), fisher, 1), "Ewc: p [1] was measured as [2]");
        refused(
                () -> new OrthogonalLora(() -> Map.of("p", p), List.of(), 1, 0),
                "OrthogonalLora: what is trained has no lora_A.weight, so it is no LoRA");
        Tensor a = Tensor.zeros(2, 3);
        Map<String, Tensor> lora = Map.of("x.lora_A.weight", a);
        refused(
                () -> new OrthogonalLora(() -> lora, List.of(lora), 1, Double.NaN),
                "OrthogonalLora: size NaN must be a number that is not negative");
        refused(
                () -> new OrthogonalLora(() -> lora, List.of(lora, Map.of("y.lora_A.weight", a)), 1, 0),
                "OrthogonalLora: earlier task 1 has no layer in common with this one; it has [y.lora_A.weight]");
        refused(
                () -> new OrthogonalLora(() -> lora, List.of(Map.of("x.lora_A.weight", Tensor.zeros(2, 4))), 1, 0),
                "OrthogonalLora: x.lora_A.weight [2, 3] does not fit that of earlier task 0, [2, 4]: rows must be equally"
                        + " long");
    }
}
