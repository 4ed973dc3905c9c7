package anneal.examples;

import anneal.NextToken;
import anneal.Pretrained;
import anneal.data.Batches;
import anneal.data.Jsonl;
import anneal.peft.Adapters;
import anneal.peft.LastLayers;
import anneal.tensor.Linalg;
import anneal.tensor.Memory;
import anneal.tensor.Tensor;
import anneal.train.AdamW;
import anneal.train.Schedule;
import anneal.train.TrainConfig;
import anneal.train.Trainer;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.IntStream;
import org.knowm.xchart.BitmapEncoder;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYChartBuilder;
import org.knowm.xchart.style.markers.SeriesMarkers;

/**
 * Fine-tunes all of a model's last block and draws the singular values of its weights beside those of what was learnt:
 * {@code SingularValues MODEL DATA STEPS OUTPUT.png}.
 */
public final class SingularValues {
    private static final List<String> MODULES = List.of("q_proj", "down_proj");

    /** Where the picture ends, in parts of the first value. */
    private static final double SMALLEST = 1e-3;

    private SingularValues() {}

    /** Singular values of a matrix, the largest first. */
    record Spectrum(String name, double[] values) {
        /** The part of the squares of all numbers that the nearest matrix of this rank has. */
        double part(int rank) {
            return squares(Arrays.copyOf(values, Math.min(rank, values.length))) / squares(values);
        }

        private static double squares(double[] x) {
            return Arrays.stream(x).map(v -> v * v).sum();
        }
    }

    /** Prints what few directions hold and writes the picture. */
    public static void main(String[] args) throws IOException {
        List<Spectrum> all = spectra(Path.of(args[0]), Path.of(args[1]), Integer.parseInt(args[2]));
        System.out.println("matrix\trank 1\trank 8\trank 16\trank 64\tof");
        all.forEach(s -> System.out.printf(
                Locale.ROOT,
                "%s\t%.3f\t%.3f\t%.3f\t%.3f\t%d%n",
                s.name,
                s.part(1),
                s.part(8),
                s.part(16),
                s.part(64),
                s.values.length));
        draw(all, Path.of(args[3]));
    }

    /** Of W and of the update, for each of the modules. */
    static List<Spectrum> spectra(Path model, Path file, int steps) {
        try (Pretrained lm = Pretrained.load(model)) {
            Adapters adapters = LastLayers.of(1).attach(lm.model().root());
            Map<String, float[]> before = new LinkedHashMap<>();
            adapters.parameters().forEach((name, p) -> before.put(name, p.toArray()));
            Batches data = Jsonl.chats(file).encode(lm.chat()).pad().batches(4).shuffled(42);
            TrainConfig config = TrainConfig.builder()
                    .steps(steps)
                    .schedule(new Schedule.Cosine(LastLayers.LEARNING_RATE, steps / 20))
                    .build();
            try (Trainer trainer = new Trainer(adapters, new AdamW(), config)) {
                trainer.onStep(System.out::println);
                trainer.fit(data, new NextToken(lm.model()));
            }
            List<Spectrum> all = new ArrayList<>();
            for (String module : MODULES) {
                String name = before.keySet().stream()
                        .filter(n -> n.endsWith(module + ".weight"))
                        .findFirst()
                        .orElseThrow();
                Tensor after = adapters.parameters().get(name);
                float[] w = before.get(name), update = after.toArray();
                for (int i = 0; i < w.length; i++) {
                    update[i] -= w[i];
                }
                all.add(new Spectrum(module + ": W", singular(w, after)));
                all.add(new Spectrum(module + ": update", singular(update, after)));
            }
            return all;
        }
    }

    private static double[] singular(float[] numbers, Tensor shape) {
        try (Memory.Scope scope = Memory.scope()) {
            float[] s = Linalg.svd(Tensor.of(numbers, shape.dim(0), shape.dim(1)))
                    .s()
                    .toArray();
            return IntStream.range(0, s.length).mapToDouble(i -> s[i]).toArray();
        }
    }

    /** Each curve in parts of its first value, on a logarithmic axis, down to a thousandth. */
    static void draw(List<Spectrum> all, Path file) throws IOException {
        XYChart chart = new XYChartBuilder()
                .width(760)
                .height(420)
                .title("Singular values of weights and of what was learnt")
                .xAxisTitle("number")
                .yAxisTitle("in parts of the first")
                .build();
        int longest = all.stream().mapToInt(s -> s.values.length).max().orElse(1);
        // An axis that begins and ends at round numbers has round ones between.
        chart.getStyler()
                .setYAxisLogarithmic(true)
                .setYAxisMin(SMALLEST)
                .setXAxisMin(0.0)
                .setXAxisMax(100.0 * Math.ceilDiv(longest, 100));
        for (Spectrum s : all) {
            double[] parts = Arrays.stream(s.values)
                    .map(v -> v / s.values[0])
                    .takeWhile(v -> v >= SMALLEST)
                    .toArray();
            double[] numbers =
                    IntStream.rangeClosed(1, parts.length).asDoubleStream().toArray();
            chart.addSeries(s.name, numbers, parts).setMarker(SeriesMarkers.NONE);
        }
        BitmapEncoder.saveBitmap(chart, file.toString(), BitmapEncoder.BitmapFormat.PNG);
    }
}
