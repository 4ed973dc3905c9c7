package anneal.peft;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import anneal.ArenaFixture;
import anneal.kernels.F32Matrix;
import anneal.nn.DenseWeight;
import anneal.nn.Embedding;
import anneal.nn.Linear;
import anneal.nn.Module;
import anneal.nn.StoredWeight;
import anneal.tensor.DType;
import anneal.tensor.Linalg;
import anneal.tensor.Memory;
import anneal.tensor.Ops;
import anneal.tensor.Rng;
import anneal.tensor.Shape;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.reflect.RecordComponent;
import java.nio.file.Files;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import org.junit.jupiter.api.Test;

/** Every component of every record of the LoRA family changes something; what does not go together is named. */
class LoraOptionsTest extends ArenaFixture {
    private TinyModel model() {
        return new TinyModel(arena, 2);
    }

    private static Lora.Builder plain() {
        return Lora.rank(3).alpha(5).init(Lora.Init.RANDOM).on("q_proj", "up_proj");
    }

    /** Logits with and without dropout's noise, names of what is trained, the name in the file. */
    private String signature(Lora lora) throws IOException {
        TinyModel m = model();
        Adapters adapters = lora.attach(m, 5);
        String training;
        try (var _ = Memory.scope()) {
            Tape.noise().restore(3);
            training = Arrays.toString(m.forward().toArray());
        }
        Tape.clear();
        adapters.save(dir);
        boolean named = Files.readString(dir.resolve("adapter_config.json")).contains("somebody/base");
        return Arrays.toString(AdapterContract.logits(m))
                + training
                + adapters.parameters().keySet()
                + named;
    }

    private static void names(Class<? extends Record> type, Map<String, ?> variants) {
        assertThat(Arrays.stream(type.getRecordComponents()).map(RecordComponent::getName))
                .containsExactlyInAnyOrderElementsOf(variants.keySet());
    }

    @Test
    void ofLora() throws IOException {
        Map<String, Lora.Builder> variants = new LinkedHashMap<>();
        variants.put("rank", Lora.rank(4).alpha(5).init(Lora.Init.RANDOM).on("q_proj", "up_proj"));
        variants.put("alpha", plain().alpha(6));
        variants.put("dropout", plain().dropout(0.5));
        variants.put("bias", plain().bias(Bias.ALL));
        variants.put("targets", plain().on("q_proj"));
        variants.put("rankPattern", plain().rankOf("q_proj", 2));
        variants.put("alphaPattern", plain().alphaOf("q_proj", 2));
        variants.put("rsLora", plain().rsLora());
        variants.put("init", plain().init(Lora.Init.GAUSSIAN));
        variants.put("dora", plain().dora());
        variants.put("modulesToSave", plain().save("lm_head"));
        variants.put("baseModel", plain().baseModel("somebody/base"));
        names(Lora.class, variants);
        String before = signature(plain().build());
        assertThat(signature(plain().build())).isEqualTo(before);
        for (Map.Entry<String, Lora.Builder> e : variants.entrySet()) {
            assertThat(signature(e.getValue().build())).as(e.getKey()).isNotEqualTo(before);
        }
    }

    private static Tensor gaussian(int rows, int columns, long seed) {
        Rng rng = new Rng(seed);
        float[] x = new float[rows * columns];
        for (int i = 0; i < x.length; i++) {
            x[i] = (float) rng.nextGaussian();
        }
        return Tensor.of(x, rows, columns);
    }

    private static float[] numbers(LoraInit init) {
        LoraStart s = LoraStart.of(init, gaussian(24, 70, 1), 3, 2, gaussian(24, 70, 2));
        return Ops.matmul(s.b(), s.a()).toArray();
    }

    @Test
    void ofInits() {
        assertThat(numbers(new LoraInit.Pissa(0))).isNotEqualTo(numbers(new LoraInit.Pissa()));
        Map<String, LoraInit> quantised =
                Map.of("bits", new LoraInit.LoftQ(8, 1), "iterations", new LoraInit.LoftQ(4, 2));
        names(LoraInit.LoftQ.class, quantised);
        quantised.forEach(
                (name, init) -> assertThat(numbers(init)).as(name).isNotEqualTo(numbers(new LoraInit.LoftQ(4, 1))));
        LoraInit.LoraGa ga = new LoraInit.LoraGa();
        names(LoraInit.LoraGa.class, Map.of("direction", 1, "scale", 1, "gamma", 1));
        for (LoraInit.LoraGa.Direction d : LoraInit.LoraGa.Direction.values()) {
            for (LoraInit.LoraGa.Scale s : LoraInit.LoraGa.Scale.values()) {
                if (d != ga.direction() || s != ga.scale()) {
                    assertThat(numbers(new LoraInit.LoraGa(d, s, 16))).isNotEqualTo(numbers(ga));
                }
            }
        }
        assertThat(numbers(new LoraInit.LoraGa(ga.direction(), ga.scale(), 4))).isNotEqualTo(numbers(ga));
    }

    @Test
    void moreTurnsOfLoftQLeaveLess() {
        Tensor w = gaussian(40, 64, 3);
        double last = Double.MAX_VALUE;
        for (int turns : new int[] {1, 3, 6}) {
            LoraStart s = LoraStart.of(new LoraInit.LoftQ(4, turns), w, 8, 1, null);
            Tensor rest = Ops.sub(Ops.sub(w, s.base()), Ops.matmul(s.b(), s.a()));
            double left = 0;
            for (float x : rest.toArray()) {
                left += x * x;
            }
            assertThat(left).isLessThan(last);
            last = left;
        }
    }

    @Test
    void pissaTakesTheLargestDirections() {
        Tensor w = gaussian(9, 7, 4);
        LoraStart s = LoraStart.of(new LoraInit.Pissa(), w, 2, 2.5, null);
        float[] left = Linalg.svd(s.base()).s().toArray(),
                all = Linalg.svd(w).s().toArray();
        for (int i = 0; i < 5; i++) {
            assertThat(left[i]).isCloseTo(all[i + 2], org.assertj.core.api.Assertions.within(1e-5f));
        }
    }

    @Test
    void evaTakesTheDirectionsOfTheInputsAndMovesRanksToWhereTheyAreNeeded() {
        Map<String, Linear> layers = new LinkedHashMap<>();
        Map<String, LoraData.Inputs> inputs = new LinkedHashMap<>();
        float[][] x = {{3, 1, 5}, {0, 1, 0}, {0, 0, 0}}; // lengths of the three axes that inputs vary along
        for (int i = 0; i < x.length; i++) {
            layers.put("l." + i, new Linear(new DenseWeight(gaussian(3, 3, i)), null));
            inputs.put("l." + i, new LoraData.Inputs(3));
            for (int axis = 0; axis < 3; axis++) {
                float[] there = {7, 7, 7}, back = {7, 7, 7};
                there[axis] += x[i][axis];
                back[axis] -= x[i][axis];
                inputs.get("l." + i).add(Tensor.of(there, 1, 3));
                inputs.get("l." + i).add(Tensor.of(back, 1, 3));
            }
        }
        Lora lora = Lora.rank(1).alpha(6).on(Targets.ALL_LINEAR).build();
        EvaRanks found = EvaRanks.of(lora, new LoraInit.Eva(2), layers, inputs);
        assertThat(found.lora().targets())
                .isEqualTo(Targets.exactly(List.of("l.0", "l.1"))); // l.2 always reads the same
        assertThat(found.lora().rankPattern()).isEqualTo(Map.of("l.0", 2));
        assertThat(found.lora().scaling("l.0")).isEqualTo(6);
        assertThat(found.rows().get("l.0").toArray()).satisfies(a -> {
            assertThat(Math.abs(a[2])).isCloseTo(1, org.assertj.core.api.Assertions.within(1e-6f));
            assertThat(Math.abs(a[3])).isCloseTo(1, org.assertj.core.api.Assertions.within(1e-6f));
        });
        assertThat(Math.abs(found.rows().get("l.1").get(1)))
                .isCloseTo(1, org.assertj.core.api.Assertions.within(1e-6f));
    }

    // ---------------------------------------------------------------- LoRA+ and LoRA-FA

    @Test
    void ofLoraPlus() {
        Adapters adapters = plain().dora().attach(model());
        List<LoraPlus.Group> groups = new LoraPlus(4, 0.5).groups(adapters);
        assertThat(groups)
                .containsExactly(
                        new LoraPlus.Group("lora_B\\.weight$", 4, true),
                        new LoraPlus.Group("(bias|lora_magnitude_vector)$", 4, false));
        Adapters tables = Lora.rank(2).on("embed_tokens").attach(new Tokens(arena));
        assertThat(new LoraPlus(4, 0.5).groups(tables))
                .containsExactly(new LoraPlus.Group("lora_embedding_[AB]$", 0.5, true));
        assertThatThrownBy(() -> new LoraPlus(0.5, 1)).hasMessage("LoraPlus: ratio 0.5 must be a number of at least 1");
        assertThatThrownBy(() -> new LoraPlus(2, -1))
                .hasMessage("LoraPlus: embeddingFactor -1.0 must be a number of at least 0");
    }

    @Test
    void aFrozenFactorStaysAndIsSaved() {
        TinyModel m = model();
        Adapters adapters = plain().attach(m);
        Map<String, Tensor> before = adapters.parameters();
        adapters.freeze("lora_A");
        assertThat(adapters.parameters().keySet()).hasSize(4).allMatch(name -> name.contains("lora_B"));
        try (var _ = Memory.scope()) {
            Tape.backward(Ops.sum(m.forward()));
        }
        before.forEach((name, p) -> assertThat(p.hasGrad()).as(name).isEqualTo(name.contains("lora_B")));
        adapters.save(dir);
        assertThat(Adapters.load(model(), dir).parameters().keySet()).isEqualTo(before.keySet());
        assertThatThrownBy(() -> adapters.freeze("lora_E"))
                .hasMessage("freeze: lora_E fits none of the 4 trained parameters");
        assertThatThrownBy(() -> adapters.freeze("lora"))
                .hasMessage("freeze: lora fits all of the 4 trained parameters");
    }

    // ---------------------------------------------------------------- embeddings

    /** A table of tokens from a file, and a layer with bias. */
    private static final class Tokens extends Module {
        final Embedding table;
        final Linear head;

        Tokens(Arena arena) {
            Tensor w = Tensor.allocate(arena, Shape.of(11, 6)), v = Tensor.allocate(arena, Shape.of(4, 6));
            w.set(gaussian(11, 6, 8));
            v.set(gaussian(4, 6, 9));
            Tensor bias = Tensor.allocate(arena, Shape.of(4));
            table = child("embed_tokens", new Embedding(new StoredWeight(new F32Matrix(w.buf(), 11, 6), DType.F32)));
            head = child("score", new Linear(new DenseWeight(v), bias));
        }

        float[] forward() {
            try (var _ = Memory.scope();
                    var _ = Tape.pause()) {
                return head.forward(table.forward(new int[] {3, 0, 3, 10})).toArray();
            }
        }
    }

    @Test
    void anEmbeddingAndAModuleToSaveFollowTheContract() {
        follow(Lora.rank(2).on("embed_tokens").save("score"));
    }

    @Test
    void anEmbeddingWithLengthsFollowsTheContract() {
        follow(Lora.rank(2).dora().on("embed_tokens").save("score"));
    }

    private void follow(Lora.Builder options) {
        Tokens m = new Tokens(arena);
        float[] base = m.forward();
        Adapters adapters = options.attach(m);
        AdapterContract.assertClose(m.forward(), base, 1e-6);
        AdapterContract.disturb(adapters);
        float[] adapted = m.forward();
        assertThat(adapted).isNotEqualTo(base);
        try (var _ = adapters.disabled()) {
            assertThat(m.forward()).containsExactly(base);
        }
        assertThat(m.forward()).containsExactly(adapted);
        adapters.save(dir);
        Tokens other = new Tokens(arena);
        assertThat(Adapters.load(other, dir).parameters().keySet())
                .containsExactlyElementsOf(adapters.parameters().keySet())
                .contains(
                        "embed_tokens.lora_embedding_A", "embed_tokens.lora_embedding_B", "score.weight", "score.bias");
        assertThat(other.forward()).containsExactly(adapted);
        MergeReport report = adapters.merge(() -> m.head.forward(m.table.forward(new int[] {3, 0, 3, 10})), 1e-5);
        assertThat(report.layers()).extracting(MergeReport.Layer::path).containsExactly("embed_tokens", "score");
        AdapterContract.assertClose(m.forward(), adapted, 1e-6);
        adapters.unmerge();
        adapters.merge();
        AdapterContract.assertClose(m.forward(), adapted, 1e-6);
        assertThat(m.table.plug()).isEqualTo(Embedding.Plug.NONE);
        adapters.unmerge();
        assertThat(m.forward()).containsExactly(adapted);
        adapters.detach();
        assertThat(m.forward()).containsExactly(base);
    }

    // ---------------------------------------------------------------- bad input

    @Test
    void whatDoesNotFitIsNamed() {
        Function<Lora.Builder, org.assertj.core.api.AbstractThrowableAssert<?, ?>> refused = options ->
                assertThatThrownBy(() -> options.attach(model())).isInstanceOf(IllegalArgumentException.class);
        refused.apply(Lora.rank(13).on("up_proj"))
                .hasMessage("lora: rank 13 is above what model.layers.0.mlp.up_proj [18, 12] can have: at most 12");
        refused.apply(plain().init(new LoraInit.Eva()))
                .hasMessage(
                        "Lora: init Eva[rho=2.0, adjustScaling=true, whiten=false] looks at data: attach(model, seed, batch)");
        refused.apply(plain().save("nothing")).hasMessage("modules_to_save: no module fits nothing");
        refused.apply(plain().save("layers.0"))
                .hasMessage(
                        "modules_to_save: model.layers.0 is a Block; linear layers and embeddings can be trained whole");
        refused.apply(plain().save("0.mlp.up_proj"))
                .hasMessage("modules_to_save: model.layers.0.mlp.up_proj is a target of the method too");
        refused.apply(plain().alpha(-1).init(new LoraInit.Pissa()))
                .hasMessage("pissa: the scaling -0.3333333333333333 must be positive, its root is taken");
        assertThatThrownBy(() -> plain().attach(model(), 0, () -> {}))
                .hasMessage("Lora: init RANDOM looks at no data: attach(model, seed)");
        assertThatThrownBy(() -> plain().init(new LoraInit.Eva()).attach(model(), 0, () -> {}))
                .hasMessage("eva: the batch did not pass through model.layers.0.self_attn.q_proj");
        assertThatThrownBy(() -> plain().init(new LoraInit.LoraGa()).attach(model(), 0, () -> {}))
                .hasMessage(
                        "lora_ga: the batch left no gradient at model.layers.0.self_attn.q_proj: it must run forward and"
                                + " backward");
        assertThatThrownBy(() ->
                        Lora.rank(7).init(new LoraInit.LoraGa()).on("q_proj").attach(model(), 0, () -> {}))
                .hasMessageContaining("lora_ga: twice the rank 7 must be at most 12");
        assertThatThrownBy(() -> Lora.rank(2)
                        .init(new LoraInit.Olora())
                        .on("embed_tokens")
                        .attach(new Tokens(arena)))
                .hasMessage("lora: init Olora[] needs a linear layer, embed_tokens is an embedding");
        assertThatThrownBy(() -> new LoraInit.LoftQ(5, 1)).hasMessage("LoftQ: bits 5 must be 4 or 8");
        assertThatThrownBy(() -> new LoraInit.LoftQ(4, 0)).hasMessage("LoftQ: iterations 0 must be at least 1");
        assertThatThrownBy(() -> new LoraInit.Pissa(-2))
                .hasMessage("Pissa: iterations -2 must be 0 or more, or Pissa.EXACT (-1)");
        assertThatThrownBy(() -> new LoraInit.LoraGa(LoraInit.LoraGa.Direction.AR_BR, LoraInit.LoraGa.Scale.UNIT, 0))
                .hasMessage("LoraGa: gamma 0.0 must be a positive number");
    }
}
