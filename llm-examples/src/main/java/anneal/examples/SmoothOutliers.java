package anneal.examples;

import anneal.Pretrained;
import anneal.kernels.Matrix;
import anneal.nn.Linear;
import anneal.quant.calibrate.Calibration;
import anneal.quant.calibrate.Junction;
import anneal.quant.post.Grid;
import anneal.quant.post.PostTraining;
import anneal.quant.post.SmoothQuant;
import anneal.quant.post.ZeroQuant;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Comparator;
import java.util.Locale;
import java.util.Map;
import java.util.stream.IntStream;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.style.markers.SeriesMarkers;

/**
 * Eight-bit integer products of a model with outlier channels, as they are and smoothed: perplexities, and the channels of one layer
 * before and after. {@code SmoothOutliers MODEL TEXT HELD-OUT TIMES OUTPUT.png}: two channels of every norm are made TIMES larger
 * first, without changing what the model computes; 1 leaves it with those outliers that it has.
 */
public final class SmoothOutliers {
    /** Channels in the picture, the largest first. */
    private static final int SHOWN = 64;

    private SmoothOutliers() {}

    /** Prints perplexities and writes the picture. */
    public static void main(String[] args) throws IOException {
        Path model = Path.of(args[0]);
        Texts texts = new Texts(Path.of(args[1]), Path.of(args[2]));
        float times = Float.parseFloat(args[3]);
        System.out.println("perplexity");
        print("floats", perplexity(model, times, texts, null));
        // ZeroQuant without groups is SmoothQuant's O1 without smoothing: a scale for each token and each row of W.
        print("W8A8", perplexity(model, times, texts, ZeroQuant.w8a8(Grid.PER_ROW)));
        print("W8A8 smoothed", perplexity(model, times, texts, SmoothQuant.o1().build()));
        try (Pretrained lm = Pretrained.load(model)) {
            plant(lm, times);
            draw(lm, texts.forward(lm), Path.of(args[4]));
        }
    }

    private static void print(String what, double perplexity) {
        System.out.printf(Locale.ROOT, "%-15s %10.3f%n", what, perplexity);
    }

    static double perplexity(Path model, float times, Texts texts, PostTraining method) {
        return texts.perplexity(model, (lm, forward) -> {
            plant(lm, times);
            if (method != null) {
                method.apply(lm.model().root(), forward);
            }
        });
    }

    /** Smoothing backwards: what comes out of a norm gets larger in two channels, and the layers that read it have smaller weights there. */
    static void plant(Pretrained lm, float times) {
        for (Junction junction : Junction.find(lm.model().root(), false)) {
            float[] s = new float[junction.source().channels()];
            Arrays.fill(s, 1);
            s[1] = 1 / times;
            s[s.length / 2] = 1 / times;
            junction.fold(s);
        }
    }

    /** The largest absolute value of each channel of one junction: of x, and of the columns of all W that read it. */
    record Maxima(float[] x, float[] w) {
        static Maxima of(Calibration seen, Junction junction) {
            float[] w = new float[junction.in()];
            for (Linear reader : junction.readers().values()) {
                Matrix matrix = reader.weight().matrix();
                float[] row = new float[w.length];
                for (int i = 0; i < matrix.rows(); i++) {
                    matrix.widen(i, 0, row.length, row, 0);
                    for (int c = 0; c < row.length; c++) {
                        w[c] = Math.max(w[c], Math.abs(row[c]));
                    }
                }
            }
            return new Maxima(seen.of(junction.name()).maxAbs(), w);
        }

        /** How far the largest channel of x stands out: its maximum over the median of all. */
        double outlier() {
            float[] sorted = x.clone();
            Arrays.sort(sorted);
            return sorted[sorted.length - 1] / sorted[sorted.length / 2];
        }
    }

    /** The junction that stands out most, before and after smoothing. */
    private static void draw(Pretrained lm, Runnable forward, Path file) throws IOException {
        Calibration before = seen(lm, forward);
        Junction worst = Junction.find(lm.model().root(), false).stream()
                .max(Comparator.comparingDouble(j -> Maxima.of(before, j).outlier()))
                .orElseThrow();
        Maxima rough = Maxima.of(before, worst);
        Map<String, String> alphas = SmoothQuant.o1().build().smooth(lm.model().root(), before);
        Maxima smooth = Maxima.of(seen(lm, forward), worst);
        System.out.printf(
                Locale.ROOT,
                "%s, %s: largest channel of x over the median %.1f, smoothed %.1f%n",
                worst.name(),
                alphas.get(worst.name()),
                rough.outlier(),
                smooth.outlier());
        Integer[] order = IntStream.range(0, worst.in())
                .boxed()
                .sorted(Comparator.comparingDouble(c -> -rough.x[c]))
                .limit(SHOWN)
                .toArray(Integer[]::new);
        Charts.save(
                file,
                panel("max |x| of a channel", order, rough.x, smooth.x),
                panel("max |w| of a channel", order, rough.w, smooth.w));
    }

    private static Calibration seen(Pretrained lm, Runnable forward) {
        return Calibration.capture(lm.model().root(), path -> true, Calibration.Options.SAMPLES, forward);
    }

    private static XYChart panel(String title, Integer[] order, float[] before, float[] after) {
        XYChart chart = Charts.half(title, "channel, by max |x| before", "");
        chart.getStyler().setXAxisDecimalPattern("0").setYAxisMin(0.0);
        add(chart, "before", order, before);
        add(chart, "smoothed", order, after);
        return chart;
    }

    private static void add(XYChart chart, String name, Integer[] order, float[] values) {
        double[] y = Arrays.stream(order).mapToDouble(c -> values[c]).toArray();
        chart.addSeries(name, y).setMarker(SeriesMarkers.NONE);
    }
}
