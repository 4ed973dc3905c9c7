package anneal.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import anneal.model.WeightSource.Role;
import anneal.tensor.Rng;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** Spread and bounds of fresh weights, and that they depend on seed and name alone. */
class InitTest {
    private static final int OUT = 300, IN = 200;

    private static double[] spreadAndLargest(Init init, Role role) {
        float[] values = new float[OUT * IN];
        init.fill(values, OUT, IN, role, new Rng(1));
        double squares = 0, sum = 0, largest = 0;
        for (float v : values) {
            squares += (double) v * v;
            sum += v;
            largest = Math.max(largest, Math.abs(v));
        }
        double std = Math.sqrt(squares / values.length);
        assertThat(sum / values.length).isCloseTo(0, within(4 * std / Math.sqrt(values.length)));
        return new double[] {std, largest};
    }

    @Test
    void spreads() {
        assertThat(spreadAndLargest(new Init.Normal(0.02), Role.LINEAR)[0]).isCloseTo(0.02, within(2e-4));
        double[] cut = spreadAndLargest(new Init.TruncatedNormal(0.02), Role.LINEAR);
        assertThat(cut[0]).isCloseTo(0.02 * 0.8796, within(2e-4)); // std of a normal cut at two deviations
        assertThat(cut[1]).isLessThanOrEqualTo(0.04).isGreaterThan(0.0399);
        double[] xavier = spreadAndLargest(new Init.Xavier(), Role.LINEAR);
        assertThat(xavier[0]).isCloseTo(Math.sqrt(2.0 / (IN + OUT)), within(1e-3));
        assertThat(xavier[1]).isLessThanOrEqualTo(Math.sqrt(6.0 / (IN + OUT)) + 1e-7);
        double[] kaiming = spreadAndLargest(new Init.Kaiming(), Role.LINEAR);
        assertThat(kaiming[0]).isCloseTo(Math.sqrt(2.0 / IN), within(1e-3));
        Init scaled = new Init.ScaledResidual(0.02, 8);
        assertThat(spreadAndLargest(scaled, Role.LINEAR)[0]).isCloseTo(0.02, within(2e-4));
        assertThat(spreadAndLargest(scaled, Role.RESIDUAL)[0]).isCloseTo(0.02 / 4, within(5e-5));
    }

    @Test
    void aLayerMoreLeavesTheOthersAsTheyWere() {
        try (Arena arena = Arena.ofShared()) {
            Map<String, Tensor> two = model(2, 1, arena), three = model(3, 1, arena), other = model(2, 2, arena);
            two.forEach(
                    (name, t) -> assertThat(three.get(name).toArray()).as(name).isEqualTo(t.toArray()));
            String q = "model.layers.1.self_attn.q_proj.weight";
            assertThat(other.get(q).toArray()).isNotEqualTo(two.get(q).toArray());
            assertThat(two.get("model.norm.weight").toArray()).containsOnly(1f);
        }
    }

    /** A matrix is made in rows: its numbers are those of one array. */
    @Test
    void rowsGoOnWhereTheLastOneEnded() {
        DecoderConfig c = DecoderConfig.builder(Family.LLAMA)
                .vocabSize(11)
                .hiddenSize(8)
                .layers(1)
                .heads(2)
                .build();
        for (Init init : new Init[] {new Init.Normal(0.02), new Init.TruncatedNormal(0.02), new Init.Xavier()}) {
            try (Arena arena = Arena.ofShared()) {
                float[] whole = new float[7 * 5];
                init.fill(whole, 7, 5, Role.LINEAR, new Rng(3).fork("w".hashCode()));
                assertThat(init.weights(c, 3, arena)
                                .matrix("w", 7, 5, Role.LINEAR)
                                .parameter()
                                .orElseThrow()
                                .toArray())
                        .isEqualTo(whole);
            }
        }
    }

    private static Map<String, Tensor> model(int layers, long seed, Arena arena) {
        DecoderConfig c = DecoderConfig.builder(Family.LLAMA)
                .vocabSize(11)
                .hiddenSize(8)
                .layers(layers)
                .heads(2)
                .build();
        return new Decoder(c, Init.usual(c).weights(c, seed, arena)).parameters();
    }
}
