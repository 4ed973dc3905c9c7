package anneal.peft;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import anneal.Golden;
import anneal.io.Gguf;
import anneal.io.Json;
import anneal.model.Decoder;
import anneal.model.ModelFiles;
import anneal.model.Tokens;
import anneal.tensor.Memory;
import anneal.tensor.Ops;
import anneal.tensor.Tape;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** How much a fresh adapter disturbs a real model: the reason for the starts that are the default. */
@Tag("slow")
class RealPromptTest {
    @Test
    void theDefaultStartsDisturbLeast() throws IOException {
        Path facts = Golden.root().resolve("real").resolve("golden.json");
        assumeTrue(Files.exists(facts), "no golden/real: pass -Danneal.golden=DIR");
        int[] ids = ((List<?>)
                        Json.read(facts).object("lora_step").list("input_ids").getFirst())
                .stream().mapToInt(id -> (int) id).toArray();
        Map<String, Method> methods = new LinkedHashMap<>();
        methods.put("prefix, zero values", PrefixTuning.tokens(10).build());
        methods.put(
                "prefix, random",
                PrefixTuning.tokens(10).init(PrefixTuning.Init.RANDOM).build());
        methods.put("prompt, sampled vocabulary", PromptTuning.tokens(10).build());
        methods.put(
                "prompt, random",
                PromptTuning.tokens(10).init(new PromptTuning.Init.Random()).build());
        methods.put("houlsby", Bottleneck.houlsby().build());
        methods.put("pfeiffer", Bottleneck.pfeiffer().build());
        methods.put(
                "pfeiffer, bert",
                Bottleneck.pfeiffer().init(Bottleneck.Init.BERT).build());
        methods.put("parallel", Bottleneck.parallel().build());
        Map<String, Double> losses = new LinkedHashMap<>();
        try (Arena arena = Arena.ofShared()) {
            Path file = Golden.realModel();
            Decoder model = ModelFiles.load(file, Gguf.open(file, arena), arena);
            losses.put("base", loss(model, ids));
            methods.forEach((name, method) -> {
                Adapters adapters = method.attach(model.root(), 1);
                losses.put(name, loss(model, ids));
                adapters.detach();
            });
            assertThat(loss(model, ids)).isEqualTo(losses.get("base"));
        }
        losses.forEach((name, loss) -> System.out.printf("fresh %-28s loss %.4f%n", name, loss));
        double base = losses.get("base");
        assertThat(losses.get("prefix, zero values") - base).isLessThan(0.1 * (losses.get("prefix, random") - base));
        assertThat(losses.get("prompt, sampled vocabulary")).isLessThan(losses.get("prompt, random"));
        assertThat(losses.get("parallel")).isEqualTo(base);
        assertThat(Math.abs(losses.get("houlsby") - base)).isLessThan(0.2);
        assertThat(losses.get("pfeiffer")).isEqualTo(base);
        assertThat(losses.get("pfeiffer, bert") - base).isGreaterThan(0.2);
    }

    private static double loss(Decoder model, int[] ids) {
        int[] targets = new int[ids.length];
        System.arraycopy(ids, 1, targets, 0, ids.length - 1);
        targets[ids.length - 1] = -1;
        try (var _ = Memory.scope();
                var _ = Tape.pause()) {
            return (double) Ops.sum(model.nll(Tokens.of(ids), targets)).item() / (ids.length - 1);
        }
    }
}
