package anneal.examples;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import anneal.kernels.Attention;
import anneal.kernels.Kernels;
import anneal.kernels.ScalarAttention;
import anneal.tensor.Memory;
import anneal.tensor.Ops;
import anneal.tensor.Rng;
import anneal.tensor.Tensor;
import anneal.text.BpeTrainer;
import anneal.text.Tokenizer;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

/** The snippets of the pages on rotary embedding, attention and byte-pair encoding. */
class PagesTest {
    private static final int DIM = 8;

    private static float[] random(Rng rng, int n) {
        float[] x = new float[n];
        for (int i = 0; i < n; i++) {
            x[i] = (float) rng.nextGaussian();
        }
        return x;
    }

    /** The dot product of q turned to position i and k turned to position j. */
    private static float score(float[] q, int i, float[] k, int j) {
        try (Memory.Scope scope = Memory.scope()) {
            float[] cos = new float[DIM], sin = new float[DIM];
            for (int p = 0; p < DIM / 2; p++) {
                double theta = Math.pow(10_000, -2.0 * p / DIM);
                cos[p] = (float) Math.cos(i * theta);
                sin[p] = (float) Math.sin(i * theta);
                cos[DIM / 2 + p] = (float) Math.cos(j * theta);
                sin[DIM / 2 + p] = (float) Math.sin(j * theta);
            }
            float[] both = Arrays.copyOf(q, 2 * DIM);
            System.arraycopy(k, 0, both, DIM, DIM);
            Tensor rows = Tensor.of(both, 2, DIM);
            Ops.ropeInPlace(
                    rows,
                    Tensor.of(cos, 2, DIM / 2),
                    Tensor.of(sin, 2, DIM / 2),
                    new Kernels.Rope(2, 1, DIM, DIM, false));
            float[] turned = rows.toArray();
            float sum = 0;
            for (int c = 0; c < DIM; c++) {
                sum += turned[c] * turned[DIM + c];
            }
            return sum;
        }
    }

    @Test
    void rotaryScoresDependOnTheDistanceAlone() {
        Rng rng = new Rng(1);
        float[] q = random(rng, DIM), k = random(rng, DIM);
        float near = score(q, 3, k, 5);
        float shifted = score(q, 103, k, 105);
        assertThat(shifted).isCloseTo(near, within(1e-4f));
        assertThat(score(q, 3, k, 9)).isNotCloseTo(near, within(1e-2f));
    }

    @Test
    void tiledAttentionIsTheFormula() {
        int length = 40, heads = 2, headDim = 16, d = heads * headDim;
        Rng rng = new Rng(2);
        try (Memory.Scope scope = Memory.scope()) {
            Tensor q = Tensor.of(random(rng, length * d), 1, length, d);
            Tensor k = Tensor.of(random(rng, length * d), 1, length, d);
            Tensor v = Tensor.of(random(rng, length * d), 1, length, d);
            Tensor o = Ops.attention(q, k, v, Attention.causal(1, length, heads, heads, headDim));
            float[] p =
                    ScalarAttention.probabilities(q.buf(), k.buf(), Attention.causal(1, length, heads, heads, headDim));
            for (int h = 0; h < heads; h++) {
                double sum = 0;
                for (int j = 0; j < length; j++) {
                    sum += p[(h * length + length - 1) * length + j] * v.get((long) j * d + h * headDim);
                }
                assertThat(o.get((long) (length - 1) * d + h * headDim)).isCloseTo((float) sum, within(1e-5f));
            }
        }
    }

    @Test
    void aLearntTokenizerComesBackToTheText() {
        Tokenizer tokenizer = new BpeTrainer(270).train(List.of("low lower lowest", "new newer newest"));
        int[] ids = tokenizer.encode("lowest newer");
        assertThat(tokenizer.decode(ids)).isEqualTo("lowest newer");
        assertThat(ids.length).isLessThan("lowest newer".length());
    }
}
