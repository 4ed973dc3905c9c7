package anneal.quant.post;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import anneal.kernels.Matrix;
import anneal.nn.LayerWatch;
import anneal.nn.Linear;
import anneal.nn.Weight;
import anneal.quant.calibrate.Calibration;
import anneal.quant.calibrate.Junction;
import anneal.quant.calibrate.LayerInputs;
import anneal.tensor.Memory;
import anneal.tensor.Tensor;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.BiFunction;

/** The layers of a method that first moves scales through junctions and then quantises: what was moved, and what layers read since. */
final class Folds {
    private final Map<String, Linear> layers;
    private final Calibration seen;
    private final Map<String, Long> bytes = new LinkedHashMap<>();
    private final Map<String, float[]> scales = new HashMap<>();
    private LayerWatch watch = LayerWatch.NONE;
    private int steps;
    private int done;

    Folds(Map<String, Linear> layers, Calibration seen) {
        this.layers = layers;
        this.seen = seen;
        layers.forEach((path, l) -> bytes.put(path, l.weight().matrix().bytes()));
    }

    /** From now on {@code watch} is told of each step; so many come before the layers are quantised. */
    void watched(LayerWatch told, int before) {
        watch = told;
        steps = before + layers.size();
    }

    /** A step that takes time is done. */
    void step(String path) {
        watch.layer(path, ++done, steps);
    }

    /** Those junctions whose readers are all among the layers: a reader that stays in floats needs no smoothing. */
    List<Junction> of(List<Junction> all) {
        return all.stream()
                .filter(j -> layers.keySet().containsAll(j.readers().keySet()))
                .toList();
    }

    /** What was measured at a layer before anything was folded. */
    LayerInputs inputs(String path) {
        return seen.of(path);
    }

    void fold(Junction j, float[] s) {
        j.fold(s);
        j.readers().keySet().forEach(path -> scales.put(path, j.columns(s)));
        step(j.name());
    }

    /** max |x_j| of what a layer reads now. */
    float maxAbs(String path) {
        float[] max = seen.of(path).maxAbs(), s = scales.get(path);
        float most = 0;
        for (int j = 0; j < max.length; j++) {
            most = Math.max(most, s == null ? max[j] : max[j] / s[j]);
        }
        return most;
    }

    /** Rows of what a layer reads now [S, in]. */
    Tensor samples(String path) {
        Tensor x = seen.of(path).samples();
        float[] s = scales.get(path);
        for (long i = 0; s != null && i < x.size(); i++) {
            x.buf().setAtIndex(JAVA_FLOAT, i, x.get(i) / s[(int) (i % s.length)]);
        }
        return x;
    }

    /** Exchanges each layer's weight for what {@code method} makes of it and of samples of its input. */
    PostReport quantise(String name, Map<String, String> notes, BiFunction<Linear, Tensor, Weight> method) {
        List<LayerReport> reports = new ArrayList<>();
        layers.forEach((path, linear) -> {
            try (var _ = Memory.scope()) {
                Tensor x = samples(path);
                Matrix before = linear.weight().matrix();
                Weight after = ChosenLayers.at(path, () -> method.apply(linear, x));
                reports.add(LayerReport.of(
                        path,
                        bytes.get(path),
                        new LayerReport.Measured(before, x, after),
                        notes.getOrDefault(path, "")));
                linear.weight(after);
                step(path);
            }
        });
        return new PostReport(name, reports);
    }
}
