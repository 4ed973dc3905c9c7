package anneal.quant.post;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import anneal.nn.Attention;
import anneal.quant.calibrate.Calibration;
import anneal.quant.calibrate.Junction;
import anneal.tensor.Rng;
import anneal.tensor.Shape;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Scales that change hands leave the model what it was; the families differ in norms, packing, biases, heads and gates. */
class FoldingTest {
    @ParameterizedTest
    @ValueSource(strings = {"llama", "qwen2", "qwen3", "gpt2", "mistral"})
    void anyScalesLeaveTheModelTheSame(String family) {
        try (Arena arena = Arena.ofShared()) {
            GoldenDecoder d = GoldenDecoder.load(family, arena);
            float[] before = d.hidden();
            Rng rng = new Rng(9);
            List<Junction> junctions = Junction.find(d.model().root(), true);
            for (Junction j : junctions) {
                float[] s = new float[j.source().channels()];
                for (int c = 0; c < s.length; c++) {
                    s[c] = (float) Math.exp(2 * rng.nextGaussian());
                }
                j.fold(s);
            }
            double off = Planted.relative(d.hidden(), before);
            System.out.printf("folding %-8s %d junctions: relative difference %.2e%n", family, junctions.size(), off);
            assertThat(off).isLessThan(2e-6);
            boolean gated = !family.equals("gpt2");
            assertThat(junctions).hasSize((gated ? 4 : 3) * d.model().config().layers());
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"llama", "gpt2"})
    void smoothingLeavesTheModelTheSame(String family) {
        try (Arena arena = Arena.ofShared()) {
            GoldenDecoder d = GoldenDecoder.load(family, arena);
            float[] before = d.hidden();
            Calibration seen =
                    Calibration.capture(d.model().root(), p -> true, Calibration.Options.SAMPLES, d::forward);
            var notes =
                    SmoothQuant.o1().alpha(0.7).inner().build().smooth(d.model().root(), seen);
            assertThat(Planted.relative(d.hidden(), before)).isLessThan(2e-6);
            assertThat(notes).isNotEmpty().containsValue("alpha 0.70");
        }
    }

    @Test
    void namesAreThoseOfTheReaders() {
        try (Arena arena = Arena.ofShared()) {
            List<Junction> all =
                    Junction.find(GoldenDecoder.load("llama", arena).model().root(), true);
            assertThat(all.subList(0, 4).stream().map(j -> j.readers().keySet().toString()))
                    .containsExactly(
                            "[model.layers.0.self_attn.q_proj, model.layers.0.self_attn.k_proj,"
                                    + " model.layers.0.self_attn.v_proj]",
                            "[model.layers.0.self_attn.o_proj]",
                            "[model.layers.0.mlp.gate_proj, model.layers.0.mlp.up_proj]",
                            "[model.layers.0.mlp.down_proj]");
        }
    }

    @Test
    void badScalesAreRefused() {
        try (Arena arena = Arena.ofShared()) {
            GoldenDecoder d = GoldenDecoder.load("llama", arena);
            Junction j = Junction.find(d.model().root(), false).getFirst();
            int n = j.source().channels();
            assertThatThrownBy(() -> j.fold(new float[n + 1]))
                    .hasMessage(
                            "fold: " + (n + 1) + " scales for " + n + " channels (at model.layers.0.self_attn.q_proj)");
            assertThatThrownBy(() -> j.fold(new float[n]))
                    .hasMessage(
                            "fold: scale 0.0 must be a positive finite number (at model.layers.0.self_attn.q_proj)");
            Attention a = d.model().attention(0);
            int width = a.options().kvHeads() * a.options().headDim();
            Tensor p = Tensor.allocate(arena, Shape.of(2, width));
            a.prefix(new Attention.Prefix() {
                @Override
                public int length() {
                    return 2;
                }

                @Override
                public Tensor keys() {
                    return p;
                }

                @Override
                public Tensor values() {
                    return p;
                }
            });
            assertThatThrownBy(() -> Junction.find(d.model().root(), true))
                    .hasMessage("fold: model.layers.0.self_attn has a key/value prefix, whose values do not pass"
                            + " through the layer that is scaled");
        }
    }
}
