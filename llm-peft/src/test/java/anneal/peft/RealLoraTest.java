package anneal.peft;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import anneal.Golden;
import anneal.io.Gguf;
import anneal.io.Json;
import anneal.io.JsonObject;
import anneal.io.Safetensors;
import anneal.io.StoredTensor;
import anneal.model.Decoder;
import anneal.model.ModelFiles;
import anneal.model.Tokens;
import anneal.tensor.Memory;
import anneal.tensor.Ops;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/**
 * One LoRA step on a real model, straight on its quantised file, against transformers and PEFT on the same weights widened.
 *
 * <p>The fixture stores the adapters of the first and last block only. All of them are torch's normal numbers of one seed in the order of
 * their names, made again here; the stored ones prove it.
 */
@Tag("slow")
class RealLoraTest {
    private static final String PREFIX = "base_model.model.";

    @Test
    void lossAndGradientOfAQuantisedModel() throws IOException {
        Path golden = Golden.root().resolve("real");
        assumeTrue(Files.exists(golden.resolve("lora.safetensors")), "no golden/real: pass -Danneal.golden=DIR");
        JsonObject facts = Json.read(golden.resolve("golden.json")).object("lora_step");
        try (Arena arena = Arena.ofShared()) {
            Decoder model = load(arena);
            Start start = Start.of(facts.string("adapter"));
            Adapters adapters = Lora.rank(start.rank)
                    .alpha(start.alpha)
                    .on(Targets.ALL_LINEAR)
                    .attach(model);
            Map<String, StoredTensor> stored =
                    Safetensors.open(golden.resolve("lora.safetensors"), arena).tensors();
            int checked = fill(adapters.parameters(), start, stored);
            assertThat(checked).isPositive();

            Batch batch = batch(facts);
            double loss;
            try (var _ = Memory.scope()) {
                Tensor sum = Ops.sum(model.nll(batch.tokens, batch.targets));
                loss = (double) sum.item() / batch.trained;
                Tape.backward(sum);
            }
            assertThat(loss).isCloseTo(facts.number("loss"), within(1e-4));
            double squares = 0;
            for (Tensor p : adapters.parameters().values()) {
                for (float g : p.grad().toArray()) {
                    squares += (double) g * g;
                }
            }
            double norm = Math.sqrt(squares) / batch.trained;
            assertThat(norm / facts.number("gradient_norm")).isCloseTo(1, within(1e-3));
            compareGradients(adapters, stored, batch.trained);
            Golden.report("real/lora step", 1, Math.abs(loss - facts.number("loss")));
        } finally {
            Tape.clear();
        }
    }

    private static Decoder load(Arena arena) throws IOException {
        Path file = Golden.realModel();
        return ModelFiles.load(file, Gguf.open(file, arena), arena);
    }

    /** The adapters before the step, as the fixture states them in words. */
    private record Start(int rank, double alpha, int seed, float scale) {
        private static final Pattern WORDS = Pattern.compile("r (\\d+), alpha ([\\d.]+), all-linear; .* sorted order .*"
                + "torch\\.Generator\\((\\d+)\\) \\* ([\\d.e-]+).*");

        static Start of(String words) {
            Matcher m = WORDS.matcher(words);
            assertThat(m.matches()).as("lora_step.adapter: " + words).isTrue();
            return new Start(
                    Integer.parseInt(m.group(1)),
                    Double.parseDouble(m.group(2)),
                    Integer.parseInt(m.group(3)),
                    Float.parseFloat(m.group(4)));
        }
    }

    private record Batch(Tokens tokens, int[] targets, int trained) {}

    private static Batch batch(JsonObject facts) {
        List<Object> rows = facts.list("input_ids");
        int length = ((List<?>) rows.getFirst()).size();
        int[] ids = rows.stream()
                .flatMap(row -> ((List<?>) row).stream())
                .mapToInt(id -> (Integer) id)
                .toArray();
        int[] targets = new int[ids.length];
        for (int i = 0; i < ids.length; i++) {
            targets[i] = i % length == length - 1 ? -1 : ids[i + 1];
        }
        return new Batch(Tokens.of(ids, rows.size(), length), targets, rows.size() * (length - 1));
    }

    /** Torch's normal numbers of the seed, scaled; gives how many tensors the fixture, rounded to bf16, confirmed. */
    private static int fill(Map<String, Tensor> parameters, Start start, Map<String, StoredTensor> stored) {
        TorchNormal normal = new TorchNormal(start.seed);
        int checked = 0;
        for (Map.Entry<String, Tensor> e : new TreeMap<>(parameters).entrySet()) {
            float[] values = normal.next(Math.toIntExact(e.getValue().size()));
            for (int i = 0; i < values.length; i++) {
                values[i] *= start.scale;
            }
            e.getValue().set(values);
            StoredTensor expected = stored.get(PREFIX + e.getKey());
            if (expected != null) {
                float[] rounded = expected.floats();
                for (int i = 0; i < rounded.length; i++) {
                    assertThat(values[i])
                            .as("%s[%d]", e.getKey(), i)
                            .isCloseTo(rounded[i], within(0.025f * start.scale));
                }
                checked++;
            }
        }
        return checked;
    }

    private static void compareGradients(Adapters adapters, Map<String, StoredTensor> stored, int trained) {
        int compared = 0;
        for (Map.Entry<String, StoredTensor> e : stored.entrySet()) {
            if (e.getKey().startsWith("grad." + PREFIX)) {
                String name = e.getKey().substring(("grad." + PREFIX).length());
                float[] expected = e.getValue().floats();
                float[] actual = adapters.parameters().get(name).grad().toArray();
                double largest = 0;
                for (float x : expected) {
                    largest = Math.max(largest, Math.abs(x));
                }
                for (int i = 0; i < expected.length; i++) {
                    assertThat((double) actual[i] / trained)
                            .as("%s[%d]", name, i)
                            .isCloseTo(expected[i], within(1e-3 * largest));
                }
                compared++;
            }
        }
        assertThat(compared).as("recorded gradients").isPositive();
    }

    /**
     * torch.randn of a CPU generator for sizes that are multiples of 16: Mersenne Twister (Matsumoto and Nishimura, 1998), 24 bits a
     * uniform, Box-Muller on elements 8 apart of each 16.
     */
    private static final class TorchNormal {
        private static final int N = 624, M = 397;
        private final int[] state = new int[N];
        private int at = N;

        TorchNormal(int seed) {
            state[0] = seed;
            for (int i = 1; i < N; i++) {
                state[i] = 1812433253 * (state[i - 1] ^ (state[i - 1] >>> 30)) + i;
            }
        }

        private int bits() {
            if (at == N) {
                for (int i = 0; i < N; i++) {
                    int y = (state[i] & 0x80000000) | (state[(i + 1) % N] & 0x7fffffff);
                    state[i] = state[(i + M) % N] ^ (y >>> 1) ^ ((y & 1) == 0 ? 0 : 0x9908b0df);
                }
                at = 0;
            }
            int y = state[at++];
            y ^= y >>> 11;
            y ^= (y << 7) & 0x9d2c5680;
            y ^= (y << 15) & 0xefc60000;
            return y ^ (y >>> 18);
        }

        float[] next(int n) {
            assertThat(n % 16).isZero();
            double[] u = new double[n];
            Arrays.setAll(u, i -> (bits() & 0xffffff) * 0x1p-24);
            float[] x = new float[n];
            for (int from = 0; from < n; from += 16) {
                for (int i = from; i < from + 8; i++) {
                    double radius = Math.sqrt(-2 * Math.log(1 - u[i])), angle = 2 * Math.PI * u[i + 8];
                    x[i] = (float) (radius * Math.cos(angle));
                    x[i + 8] = (float) (radius * Math.sin(angle));
                }
            }
            return x;
        }
    }
}
