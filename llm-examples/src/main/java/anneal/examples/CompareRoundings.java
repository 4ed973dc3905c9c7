package anneal.examples;

import anneal.quant.post.Awq;
import anneal.quant.post.Gptq;
import anneal.quant.post.Grid;
import anneal.quant.post.LayerReport;
import anneal.quant.post.PostReport;
import anneal.quant.post.PostTraining;
import anneal.quant.post.Rtn;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.IntStream;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.style.markers.SeriesMarkers;

/**
 * The same grid filled in three ways: round to nearest, which looks at nothing, GPTQ, which lets later columns make up for the error of
 * earlier ones, and AWQ, which rounds finely what meets large inputs. {@code CompareRoundings MODEL TEXT HELD-OUT BITS OUTPUT.png}.
 */
public final class CompareRoundings {
    private static final int GROUP = 32;

    private CompareRoundings() {}

    /** Prints perplexities and each layer's error, |y' - y| / |y| on the calibration text, and draws the errors. */
    public static void main(String[] args) throws IOException {
        Path model = Path.of(args[0]);
        Texts texts = new Texts(Path.of(args[1]), Path.of(args[2]));
        Grid grid = Grid.bits(Integer.parseInt(args[3])).groups(GROUP);
        System.out.printf(Locale.ROOT, "floats: perplexity %.3f%n", texts.perplexity(model, (lm, forward) -> {}));
        Map<String, PostReport> reports = new LinkedHashMap<>();
        for (PostTraining method : List.of(new Rtn(grid), new Gptq(grid).actOrdered(), new Awq(grid))) {
            String name = method.getClass().getSimpleName().toUpperCase(Locale.ROOT);
            double perplexity = texts.perplexity(
                    model,
                    (lm, forward) -> reports.put(name, method.apply(lm.model().root(), forward)));
            System.out.printf(
                    Locale.ROOT,
                    "%-30s perplexity %.3f, mean error %.4f%n",
                    reports.get(name).method(),
                    perplexity,
                    reports.get(name).meanError());
        }
        print(reports);
        draw(grid, reports, Path.of(args[4]));
    }

    private static void print(Map<String, PostReport> reports) {
        System.out.printf("%-40s", "layer");
        reports.keySet().forEach(name -> System.out.printf(" %8s", name));
        System.out.println();
        List<LayerReport> layers = reports.values().iterator().next().layers();
        for (int i = 0; i < layers.size(); i++) {
            System.out.printf("%-40s", layers.get(i).path());
            for (PostReport report : reports.values()) {
                System.out.printf(Locale.ROOT, " %8.4f", report.layers().get(i).error());
            }
            System.out.println();
        }
    }

    /** Layers in the order of the first method's errors: in the model's, lines jump with the kinds of layers. */
    private static void draw(Grid grid, Map<String, PostReport> reports, Path file) throws IOException {
        List<LayerReport> first = reports.values().iterator().next().layers();
        List<Integer> order = IntStream.range(0, first.size())
                .boxed()
                .sorted(Comparator.comparingDouble(i -> first.get(i).error()))
                .toList();
        XYChart chart = Charts.lines(
                "Error of each layer's output, " + grid,
                "layer, by the error of rounding to nearest",
                "|y' - y| / |y|");
        chart.getStyler().setXAxisDecimalPattern("0").setYAxisMin(0.0);
        reports.forEach((name, report) -> chart.addSeries(
                        name,
                        order.stream()
                                .mapToDouble(i -> report.layers().get(i).error())
                                .toArray())
                .setMarker(SeriesMarkers.NONE));
        Charts.save(file, chart);
    }
}
