package anneal.quant.post;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import anneal.nn.Linear;
import anneal.nn.SubLayer;
import anneal.quant.calibrate.Calibration;
import anneal.quant.calibrate.LayerInputs;
import java.lang.foreign.Arena;
import java.util.Map;
import java.util.function.Predicate;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class RelayTest {
    private static Calibration capture(GoldenDecoder d, Predicate<String> which, Runnable forward) {
        return Calibration.capture(d.model().root(), which, Calibration.Options.MOMENTS, forward);
    }

    /** Layers change as GPTQ changes them: behind the stream that is kept. */
    @ParameterizedTest
    @ValueSource(strings = {"llama", "gpt2"})
    void aSubLayerSeesTheBitsOfAWholePass(String folder) {
        try (Arena arena = Arena.ofShared()) {
            GoldenDecoder d = GoldenDecoder.load(folder, arena);
            Map<String, SubLayer> order = d.model().root().find(SubLayer.class);
            assertThat(order).hasSizeGreaterThan(2);
            try (Relay relay = new Relay(d.model().root(), d::forward)) {
                order.forEach((path, layer) -> {
                    Map<String, Linear> linears = layer.find(Linear.class);
                    Predicate<String> here = p -> p.startsWith(path + ".");
                    String first = path + "." + linears.keySet().iterator().next();
                    Map<String, LayerInputs> whole =
                            capture(d, here, d::forward).layers();
                    capture(d, here, () -> relay.to(first)).layers().forEach((p, in) -> {
                        assertThat(in.moments()).as(p).isEqualTo(whole.get(p).moments());
                        assertThat(in.rows()).isEqualTo(whole.get(p).rows());
                    });
                    new Rtn(Grid.bits(3)).apply(d.model().root(), here, d::forward);
                });
            }
            assertThat(order.values()).allMatch(l -> l.around() == SubLayer.Around.NONE);
        }
    }

    @Test
    void goesForwardOnlyAndPutsEverythingBack() {
        try (Arena arena = Arena.ofShared()) {
            GoldenDecoder d = GoldenDecoder.load("llama", arena);
            float[] before = d.hidden();
            try (Relay relay = new Relay(d.model().root(), d::forward)) {
                relay.to("model.layers.1.self_attn.q_proj");
                relay.to("model.layers.1.self_attn.q_proj");
                assertThatThrownBy(() -> relay.to("model.layers.0.mlp.up_proj"))
                        .hasMessage(
                                "relay: model.layers.0.mlp stands before model.layers.1.self_attn, which was reached"
                                        + " already");
            }
            try (Relay relay = new Relay(d.model().root(), () -> {
                throw new IllegalStateException("stop");
            })) {
                assertThatThrownBy(() -> relay.to("model.layers.0.mlp.up_proj")).hasMessage("stop");
            }
            assertThat(d.hidden()).isEqualTo(before);
        }
    }
}
