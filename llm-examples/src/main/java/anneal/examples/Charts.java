package anneal.examples;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import org.knowm.xchart.BitmapEncoder;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYChartBuilder;
import org.knowm.xchart.style.Styler;

/** The look that the pictures of the recipes share. */
final class Charts {
    private Charts() {}

    /** An empty chart of lines. */
    static XYChart lines(String title, String x, String y) {
        return lines(720, title, x, y);
    }

    /** The same, narrow enough for two side by side. */
    static XYChart half(String title, String x, String y) {
        return lines(420, title, x, y);
    }

    private static XYChart lines(int width, String title, String x, String y) {
        XYChart chart = new XYChartBuilder()
                .width(width)
                .height(400)
                .title(title)
                .xAxisTitle(x)
                .yAxisTitle(y)
                .build();
        chart.getStyler()
                .setLegendPosition(Styler.LegendPosition.OutsideS)
                .setLegendLayout(Styler.LegendLayout.Horizontal)
                .setMarkerSize(6);
        return chart;
    }

    /** Writes charts side by side as one PNG. */
    static void save(Path file, XYChart... charts) throws IOException {
        BitmapEncoder.saveBitmap(List.of(charts), 1, charts.length, file.toString(), BitmapEncoder.BitmapFormat.PNG);
    }
}
