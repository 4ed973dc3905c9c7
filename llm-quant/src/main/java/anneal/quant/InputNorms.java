package anneal.quant;

import anneal.nn.Adapter;
import anneal.nn.Linear;
import anneal.nn.Module;
import anneal.tensor.Tensor;
import java.util.LinkedHashMap;
import java.util.Map;

/** How large the inputs of the linear layers are: for each column j of x [tokens, in] the norm sqrt(sum of x_j^2) over all tokens. */
public final class InputNorms {
    private InputNorms() {}

    /**
     * Runs a model over calibration data and looks at what its linear layers read.
     *
     * @param root of the model
     * @param run computes the model's output of some text; the layers compute what they always do
     * @return norms [in] of each layer, by path
     * @throws IllegalArgumentException if a layer was never run: the calibration data do not reach it
     */
    public static Map<String, float[]> capture(Module root, Runnable run) {
        Map<String, Linear> layers = root.find(Linear.class);
        Map<String, double[]> squares = new LinkedHashMap<>();
        Map<String, Adapter> before = new LinkedHashMap<>();
        layers.forEach((path, linear) -> {
            Adapter own = linear.adapter();
            before.put(path, own);
            double[] sums = squares.computeIfAbsent(path, p -> new double[linear.in() + 1]);
            linear.adapter((x, base) -> {
                add(sums, x);
                return own.apply(x, base);
            });
        });
        try {
            run.run();
        } finally {
            layers.forEach((path, linear) -> linear.adapter(before.get(path)));
        }
        Map<String, float[]> norms = new LinkedHashMap<>();
        squares.forEach((path, sums) -> {
            // A model that computes its loss without logits does not call its output projection.
            if (sums[sums.length - 1] > 0) {
                norms.put(path, roots(sums));
            }
        });
        if (norms.isEmpty()) {
            throw new IllegalArgumentException("calibration: no linear layer was run");
        }
        return norms;
    }

    /** Adds the squares of each column; the last sum counts tokens. */
    private static void add(double[] sums, Tensor x) {
        float[] values = x.toArray();
        int cols = x.rowSize();
        for (int i = 0; i < values.length; i++) {
            sums[i % cols] += (double) values[i] * values[i];
        }
        sums[cols] += x.rowCount();
    }

    private static float[] roots(double[] sums) {
        float[] norms = new float[sums.length - 1];
        for (int i = 0; i < norms.length; i++) {
            norms[i] = (float) Math.sqrt(sums[i]);
        }
        return norms;
    }
}
