package anneal.nn;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import anneal.tensor.Tensor;
import org.junit.jupiter.api.Test;

/** Other scales and shifts in a norm. */
class NormSocketTest {
    private static final Tensor X = Tensor.of(new float[] {1, -1}, 1, 2);

    @Test
    void computesWithWhatIsPluggedIn() {
        RmsNorm norm = new RmsNorm(Tensor.of(new float[] {1, 2}, 2), 0);
        assertThat(norm.forward(X).toArray()).containsExactly(1, -2);
        norm.plug(new Norm.Affine(Tensor.of(new float[] {3, 4}, 2), null));
        assertThat(norm.forward(X).toArray()).containsExactly(3, -4);
        assertThat(norm.parameters().get("weight").toArray()).containsExactly(1, 2);
        norm.plug(norm.own());
        assertThat(norm.forward(X).toArray()).containsExactly(1, -2);

        LayerNorm shifted = new LayerNorm(Tensor.of(new float[] {1, 2}, 2), Tensor.of(new float[] {5, 6}, 2), 0);
        assertThat(shifted.forward(X).toArray()).containsExactly(6, 4);
        shifted.plug(new Norm.Affine(shifted.own().weight(), Tensor.of(new float[] {0, 1}, 2)));
        assertThat(shifted.forward(X).toArray()).containsExactly(1, -1);
    }

    @Test
    void aShiftIsThereInBothOrInNone() {
        Tensor two = Tensor.of(new float[2], 2);
        assertThatThrownBy(() -> new RmsNorm(two, 0).plug(new Norm.Affine(two, two)))
                .hasMessage("plug: a norm without a shift needs numbers without one (at )");
        assertThatThrownBy(() -> new LayerNorm(two, two, 0).plug(new Norm.Affine(two, null)))
                .hasMessage("plug: a norm with a shift needs numbers with one (at )");
    }
}
