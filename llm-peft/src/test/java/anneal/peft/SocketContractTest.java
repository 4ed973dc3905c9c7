package anneal.peft;

import static org.assertj.core.api.Assertions.assertThat;

import anneal.model.Decoder;
import anneal.nn.Module;
import anneal.tensor.Tensor;
import java.util.Arrays;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Nested;

/** {@link SocketContract} for each method and each way it can be built. */
class SocketContractTest {
    private static final int[] IDS = {2, 11, 6, 17};

    private static double apart(float[] a, float[] b) {
        return IntStream.range(0, a.length)
                .mapToDouble(i -> Math.abs(a[i] - b[i]))
                .max()
                .orElseThrow();
    }

    /** How far the logits of the model are from those without the adapter. */
    private static double apart(Decoder plain, Decoder adapted) {
        return apart(SocketContract.logits(adapted, IDS), SocketContract.logits(plain, IDS));
    }

    /** The logits of tokens that stand behind others. */
    private static float[] behind(Decoder plain, int[] front) {
        int[] all = IntStream.concat(Arrays.stream(front), Arrays.stream(IDS)).toArray();
        float[] logits = SocketContract.logits(plain, all);
        return Arrays.copyOfRange(logits, front.length * SocketContract.V, logits.length);
    }

    @Nested
    class PlainPrefix extends SocketContract {
        @Override
        Adapters attach(Module root, long seed) {
            return PrefixTuning.tokens(3).attach(root, seed);
        }

        /** All values are zero, and no key is. PrefixTuningTest says what follows for the output of a head. */
        @Override
        void freshHolds(Decoder plain, Decoder adapted, Adapters adapters) {
            valuesAreZero(adapted, adapters.parameters().get("prompt_encoder.embedding.weight"));
        }
    }

    private static void valuesAreZero(Decoder model, Tensor prefix) {
        var options = model.attention(0).options();
        int width = options.kvHeads() * options.headDim();
        float[] e = prefix.toArray();
        for (int i = 0; i < e.length; i++) { // K0 V0 K1 V1 ...
            boolean value = i / width % 2 == 1;
            assertThat(e[i] == 0).as("[%d]", i).isEqualTo(value);
        }
    }

    @Nested
    class ProjectedPrefix extends SocketContract {
        @Override
        Adapters attach(Module root, long seed) {
            return PrefixTuning.tokens(3).projection(7).attach(root, seed);
        }

        @Override
        boolean flattened() {
            return true;
        }

        /** The values that the file holds are zero. */
        @Override
        void freshHolds(Decoder plain, Decoder adapted, Adapters adapters) {
            valuesAreZero(adapted, PrefixTuningTest.saved(adapters, dir).vectors());
        }
    }

    @Nested
    class PromptFromText extends SocketContract {
        @Override
        Adapters attach(Module root, long seed) {
            return PromptTuning.tokens(5).text("some text", "tok", 4, 9, 13).attach(root, seed);
        }

        @Override
        boolean seedless() {
            return true;
        }

        /** It reads like the text in front, repeated up to its length. */
        @Override
        void freshHolds(Decoder plain, Decoder adapted, Adapters adapters) {
            AdapterContract.assertClose(
                    SocketContract.logits(adapted, IDS), behind(plain, new int[] {4, 9, 13, 4, 9}), 1e-5);
        }
    }

    @Nested
    class PromptFromVocabulary extends SocketContract {
        @Override
        Adapters attach(Module root, long seed) {
            return PromptTuning.tokens(3).attach(root, seed);
        }

        /** Each vector is that of a token, and the prompt reads like these tokens. */
        @Override
        void freshHolds(Decoder plain, Decoder adapted, Adapters adapters) {
            float[] prompt =
                    adapters.parameters().get("prompt_encoder.embedding.weight").toArray();
            int d = prompt.length / 3;
            int[] ids = IntStream.range(0, 3)
                    .map(row -> IntStream.range(0, SocketContract.V)
                            .filter(id -> Arrays.equals(
                                    PrefixTuningTest.row(plain, id), Arrays.copyOfRange(prompt, row * d, row * d + d)))
                            .findFirst()
                            .orElseThrow())
                    .toArray();
            AdapterContract.assertClose(SocketContract.logits(adapted, IDS), behind(plain, ids), 1e-5);
        }
    }

    @Nested
    class RandomPrompt extends SocketContract {
        @Override
        Adapters attach(Module root, long seed) {
            return PromptTuning.tokens(3)
                    .init(new PromptTuning.Init.Random())
                    .baseModel("tiny")
                    .attach(root, seed);
        }

        @Override
        void freshHolds(Decoder plain, Decoder adapted, Adapters adapters) {
            assertThat(apart(plain, adapted)).isPositive();
        }
    }

    @Nested
    class MlpPTuning extends SocketContract {
        @Override
        Adapters attach(Module root, long seed) {
            return PTuning.tokens(3).hiddenSize(9).attach(root, seed);
        }

        @Override
        boolean flattened() {
            return true;
        }

        @Override
        void freshHolds(Decoder plain, Decoder adapted, Adapters adapters) {
            assertThat(apart(plain, adapted)).isPositive();
        }
    }

    @Nested
    class LstmPTuning extends SocketContract {
        @Override
        Adapters attach(Module root, long seed) {
            return PTuning.tokens(4).encoder(PTuning.Encoder.LSTM).hiddenSize(5).attach(root, seed);
        }

        @Override
        boolean flattened() {
            return true;
        }

        @Override
        void freshHolds(Decoder plain, Decoder adapted, Adapters adapters) {
            assertThat(apart(plain, adapted)).isPositive();
        }
    }

    @Nested
    class Houlsby extends SocketContract {
        @Override
        Adapters attach(Module root, long seed) {
            return Bottleneck.houlsby()
                    .reduction(4)
                    .base("LlamaForCausalLM", "llama", "tiny")
                    .withHead()
                    .attach(root, seed);
        }

        /** Nearly an identity: what it adds is the product of two small matrices. */
        @Override
        void freshHolds(Decoder plain, Decoder adapted, Adapters adapters) {
            assertThat(apart(plain, adapted)).isPositive().isLessThan(0.1);
        }
    }

    @Nested
    class HoulsbyWithNorms extends SocketContract {
        @Override
        Adapters attach(Module root, long seed) {
            return Bottleneck.houlsby()
                    .reduction(8)
                    .norms(true, true)
                    .nonLinearity("gelu")
                    .init(Bottleneck.Init.HOULSBY)
                    .attach(root, seed);
        }

        /** A norm behind it makes something large of whatever is there. */
        @Override
        void freshHolds(Decoder plain, Decoder adapted, Adapters adapters) {
            assertThat(apart(plain, adapted)).isGreaterThan(0.1);
        }
    }

    @Nested
    class Pfeiffer extends SocketContract {
        /** With a smooth function: a step of the central differences would cross a corner of ReLU. */
        @Override
        Adapters attach(Module root, long seed) {
            return Bottleneck.pfeiffer()
                    .nonLinearity("gelu")
                    .reduction(2.5)
                    .name("task")
                    .leaveOut(0)
                    .attach(root, seed);
        }

        @Override
        void freshHolds(Decoder plain, Decoder adapted, Adapters adapters) {
            assertThat(apart(plain, adapted)).isZero();
            assertThat(adapters.paths()).hasSize(1);
        }
    }

    @Nested
    class Parallel extends SocketContract {
        @Override
        Adapters attach(Module root, long seed) {
            return Bottleneck.parallel().attach(root, seed);
        }

        /** An identity: up is zero. */
        @Override
        void freshHolds(Decoder plain, Decoder adapted, Adapters adapters) {
            assertThat(apart(plain, adapted)).isZero();
        }
    }
}
