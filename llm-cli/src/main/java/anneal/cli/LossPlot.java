package anneal.cli;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYChartBuilder;
import org.knowm.xchart.style.Styler;
import org.knowm.xchart.style.markers.SeriesMarkers;

/** The losses of a run as a picture: each step, its running mean, and validation. */
final class LossPlot {
    /** What a loss counts in the running mean compared with the one after it. */
    private static final double KEPT = 0.9;

    private final List<Double> steps = new ArrayList<>();
    private final List<Double> losses = new ArrayList<>();
    private final List<Double> smooth = new ArrayList<>();
    private final List<Double> validSteps = new ArrayList<>();
    private final List<Double> validLosses = new ArrayList<>();
    private double sum = 0;
    private double weight = 0;

    /** A loss as metrics.jsonl has it: event "step" is training, "valid" validation. */
    public void add(String event, long step, double loss) {
        switch (event) {
            case "step" -> train(step, loss);
            case "valid" -> valid(step, loss);
            default -> {}
        }
    }

    /** A training loss. */
    public void train(long step, double loss) {
        steps.add((double) step);
        losses.add(loss);
        sum = KEPT * sum + loss;
        weight = KEPT * weight + 1;
        smooth.add(sum / weight);
    }

    /** A validation loss. */
    public void valid(long step, double loss) {
        validSteps.add((double) step);
        validLosses.add(loss);
    }

    /** True if there is no training loss yet. */
    public boolean isEmpty() {
        return steps.isEmpty();
    }

    /** Writes a PNG. */
    public void write(Path file, String title) {
        XYChart chart = new XYChartBuilder()
                .width(900)
                .height(540)
                .title(title)
                .xAxisTitle("step")
                .yAxisTitle("loss per token")
                .build();
        chart.getStyler()
                .setLegendPosition(Styler.LegendPosition.OutsideS)
                .setLegendLayout(Styler.LegendLayout.Horizontal)
                .setMarkerSize(6);
        chart.getStyler().setYAxisDecimalPattern("0.00").setXAxisDecimalPattern("0");
        chart.addSeries("training", steps, losses).setMarker(SeriesMarkers.NONE).setLineWidth(0.6f);
        chart.addSeries("training, running mean", steps, smooth).setMarker(SeriesMarkers.NONE);
        if (!validSteps.isEmpty()) {
            chart.addSeries("validation", validSteps, validLosses).setMarker(SeriesMarkers.CIRCLE);
        }
        Png.write(file, chart);
    }
}
