package anneal.quant.post;

import anneal.kernels.Matrix;
import anneal.nn.LayerWatch;
import anneal.nn.Linear;
import anneal.nn.Module;
import anneal.quant.calibrate.Calibration;
import anneal.tensor.Memory;
import anneal.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;

/**
 * Round to nearest: every weight goes to the closest point of its group's grid, whatever the layer reads. The baseline of all
 * other methods, and good enough at 8 bits.
 */
public record Rtn(Grid grid) implements PostTraining {
    @Override
    public PostReport apply(Module root, Predicate<String> which, Runnable forward, LayerWatch watch) {
        Map<String, Linear> layers = ChosenLayers.of(root, which);
        Calibration seen = Calibration.capture(root, which, Calibration.Options.SAMPLES, forward);
        List<LayerReport> reports = new ArrayList<>();
        layers.forEach((path, linear) -> {
            try (var _ = Memory.scope()) {
                Matrix before = linear.weight().matrix();
                UniformWeight after = ChosenLayers.at(path, () -> quantise(before));
                Tensor x = seen.of(path).samples();
                reports.add(LayerReport.of(path, before.bytes(), new LayerReport.Measured(before, x, after), ""));
                linear.weight(after);
                watch.layer(path, reports.size(), layers.size());
            }
        });
        return new PostReport("rtn " + grid, reports);
    }

    /** One matrix [out, in]. */
    public UniformWeight quantise(Matrix w) {
        return new UniformWeight(Rounding.nearest(w, grid));
    }
}
