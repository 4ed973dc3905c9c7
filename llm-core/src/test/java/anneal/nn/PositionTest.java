package anneal.nn;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import anneal.tensor.Memory;
import anneal.tensor.Rng;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.util.Arrays;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Rotary angles and their scalings, and ALiBi slopes, from their definitions. */
class PositionTest {
    private Memory.Scope scope;
    private Tape.Pause pause;

    @BeforeEach
    void open() {
        scope = Memory.scope();
        pause = Tape.pause();
    }

    @AfterEach
    void close() {
        pause.close();
        scope.close();
    }

    private static float[] random(int n, long seed) {
        Rng rng = new Rng(seed);
        float[] a = new float[n];
        for (int i = 0; i < n; i++) {
            a[i] = (float) rng.nextGaussian();
        }
        return a;
    }

    private static double dot(float[] a, float[] b) {
        double sum = 0;
        for (int i = 0; i < a.length; i++) {
            sum += (double) a[i] * b[i];
        }
        return sum;
    }

    /** What rotary positions are for: q_m k_n depends on m - n alone. */
    @Test
    void scoresDependOnTheDistanceOnly() {
        for (boolean interleaved : new boolean[] {false, true}) {
            Rope rope = new Rope(16, 12, 10_000, new RopeScaling.None(), interleaved);
            float[] q = random(16, 1), k = random(16, 2);
            double first = Double.NaN;
            for (int shift : new int[] {0, 1, 30, 500}) {
                double score = dot(turned(rope, q, 7 + shift), turned(rope, k, 3 + shift));
                first = Double.isNaN(first) ? score : first;
                assertThat(score).isCloseTo(first, within(2e-4));
            }
            assertThat(dot(turned(rope, q, 7), turned(rope, k, 4))).isNotCloseTo(first, within(1e-3));
        }
    }

    private static float[] turned(Rope rope, float[] x, int position) {
        return rope.turn(Tensor.of(x, 1, x.length), rope.angles(new int[] {position}))
                .toArray();
    }

    @Test
    void anglesAreThoseOfTheFormulaAtAnyPosition() {
        Rope rope = new Rope(8, 8, 500, new RopeScaling.None(), false);
        int[] positions = {0, 5, 2, 1000, 5};
        Rope.Angles a = rope.angles(positions);
        for (int t = 0; t < positions.length; t++) {
            for (int i = 0; i < 4; i++) {
                double angle = positions[t] * Math.pow(500, -2.0 * i / 8);
                assertThat(a.cos().get(t * 4 + i)).isCloseTo((float) Math.cos(angle), within(1e-7f));
                assertThat(a.sin().get(t * 4 + i)).isCloseTo((float) Math.sin(angle), within(1e-7f));
            }
        }
    }

    @Test
    void llama3KeepsShortWavesAndStretchesLongOnes() {
        RopeScaling.Llama3 scaling = new RopeScaling.Llama3(8, 1, 4, 64);
        double[] plain = new RopeScaling.None().frequencies(32, 10_000, 0);
        double[] scaled = scaling.frequencies(32, 10_000, 0);
        for (int i = 0; i < plain.length; i++) {
            double wave = 2 * Math.PI / plain[i];
            if (wave < 64.0 / 4) {
                assertThat(scaled[i]).isEqualTo(plain[i]);
            } else if (wave > 64) {
                assertThat(scaled[i]).isCloseTo(plain[i] / 8, within(1e-18));
            } else {
                assertThat(scaled[i]).isBetween(plain[i] / 8, plain[i]);
            }
        }
    }

    @Test
    void dynamicStartsAboveTheOriginalLength() {
        RopeScaling.Dynamic d = new RopeScaling.Dynamic(2, 32);
        assertThat(d.frequencies(12, 10_000, 32)).isEqualTo(new RopeScaling.None().frequencies(12, 10_000, 32));
        double base = 10_000 * Math.pow(2 * 64 / 32.0 - 1, 12 / 10.0);
        assertThat(d.frequencies(12, 10_000, 64)[3]).isCloseTo(Math.pow(base, -6 / 12.0), within(1e-15));
    }

    @Test
    void wrongSettingsAreNamed() {
        assertThatThrownBy(() -> new RopeScaling.Linear(0.5))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("rope_scaling linear: factor 0.5 must be at least 1");
        assertThatThrownBy(() -> new RopeScaling.Llama3(8, 4, 1, 64))
                .hasMessage("rope_scaling llama3: low_freq_factor 4.0 must be positive and below high_freq_factor 1.0");
        assertThatThrownBy(() -> new RopeScaling.Dynamic(2, 0))
                .hasMessage("rope_scaling dynamic: original_max_position_embeddings 0 must be positive");
        assertThatThrownBy(() -> new Rope(16, 7, 10_000, new RopeScaling.None(), false))
                .hasMessage("rope: 7 rotated channels must be even and between 2 and 16, the head size");
        assertThatThrownBy(() -> new RopeScaling.Factors(new float[3]).frequencies(8, 10_000, 0))
                .hasMessage("rope factors: 3 factors for 4 pairs of channels");
    }

    /** 2^(-8 i / n); for 6 heads the 4 slopes of 4 heads, then the first and third of 8. */
    @Test
    void alibiSlopes() {
        assertThat(Alibi.slopes(8))
                .containsExactly(half(1), half(2), half(3), half(4), half(5), half(6), half(7), half(8));
        assertThat(Alibi.slopes(6)).containsExactly(half(2), half(4), half(6), half(8), half(1), half(3));
        assertThat(Arrays.stream(new int[] {1, 2, 16})
                        .map(n -> Alibi.slopes(n).length)
                        .toArray())
                .containsExactly(1, 2, 16);
    }

    private static float half(int power) {
        return (float) Math.pow(2, -power);
    }
}
