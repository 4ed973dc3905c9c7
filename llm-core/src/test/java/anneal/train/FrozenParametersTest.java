package anneal.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import anneal.ArenaFixture;
import anneal.tensor.Shape;
import anneal.tensor.ShapeException;
import anneal.tensor.Tensor;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What an optimiser does about parameters that are trained in turns. */
class FrozenParametersTest extends ArenaFixture {
    private Tensor parameter() {
        Tensor p = Tensor.allocate(arena, Shape.of(2));
        p.set(new float[] {1, -2});
        return p;
    }

    private static void step(Optimizer o, Tensor... tracked) {
        o.zeroGrad();
        for (Tensor p : tracked) {
            p.grad().set(new float[] {0.5f, p.get(1)});
        }
        o.step(1, 0.1);
    }

    /** Frozen for three of five steps it stays as it is, and then makes the steps that it would make from the start. */
    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void beginsAnew(boolean paged) {
        Tensor a = parameter(), b = parameter(), fresh = parameter();
        Map<String, Tensor> both = new LinkedHashMap<>();
        both.put("a", a);
        both.put("b", b);
        try (Optimizer o = new Optimizer(both, new AdamW(), List.of(), paged ? dir : null);
                Optimizer other = new Optimizer(Map.of("b", fresh), new AdamW(), List.of())) {
            step(o, a, b);
            assertThat(o.state()).containsOnlyKeys("mean.a", "square.a", "mean.b", "square.b");
            float[] after = b.toArray();
            assertThat(after).isNotEqualTo(new float[] {1, -2});
            b.trainable(false);
            for (int i = 0; i < 3; i++) {
                step(o, a);
                assertThat(b.toArray()).containsExactly(after);
                assertThat(o.state()).containsOnlyKeys("mean.a", "square.a");
            }
            fresh.set(after);
            b.trainable(true);
            assertThat(o.state().get("mean.b").floats()).containsOnly(0);
            assertThat(o.began()).isEqualTo(Map.of("b", 4L));
            for (int i = 0; i < 2; i++) {
                step(o, a, b);
                step(other, fresh);
                assertThat(b.toArray()).containsExactly(fresh.toArray());
            }
            assertThat(o.steps()).isEqualTo(6);
        }
    }

    @Test
    void gradientsAreHandedOver() {
        Tensor a = parameter().trainable(true), b = parameter().trainable(true);
        long where = a.gradBuf().address();
        b.inheritGrad(a);
        assertThat(a.hasGrad()).isFalse();
        assertThat(b.hasGrad()).isFalse();
        assertThat(b.gradBuf().address()).isEqualTo(where);
        assertThat(a.gradBuf().address()).isNotEqualTo(where);
        assertThatThrownBy(() -> a.inheritGrad(Tensor.allocate(arena, Shape.of(3))))
                .isInstanceOf(ShapeException.class)
                .hasMessage("inheritGrad: [2] does not fit [3]: sizes must be equal");
    }
}
