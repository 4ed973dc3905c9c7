package anneal.peft;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import anneal.io.Safetensors;
import anneal.io.StoredTensor;
import anneal.model.Decoder;
import anneal.model.Family;
import anneal.nn.Attention;
import anneal.nn.DenseWeight;
import anneal.nn.Linear;
import anneal.nn.Module;
import anneal.nn.Part;
import anneal.nn.Pass;
import anneal.tensor.Memory;
import anneal.tensor.Rng;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class PrefixTuningTest {
    private static final int D = 12, K = 4;

    @TempDir
    Path dir;

    /** What a folder holds of an adapter that is saved there. */
    static PromptTable saved(Adapters adapters, Path folder) {
        adapters.save(folder);
        try (Arena arena = Arena.ofShared()) {
            StoredTensor t = Safetensors.open(folder.resolve("adapter_model.safetensors"), arena)
                    .tensors()
                    .get("prompt_embeddings");
            PromptTable table = new PromptTable((int) t.shape()[0], (int) t.shape()[1]);
            table.vectors().set(t.floats());
            return table;
        }
    }

    static float[] row(Decoder model, int id) {
        try (var _ = Memory.scope();
                var _ = Tape.pause()) {
            return model.embedding().weight().rows(new int[] {id}).toArray();
        }
    }

    /** One attention layer whose output is what its heads give. */
    private static final class Heads extends Module {
        private final Attention attention;

        Heads(Rng rng) {
            Attention.Options options =
                    new Attention.Options(0, D / K, D / K, K, 1 / (float) Math.sqrt(K), 0, null, 0, 0);
            attention = child(
                    "attn",
                    new Attention(
                            options,
                            new Attention.Projections.Split(part("q", rng), part("k", rng), part("v", rng)),
                            part("o", null),
                            null,
                            null,
                            null));
        }

        private static Part part(String name, Rng rng) {
            Tensor w = LinearTuning.allocate(D, D);
            if (rng == null) {
                for (int i = 0; i < D; i++) {
                    w.buf().setAtIndex(java.lang.foreign.ValueLayout.JAVA_FLOAT, (long) i * D + i, 1f);
                }
            } else {
                Inits.normal(w, 0.5, rng);
            }
            return new Part(name, new Linear(new DenseWeight(w), null));
        }

        float[] forward() {
            try (var _ = Memory.scope();
                    var _ = Tape.pause()) {
                Tensor x = Tensor.zeros(1, 5, D);
                Inits.normal(x, 1, new Rng(8));
                return attention
                        .forward(x, new Pass(1, 5, null, null, null, null))
                        .toArray();
            }
        }
    }

    /** Softmax leaves the text exp(s) / (exp(s) + exp(s of the prefix)): one factor for all numbers of a head. */
    @Test
    void zeroValuesShortenTheOutputOfAHeadAndKeepItsDirection() {
        Heads heads = new Heads(new Rng(3));
        float[] plain = heads.forward();
        PrefixTuning.tokens(4).attach(heads, 1);
        float[] fresh = heads.forward();
        for (int at = 0; at < plain.length; at += K) {
            double factor = fresh[at] / plain[at];
            assertThat(factor).isGreaterThan(0).isLessThan(1);
            for (int k = 1; k < K; k++) {
                assertThat((double) fresh[at + k]).isCloseTo(factor * plain[at + k], within(1e-5));
            }
        }
    }

    /** With keys of zero too, as PEFT has it, all rows would stay one vector; with ours their gradients differ from the start. */
    @Test
    void theRowsOfAFreshPrefixGetDifferentGradients() {
        try (Arena arena = Arena.ofShared()) {
            Decoder model = SocketContract.model(Family.LLAMA, arena);
            Adapters adapters = PrefixTuning.tokens(2).attach(model, 1);
            Tensor table = adapters.parameters().get("prompt_encoder.embedding.weight");
            assertThat(rowsAgree(model, table)).isFalse();
            table.set(new float[(int) table.size()]);
            assertThat(rowsAgree(model, table)).isTrue();
        } finally {
            Tape.clear();
        }
    }

    private static boolean rowsAgree(Decoder model, Tensor table) {
        table.zeroGrad();
        try (var _ = Memory.scope()) {
            Tape.backward(anneal.tensor.Ops.sum(model.nll(anneal.model.Tokens.of(3, 7, 1), new int[] {7, 1, -1})));
        }
        float[] g = table.grad().toArray();
        int half = g.length / 2;
        for (int i = 0; i < half; i++) {
            if (Math.abs(g[i] - g[half + i]) > 1e-6) {
                return false;
            }
        }
        return true;
    }

    @Test
    void whatCannotBeIsSaid() {
        refused(() -> PrefixTuning.tokens(0).build(), "PrefixTuning: 0 virtual tokens, must be at least 1");
        refused(
                () -> PrefixTuning.tokens(2).projection(-1).build(),
                "PrefixTuning: projection -1 must be a hidden size, or 0 for none");
        try (Arena arena = Arena.ofShared()) {
            refused(
                    () -> PrefixTuning.tokens(2).attach(new TinyModel(arena, 1)),
                    "PrefixTuning: the model has no attention layer to put a prefix in");
            Decoder model = SocketContract.model(Family.LLAMA, arena);
            Adapters first = PrefixTuning.tokens(2).attach(model);
            refused(
                    () -> PrefixTuning.tokens(3).attach(model),
                    "attach: model.layers.0.self_attn already has a prefix");
            first.save(dir);
            first.detach();
            Decoder gpt = SocketContract.model(Family.GPT2, arena);
            assertThatThrownBy(() -> Adapters.load(gpt, dir))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("prompt_embeddings is [2, 32], must be [2, 96]");
            assertThat(gpt.attention(0).prefix()).isNull();
        }
    }

    static void refused(org.assertj.core.api.ThrowableAssert.ThrowingCallable call, String message) {
        assertThatThrownBy(call).isInstanceOf(IllegalArgumentException.class).hasMessage(message);
    }
}
