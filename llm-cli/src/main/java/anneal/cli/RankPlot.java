package anneal.cli;

import anneal.peft.RankReport;
import java.awt.Color;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.knowm.xchart.HeatMapChart;
import org.knowm.xchart.HeatMapChartBuilder;

/** The ranks of an AdaLoRA as a picture: a field for each module, blocks from left to right, kinds of modules from bottom to top. */
public final class RankPlot {
    /** The number of a block in a path, as in model.layers.3.self_attn.q_proj, and the kind of the module in it. */
    private static final Pattern BLOCK = Pattern.compile(".*?\\.(\\d+)\\.(.*)");

    private RankPlot() {}

    /**
     * Writes a PNG, larger numbers darker.
     *
     * @throws java.io.UncheckedIOException naming the file if it cannot be written
     */
    public static void write(Path file, RankReport report) {
        TreeSet<Integer> blocks = new TreeSet<>();
        List<String> kinds = new ArrayList<>();
        for (RankReport.Entry e : report.modules()) {
            blocks.add(block(e.path()));
            if (!kinds.contains(kind(e.path()))) {
                kinds.add(kind(e.path()));
            }
        }
        List<Integer> columns = List.copyOf(blocks);
        List<Number[]> fields = new ArrayList<>();
        for (RankReport.Entry e : report.modules()) {
            fields.add(new Number[] {columns.indexOf(block(e.path())), kinds.indexOf(kind(e.path())), e.rank()});
        }
        HeatMapChart chart = new HeatMapChartBuilder()
                .width(260 + 28 * columns.size())
                .height(110 + 26 * kinds.size())
                .title("Ranks that AdaLoRA " + (report.isFinal() ? "left, " : "has so far, ") + report.total()
                        + " in all")
                .xAxisTitle("block")
                .build();
        chart.getStyler().setShowValue(true).setHeatMapValueDecimalPattern("0").setMin(0);
        chart.getStyler().setPlotContentSize(1);
        chart.getStyler().setRangeColors(new Color[] {Color.WHITE, Color.GRAY});
        chart.getStyler().setChartBackgroundColor(Color.WHITE);
        chart.addSeries("rank", columns, kinds, fields);
        chart.getStyler().setLegendVisible(false);
        Png.write(file, chart);
    }

    /** -1 for a module outside the blocks. */
    private static int block(String path) {
        Matcher m = BLOCK.matcher(path);
        return m.matches() ? Integer.parseInt(m.group(1)) : -1;
    }

    private static String kind(String path) {
        Matcher m = BLOCK.matcher(path);
        return m.matches() ? m.group(2) : path;
    }
}
