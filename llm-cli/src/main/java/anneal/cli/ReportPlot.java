package anneal.cli;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.knowm.xchart.CategoryChart;
import org.knowm.xchart.CategoryChartBuilder;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYChartBuilder;
import org.knowm.xchart.XYSeries;
import org.knowm.xchart.style.Styler;
import org.knowm.xchart.style.markers.SeriesMarkers;

/** What quantisation did to each layer as a picture: above the errors, a line for each kind of layer, below its bytes before and after. */
final class ReportPlot {
    private static final int WIDTH = 720;

    /** With more blocks points are so near that markers hide the lines. */
    private static final int MARKED_BLOCKS = 12;

    /** The number of a block in a path, and what the layer is called in it. */
    private static final Pattern BLOCK = Pattern.compile(".*?\\.(\\d+)\\.(.*)");

    /**
     * One layer.
     *
     * @param error what the report says, or null if it was not measured
     */
    record Layer(String path, Double error, long bytesBefore, long bytesAfter) {
        /** 0 outside the blocks. */
        private int block() {
            Matcher m = BLOCK.matcher(path);
            return m.matches() ? Integer.parseInt(m.group(1)) : 0;
        }

        private String kind() {
            Matcher m = BLOCK.matcher(path);
            return m.matches() ? m.group(2).substring(m.group(2).lastIndexOf('.') + 1) : path;
        }
    }

    private ReportPlot() {}

    /**
     * Writes a PNG.
     *
     * @param error what the errors are: "||W - Q|| / ||W||"
     */
    static void write(Path file, String title, String error, List<Layer> layers) {
        Map<String, List<Layer>> kinds = new LinkedHashMap<>();
        layers.forEach(
                l -> kinds.computeIfAbsent(l.kind(), k -> new ArrayList<>()).add(l));
        boolean measured = layers.stream().anyMatch(l -> l.error != null);
        CategoryChart bytes = bytes(measured ? "" : title, kinds);
        if (measured) {
            Png.write(file, errors(title, error, kinds), bytes);
        } else {
            Png.write(file, bytes);
        }
    }

    private static XYChart errors(String title, String error, Map<String, List<Layer>> kinds) {
        XYChart chart = new XYChartBuilder()
                .width(WIDTH)
                .height(340)
                .title(title)
                .xAxisTitle("block")
                .yAxisTitle(error)
                .build();
        chart.getStyler().setLegendPosition(Styler.LegendPosition.OutsideE).setMarkerSize(6);
        chart.getStyler().setXAxisDecimalPattern("0").setYAxisDecimalPattern("0.0##");
        kinds.forEach((kind, layers) -> {
            List<Layer> with = layers.stream().filter(l -> l.error != null).toList();
            if (!with.isEmpty()) {
                XYSeries line = chart.addSeries(
                        kind,
                        with.stream().map(Layer::block).toList(),
                        with.stream().map(Layer::error).toList());
                if (with.size() > MARKED_BLOCKS) {
                    line.setMarker(SeriesMarkers.NONE);
                }
            }
        });
        return chart;
    }

    private static CategoryChart bytes(String title, Map<String, List<Layer>> kinds) {
        CategoryChart chart = new CategoryChartBuilder()
                .width(WIDTH)
                .height(220)
                .title(title)
                .yAxisTitle("MB, all blocks")
                .build();
        chart.getStyler().setLegendPosition(Styler.LegendPosition.OutsideE);
        List<String> names = List.copyOf(kinds.keySet());
        chart.addSeries("before", names, megabytes(kinds, true));
        chart.addSeries("after", names, megabytes(kinds, false));
        return chart;
    }

    private static List<Double> megabytes(Map<String, List<Layer>> kinds, boolean before) {
        return kinds.values().stream()
                .map(layers -> layers.stream()
                                .mapToLong(l -> before ? l.bytesBefore : l.bytesAfter)
                                .sum()
                        / 1e6)
                .toList();
    }
}
