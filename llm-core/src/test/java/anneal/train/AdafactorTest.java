package anneal.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import anneal.io.Json;
import anneal.io.JsonObject;
import anneal.io.Safetensors;
import anneal.io.StoredTensor;
import anneal.tensor.Shape;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.net.URISyntaxException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** transformers' Adafactor with its own options; the numbers are made by src/test/python/make_adafactor.py. */
class AdafactorTest {
    @Test
    void followsTransformersWithEveryOption() throws URISyntaxException {
        Path json = Path.of(AdafactorTest.class.getResource("adafactor.json").toURI());
        JsonObject cases = Json.read(json);
        assertThat(cases.keys()).hasSizeGreaterThan(3);
        try (Arena arena = Arena.ofShared()) {
            Map<String, StoredTensor> t = Safetensors.open(json.resolveSibling("adafactor.safetensors"), arena)
                    .tensors();
            for (String name : cases.keys()) {
                follow(name, cases.object(name), t, arena);
            }
        }
    }

    private static void follow(String name, JsonObject o, Map<String, StoredTensor> t, Arena arena) {
        Map<String, Tensor> parameters = new LinkedHashMap<>();
        for (String p : new String[] {"matrix", "vector"}) {
            StoredTensor start = t.get("start." + p);
            int[] dims = Arrays.stream(start.shape()).mapToInt(Math::toIntExact).toArray();
            Tensor x = Tensor.allocate(arena, Shape.of(dims));
            x.set(start.floats());
            parameters.put(p, x);
        }
        Adafactor rule = new Adafactor(
                o.flag("scale_parameter", true),
                o.flag("relative_step", true),
                o.flag("warmup_init", false),
                o.number("clip_threshold", 1),
                o.number("decay_rate", -0.8),
                o.number("beta1", 0),
                1e-30,
                1e-3,
                o.number("weight_decay", 0));
        int compared = 0;
        try (Optimizer optimizer = new Optimizer(parameters, rule, List.of(ParameterGroup.DECAY_ALL))) {
            for (int i = 0; t.containsKey("gradient." + i + ".matrix"); i++) {
                int step = i;
                parameters.forEach((p, x) ->
                        x.grad().set(t.get("gradient." + step + "." + p).floats()));
                optimizer.step(1, o.number("lr", 1));
                for (Map.Entry<String, Tensor> e : parameters.entrySet()) {
                    StoredTensor expected = t.get(name + "." + i + "." + e.getKey());
                    if (expected != null) {
                        float[] want = expected.floats(), have = e.getValue().toArray();
                        for (int k = 0; k < want.length; k++) {
                            assertThat(have[k])
                                    .as("%s step %d %s[%d]", name, i, e.getKey(), k)
                                    .isCloseTo(want[k], within(2e-6f));
                        }
                        compared++;
                    }
                }
            }
        }
        assertThat(compared).as(name).isEqualTo(8);
    }

    @Test
    void keepsARowAndAColumnOfAMatrix() {
        assertThat(new Adafactor().slots(Shape.of(300, 200)))
                .extracting(s -> s.shape().size())
                .containsExactly(300L, 200L);
        assertThatThrownBy(() -> new Adafactor().slots(Shape.of(2, 3, 4)))
                .hasMessage("Adafactor: a parameter [2, 3, 4] is neither a matrix nor a vector");
    }
}
