package anneal.quant.calibrate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import anneal.kernels.Parallel;
import anneal.nn.Adapter;
import anneal.nn.DenseWeight;
import anneal.nn.Linear;
import anneal.nn.Module;
import anneal.tensor.Memory;
import anneal.tensor.Rng;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

class CalibrationTest {
    private static final int IN = 12;

    /** Two layers that read x, one that reads the first one's output, one that is never run. */
    private static final class Small extends Module {
        final Linear a = child("a", linear(8, IN));
        final Linear b = child("b", linear(5, IN));
        final Linear c = child("c", linear(3, 8));

        void forward(Tensor x) {
            Tensor h = a.forward(x);
            b.forward(x);
            c.forward(h);
        }

        static Linear linear(int out, int in) {
            return new Linear(new DenseWeight(random(new Rng(out), out, in)), null);
        }
    }

    private static Tensor random(Rng rng, int rows, int cols) {
        float[] x = new float[rows * cols];
        for (int i = 0; i < x.length; i++) {
            x[i] = (float) rng.nextGaussian();
        }
        return Tensor.of(x, rows, cols);
    }

    private static Calibration capture(Small model, int windows, int rows, int samples) {
        return Calibration.capture(model, p -> true, new Calibration.Options(true, samples, 3), () -> {
            for (int w = 0; w < windows; w++) {
                try (var _ = Memory.scope()) {
                    model.forward(random(new Rng(100 + w), rows, IN));
                }
            }
        });
    }

    @Test
    void measuresAreThoseOfTheFormulas() {
        Calibration seen = capture(new Small(), 3, 70, 1000);
        LayerInputs in = seen.of("a");
        assertThat(in.rows()).isEqualTo(210);
        double[] moments = new double[IN * IN];
        double[] sum = new double[IN];
        float[] most = new float[IN];
        float[] all = in.samples().toArray();
        assertThat(all).hasSize(210 * IN);
        for (int w = 0, r = 0; w < 3; w++) {
            float[] x = random(new Rng(100 + w), 70, IN).toArray();
            assertThat(Arrays.copyOfRange(all, r * IN, (r + 70) * IN)).isEqualTo(x);
            for (int i = 0; i < 70; i++, r++) {
                for (int j = 0; j < IN; j++) {
                    sum[j] += Math.abs(x[i * IN + j]);
                    most[j] = Math.max(most[j], Math.abs(x[i * IN + j]));
                    for (int k = 0; k < IN; k++) {
                        moments[j * IN + k] += (double) x[i * IN + j] * x[i * IN + k];
                    }
                }
            }
        }
        assertThat(in.maxAbs()).isEqualTo(most);
        // Sums of 70 floats: 200 times 2^-24 for each addition, which mostly cancel.
        assertThat(in.moments()).containsExactly(moments, within(1e-4));
        for (int j = 0; j < IN; j++) {
            assertThat(in.meanAbs()[j]).isCloseTo((float) (sum[j] / 210), within(1e-6f));
        }
    }

    @Test
    void layersThatReadTheSameTensorShareTheirMeasurements() {
        Calibration seen = capture(new Small(), 2, 5, 4);
        assertThat(seen.of("b")).isSameAs(seen.of("a"));
        assertThat(seen.of("c")).isNotSameAs(seen.of("a"));
        assertThat(seen.layers().keySet()).containsExactlyInAnyOrder("a", "b", "c");
    }

    @Test
    void memoryIsBoundedAndSamplesAreDrawnFromTheWholeText() {
        LayerInputs in = capture(new Small(), 20, 50, 32).of("a");
        assertThat(in.rows()).isEqualTo(1000);
        float[] kept = in.samples().toArray();
        assertThat(kept).hasSize(32 * IN);
        // Row r is in the sample with chance 0.032: of 32 rows about half come from the second half of the text.
        int late = 0;
        for (int w = 10; w < 20; w++) {
            List<Float> firsts = new java.util.ArrayList<>();
            float[] x = random(new Rng(100 + w), 50, IN).toArray();
            for (int i = 0; i < 50; i++) {
                firsts.add(x[i * IN]);
            }
            for (int i = 0; i < 32; i++) {
                late += firsts.contains(kept[i * IN]) ? 1 : 0;
            }
        }
        assertThat(late).isBetween(8, 24);
    }

    @Test
    void sameBitsForAnyNumberOfThreads() {
        int before = Parallel.threads();
        try {
            Parallel.threads(1);
            LayerInputs one = capture(new Small(), 4, 100, 16).of("c");
            Parallel.threads(4);
            LayerInputs four = capture(new Small(), 4, 100, 16).of("c");
            assertThat(four.moments()).isEqualTo(one.moments());
            assertThat(four.samples().toArray()).isEqualTo(one.samples().toArray());
        } finally {
            Parallel.threads(before);
        }
    }

    @Test
    void adaptersActAndAreBackAfterwardsEvenIfThePassFails() {
        Small model = new Small();
        Adapter zero = (x, base) -> Tensor.zeros(x.rowCount(), base.out());
        model.a.adapter(zero);
        LayerInputs c = capture(model, 1, 3, 4).of("c");
        assertThat(c.maxAbs()).containsOnly(0f);
        assertThat(model.a.adapter()).isSameAs(zero);
        assertThatThrownBy(() -> Calibration.capture(model, () -> {
                    throw new IllegalStateException("stop");
                }))
                .hasMessage("stop");
        assertThat(model.a.adapter()).isSameAs(zero);
        assertThat(model.b.adapter()).isSameAs(Adapter.NONE);
        assertThat(Tape.recording()).isTrue();
    }

    @Test
    void badInputIsOneSentence() {
        Small model = new Small();
        assertThatThrownBy(() -> Windows.of(new int[812], 8, 128))
                .hasMessage(
                        "calibration: the text has 812 tokens, but 8 windows of 128 need 1024: give a longer text, or"
                                + " fewer or shorter windows");
        assertThatThrownBy(() -> Windows.of(new int[8], 0, 4))
                .hasMessage("calibration: 0 windows of 4 tokens: both must be at least 1");
        assertThatThrownBy(() -> Calibration.capture(model, () -> model.a.forward(random(new Rng(1), 2, IN))))
                .hasMessage("calibration: the forward pass never reached b: nothing is known of its input");
        assertThatThrownBy(() -> Calibration.capture(model, p -> false, Calibration.Options.SAMPLES, () -> {}))
                .hasMessage("quantise: none of the 3 linear layers is chosen, for example a");
        float[] nan = new float[IN];
        nan[5] = Float.NaN;
        assertThatThrownBy(() -> Calibration.capture(model, () -> model.forward(Tensor.of(nan, 1, IN))))
                .hasMessage("calibration: the input of a is NaN in channel 5: it must be finite");
        assertThatThrownBy(() -> capture(model, 1, 2, 1).of("aa"))
                .hasMessage("calibration: there is no layer aa; the nearest is a");
        assertThatThrownBy(() -> new Calibration.Options(false, -1, 0))
                .hasMessage("calibration: samples -1 must not be negative");
        LayerInputs without = LayerInputs.of(random(new Rng(1), 2, IN), Calibration.Options.SAMPLES);
        assertThatThrownBy(without::moments)
                .hasMessage("calibration: second moments were not collected; ask for them in the Options");
    }

    @Test
    void windowsCoverTheText() {
        int[] ids = new int[100];
        Arrays.setAll(ids, i -> i);
        int[][] w = Windows.of(ids, 4, 20);
        assertThat(Arrays.stream(w).map(a -> a[0]).toList()).containsExactly(0, 26, 53, 80);
        assertThat(w[3][19]).isEqualTo(99);
        assertThat(Windows.of(ids, 5, 20)[1][0]).isEqualTo(20);
        assertThat(Windows.of(ids, 1, 100)[0]).isEqualTo(ids);
    }
}
