package anneal.examples;

import anneal.kernels.CodebookMatrix;
import anneal.nn.DenseWeight;
import anneal.nn.Linear;
import anneal.nn.Module;
import anneal.quant.Fp4;
import anneal.quant.GgufBlocks;
import anneal.quant.GroupInt;
import anneal.quant.Int8;
import anneal.quant.Nf4;
import anneal.quant.QuantFormat;
import anneal.quant.QuantReport;
import anneal.quant.Quantizer;
import anneal.tensor.Rng;
import anneal.tensor.Shape;
import anneal.tensor.Tensor;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.DoubleStream;
import org.knowm.xchart.AnnotationText;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYSeries;
import org.knowm.xchart.style.markers.SeriesMarkers;

/**
 * What each storage format loses of a normal weight for the bits it takes, and where the 16 values of NF4 lie on the normal density:
 * {@code FormatErrors ROWS FOLDER}.
 */
public final class FormatErrors {
    /** A multiple of every block. */
    private static final int COLUMNS = 1024;

    private static final String[] NAMES = {
        "nf4",
        "nf4-dq",
        "fp4",
        "q4_0",
        "q4_1",
        "q4_k",
        "int4-g128",
        "int4-row",
        "q5_0",
        "q5_1",
        "q5_k",
        "q6_k",
        "int8",
        "q8_0"
    };

    private FormatErrors() {}

    /** A format with its bits a number, scales included, and ||W - Q|| / ||W||. */
    record Row(String name, double bits, double error) {}

    /** Prints the table and writes formats.png and nf4.png. */
    public static void main(String[] args) throws IOException {
        List<Row> rows = measure(Integer.parseInt(args[0]));
        System.out.println("format        bits   lost");
        rows.forEach(r -> System.out.printf(Locale.ROOT, "%-12s %5.2f %5.2f %%%n", r.name, r.bits, 100 * r.error));
        Path folder = Files.createDirectories(Path.of(args[1]));
        draw(rows, folder.resolve("formats.png"));
        drawNf4(folder.resolve("nf4.png"));
    }

    static List<Row> measure(int rows) {
        List<Row> all = new ArrayList<>();
        for (String name : NAMES) {
            try (Arena arena = Arena.ofShared()) {
                QuantReport report = Quantizer.format(QuantFormat.of(name)).apply(new OneLayer(arena, rows));
                double bits = 8.0 * report.bytesAfter() / ((long) rows * COLUMNS);
                all.add(new Row(name, bits, report.worst()));
            }
        }
        return all;
    }

    /** The smallest model: one matrix of normal numbers. */
    private static final class OneLayer extends Module {
        OneLayer(Arena arena, int rows) {
            Tensor w = Tensor.allocate(arena, Shape.of(rows, COLUMNS));
            Rng rng = new Rng(0);
            float[] numbers = new float[rows * COLUMNS];
            for (int i = 0; i < numbers.length; i++) {
                numbers[i] = (float) rng.nextGaussian();
            }
            w.set(numbers);
            child("layer", new Linear(new DenseWeight(w), null));
        }
    }

    private static void draw(List<Row> rows, Path file) throws IOException {
        XYChart chart = Charts.lines("What a format loses of a normal weight", "bits a number, with scales", "lost, %");
        chart.getStyler().setXAxisMin(3.8).setXAxisMax(9.0).setYAxisMin(0.0).setYAxisMax(15.0);
        Map<String, List<Row>> families = new LinkedHashMap<>();
        rows.forEach(r ->
                families.computeIfAbsent(family(r.name), f -> new ArrayList<>()).add(r));
        families.forEach((family, members) -> chart.addSeries(
                        family,
                        members.stream().map(Row::bits).toList(),
                        members.stream().map(r -> 100 * r.error).toList())
                .setXYSeriesRenderStyle(XYSeries.XYSeriesRenderStyle.Scatter));
        // Right of its point, or left if another point stands there: the place is that of the label's middle.
        rows.forEach(r -> {
            double half = 0.03 + 0.027 * r.name.length();
            boolean taken = rows.stream()
                    .anyMatch(
                            o -> o.bits > r.bits && o.bits < r.bits + 2 * half && Math.abs(o.error - r.error) < 0.006);
            double middle = taken ? r.bits - half : r.bits + half;
            chart.addAnnotation(new AnnotationText(r.name, middle, 100 * r.error - 0.15, false));
        });
        Charts.save(file, chart);
    }

    private static String family(String name) {
        return switch (QuantFormat.of(name)) {
            case Nf4 _, Fp4 _, Int8 _ -> "bitsandbytes";
            case GgufBlocks _ -> "GGUF";
            case GroupInt _ -> "groups of integers";
        };
    }

    /** Values are stretched by the absmax that a block of 64 normal numbers has on average. */
    private static void drawNf4(Path file) throws IOException {
        double absmax = meanLargest(Nf4.USUAL_BLOCK, 4096);
        XYChart chart =
                Charts.lines("The 16 values of NF4 on the normal density", "weight, in standard deviations", "density");
        chart.getStyler().setYAxisMin(0.0).setYAxisDecimalPattern("0.0");
        double[] x = DoubleStream.iterate(-3.2, v -> v <= 3.2, v -> v + 0.05).toArray();
        chart.addSeries(
                        "normal density",
                        x,
                        DoubleStream.of(x).map(FormatErrors::density).toArray())
                .setMarker(SeriesMarkers.NONE);
        List<Double> across = new ArrayList<>(), up = new ArrayList<>();
        for (float value : CodebookMatrix.NF4) {
            double at = value * absmax;
            across.addAll(List.of(at, at, at));
            up.addAll(List.of(0.0, density(at), 0.0));
        }
        chart.addSeries(String.format(Locale.ROOT, "NF4 times %.2f, the mean absmax of 64 numbers", absmax), across, up)
                .setMarker(SeriesMarkers.NONE);
        Charts.save(file, chart);
    }

    private static double density(double x) {
        return Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI);
    }

    /** The mean of the largest absolute value of {@code count} normal numbers. */
    private static double meanLargest(int count, int times) {
        Rng rng = new Rng(0);
        double sum = 0;
        for (int t = 0; t < times; t++) {
            double most = 0;
            for (int i = 0; i < count; i++) {
                most = Math.max(most, Math.abs(rng.nextGaussian()));
            }
            sum += most;
        }
        return sum / times;
    }
}
