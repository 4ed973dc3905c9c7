package anneal;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import anneal.generate.Generation;
import anneal.generate.Sampling;
import anneal.io.Json;
import anneal.io.JsonObject;
import anneal.io.Safetensors;
import anneal.io.StoredTensor;
import anneal.model.CausalLm;
import anneal.model.Tokens;
import anneal.tensor.Memory;
import anneal.tensor.Ops;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import anneal.text.Message;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/**
 * A real model straight from its quantised file against transformers on the same dequantised weights: golden/real, made from the one
 * .gguf file in the shared folder's models.
 */
@Tag("slow")
class RealModelTest {
    /** How far the logits of two implementations in f32 may be. */
    private static final double TOLERANCE = 2e-3;

    private static Pretrained lm;
    private static JsonObject golden;

    @BeforeAll
    static void open() throws IOException {
        Path facts = Golden.root().resolve("real/golden.json");
        assumeTrue(Files.exists(facts), "no golden/real: pass -Danneal.golden=DIR");
        golden = Json.read(facts);
        lm = Pretrained.load(Golden.realModel());
    }

    @AfterAll
    static void close() {
        if (lm != null) {
            lm.close();
        }
    }

    private static Tensor lastLogits(CausalLm model, int[] ids) {
        Tensor hidden = model.hidden(Tokens.of(ids), null);
        return model.logits(Ops.rows(hidden.view(ids.length, hidden.rowSize()), new int[] {ids.length - 1}));
    }

    private static float[] logits(int[] ids) {
        try (Memory.Scope scope = Memory.scope();
                Tape.Pause p = Tape.pause()) {
            return lastLogits(lm.model(), ids).toArray();
        }
    }

    @Test
    void nextTokenLogits() {
        double worst = 0;
        List<JsonObject> prompts = golden.objects("prompts");
        try (Arena arena = Arena.ofShared()) {
            var tensors = Safetensors.open(Golden.root().resolve("real/golden.safetensors"), arena)
                    .tensors();
            for (int i = 0; i < prompts.size(); i++) {
                int[] ids = prompts.get(i).integers("ids");
                assertThat(lm.tokenizer().encode(prompts.get(i).string("text"))).isEqualTo(ids);
                StoredTensor expected = tensors.get("prompt." + i + ".last_logits");
                float[] got = logits(ids), want = expected.floats();
                assertThat(got).hasSameSizeAs(want);
                for (int j = 0; j < got.length; j++) {
                    worst = Math.max(worst, Math.abs(got[j] - want[j]));
                }
            }
        }
        assertThat(worst).isLessThan(TOLERANCE);
        Golden.report("real logits", prompts.size(), worst);
    }

    @Test
    void greedyTexts() {
        int same = 0;
        List<JsonObject> prompts = golden.objects("prompts");
        for (JsonObject p : prompts) {
            same += agrees(p) ? 1 : 0;
        }
        Golden.report("real greedy (" + same + " to the last token)", prompts.size(), 0);
    }

    @Test
    void chats() {
        int same = 0;
        List<JsonObject> chats = golden.objects("chats");
        for (JsonObject c : chats) {
            List<Message> messages = new ArrayList<>();
            for (JsonObject m : c.objects("messages")) {
                messages.add(new Message(m.string("role"), m.string("content")));
            }
            assertThat(lm.chat().prompt(messages)).isEqualTo(c.integers("ids"));
            same += agrees(c) ? 1 : 0;
        }
        Golden.report("real chats (" + same + " to the last token)", chats.size(), 0);
    }

    /** Token by token; another token may stand only where it is as likely as the expected one. */
    private static boolean agrees(JsonObject c) {
        int[] prompt = c.integers("ids"), expected = c.integers("greedy_new_tokens");
        Generation got = lm.generator().generate(prompt, Sampling.greedy(expected.length));
        int at = Arrays.mismatch(got.tokens(), expected);
        if (at < 0) {
            return true;
        }
        assertThat(at).isLessThan(Math.min(expected.length, got.tokens().length));
        int[] before = Arrays.copyOf(prompt, prompt.length + at);
        System.arraycopy(expected, 0, before, prompt.length, at);
        float[] z = logits(before);
        assertThat((double) z[got.tokens()[at]] - z[expected[at]])
                .as("token %d of %s: %d in place of %d", at, c.where(), got.tokens()[at], expected[at])
                .isLessThan(TOLERANCE);
        return false;
    }

    @Test
    void everyFactIsCompared() {
        assertThat(golden.keys())
                .as("%s: lora_step is the adapters' own, the others are compared here", golden.where())
                .allMatch(key -> key.matches("prompts|chats|perplexity\\..+|lora_step"));
    }

    @Test
    void perplexities() throws IOException {
        int cases = 0;
        double worst = 0;
        for (String key : golden.keys()) {
            if (key.startsWith("perplexity.")) {
                JsonObject expected = golden.object(key);
                double got = perplexity(key.substring("perplexity.".length()), expected);
                worst = Math.max(worst, Math.abs(got / expected.number("perplexity") - 1));
                cases++;
            }
        }
        assumeTrue(cases > 0, "no perplexities in " + golden.where());
        assertThat(worst).as("relative difference of a perplexity").isLessThan(5e-5);
        Golden.report("real perplexity, relative", cases, worst);
    }

    private static double perplexity(String file, JsonObject facts) throws IOException {
        String all = Files.readString(Golden.shared("data/text").resolve(file));
        int[] ids = lm.tokenizer().encode(all.substring(0, all.offsetByCodePoints(0, facts.integer("characters"))));
        assertThat(ids).hasSize(facts.integer("tokens"));
        Perplexity got = Perplexity.of(lm.model(), ids, facts.integer("window"));
        assertThat(got.tokens()).isEqualTo(facts.integer("predicted"));
        return got.value();
    }
}
