package anneal.examples;

import anneal.quant.post.LayerDistillation;
import anneal.quant.post.ZeroQuant;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.style.markers.SeriesMarkers;

/**
 * ZeroQuant from 8 bits down to 2, rounding alone and with layer-by-layer distillation (LKD), which trains each block for a moment to
 * give what it gave in floats: {@code DistilBlocks MODEL TEXT HELD-OUT PASSES OUTPUT.png}.
 */
public final class DistilBlocks {
    private static final int[] BITS = {8, 6, 5, 4, 3, 2};
    private static final int GROUP = 32;
    private static final double RATE = 1e-4;

    private DistilBlocks() {}

    /** Perplexities at one number of bits for the weights; inputs have 8. */
    record Row(int bits, double rounded, double distilled) {}

    /** Prints the table and draws it. */
    public static void main(String[] args) throws IOException {
        Path model = Path.of(args[0]);
        Texts texts = new Texts(Path.of(args[1]), Path.of(args[2]));
        LayerDistillation lkd = new LayerDistillation(Integer.parseInt(args[3]), RATE);
        double floats = texts.perplexity(model, (lm, forward) -> {});
        System.out.printf(Locale.ROOT, "floats: perplexity %.3f%nweights    rounded   with LKD%n", floats);
        List<Row> rows = new ArrayList<>();
        for (int bits : BITS) {
            Row row = new Row(bits, perplexity(model, texts, bits, null), perplexity(model, texts, bits, lkd));
            System.out.printf(Locale.ROOT, "%d bits  %10.3f %10.3f%n", bits, row.rounded, row.distilled);
            rows.add(row);
        }
        draw(floats, rows, Path.of(args[4]));
    }

    static double perplexity(Path model, Texts texts, int bits, LayerDistillation lkd) {
        return texts.perplexity(
                model,
                (lm, forward) ->
                        new ZeroQuant(bits, bits, GROUP, lkd).apply(lm.model().root(), forward));
    }

    private static void draw(double floats, List<Row> rows, Path file) throws IOException {
        XYChart chart = Charts.lines("ZeroQuant, inputs in 8 bits", "bits of a weight", "perplexity");
        chart.getStyler().setXAxisDecimalPattern("0").setYAxisDecimalPattern("0.0");
        List<Integer> bits = rows.stream().map(Row::bits).toList();
        chart.addSeries("rounded", bits, rows.stream().map(Row::rounded).toList());
        chart.addSeries("with LKD", bits, rows.stream().map(Row::distilled).toList());
        chart.addSeries("floats", List.of(BITS[0], BITS[BITS.length - 1]), List.of(floats, floats))
                .setMarker(SeriesMarkers.NONE);
        Charts.save(file, chart);
    }
}
