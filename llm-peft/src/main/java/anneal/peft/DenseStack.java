package anneal.peft;

import anneal.tensor.Ops;
import anneal.tensor.Rng;
import anneal.tensor.Tensor;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.UnaryOperator;
import java.util.stream.IntStream;

/** Linear layers y = x Wt + b with a function after each but the last, named as in PyTorch's Sequential: "0.weight", "2.weight". */
final class DenseStack {
    private final String name;
    private final UnaryOperator<Tensor> f;
    private final Tensor[] weights;
    private final Tensor[] biases;

    /** Layers from widths[0] to widths[1] to widths[2]... */
    DenseStack(String name, UnaryOperator<Tensor> f, int... widths) {
        this.name = name;
        this.f = f;
        weights = new Tensor[widths.length - 1];
        biases = new Tensor[weights.length];
        for (int i = 0; i < weights.length; i++) {
            weights[i] = LinearTuning.allocate(widths[i + 1], widths[i]);
            biases[i] = LinearTuning.allocate(widths[i + 1]);
        }
    }

    /** Shapes: x [.., in] -> [.., out]. */
    Tensor forward(Tensor x) {
        int last = weights.length - 1;
        return Ops.addBiasInPlace(Ops.matmulT(beforeLast(x), weights[last]), biases[last]);
    }

    /** Some columns of the result, computed alone. Shapes: x [.., in] -> [.., count]. */
    Tensor columns(Tensor x, int from, int count) {
        int last = weights.length - 1;
        Tensor w = Ops.rows(weights[last], IntStream.range(from, from + count).toArray());
        Tensor b = Ops.columns(biases[last], from, count);
        return Ops.addBiasInPlace(Ops.matmulT(beforeLast(x), w), b);
    }

    private Tensor beforeLast(Tensor x) {
        Tensor h = x;
        for (int i = 0; i < weights.length - 1; i++) {
            h = f.apply(Ops.addBiasInPlace(Ops.matmulT(h, weights[i]), biases[i]));
        }
        return h;
    }

    /** Weights and biases by name. */
    Map<String, Tensor> parameters() {
        Map<String, Tensor> all = new LinkedHashMap<>();
        for (int i = 0; i < weights.length; i++) {
            all.put(name + "." + 2 * i + ".weight", weights[i]);
            all.put(name + "." + 2 * i + ".bias", biases[i]);
        }
        return all;
    }

    /** The weight of the last layer [out, before]. */
    Tensor lastWeight() {
        return weights[weights.length - 1];
    }

    /** The bias of the last layer [out]. */
    Tensor lastBias() {
        return biases[weights.length - 1];
    }

    /** Weights and biases uniform in +-1/sqrt(in), as PyTorch's Linear. */
    void init(Rng rng) {
        for (int i = 0; i < weights.length; i++) {
            Inits.kaiming(weights[i], rng);
            Inits.uniform(biases[i], 1 / Math.sqrt(weights[i].dim(1)), rng);
        }
    }
}
