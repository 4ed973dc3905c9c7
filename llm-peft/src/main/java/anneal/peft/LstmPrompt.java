package anneal.peft;

import anneal.nn.Activations;
import anneal.tensor.Ops;
import anneal.tensor.RecurrentOps;
import anneal.tensor.Rng;
import anneal.tensor.Tensor;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * A table behind a bidirectional LSTM and a feed-forward network: each vector depends on those before and behind it.
 *
 * <pre>
 * x = embedding                                        [P, D]
 * for each layer: x = [lstm(x) | lstm backwards(x)]    [P, 2 H], dropout between layers
 * vectors = W2 relu(W1 x)                              [P, D]
 * </pre>
 */
final class LstmPrompt implements PromptEncoder {
    /** One direction of one layer, with PyTorch's two biases, which act as their sum. */
    private record Direction(Tensor wIh, Tensor wHh, Tensor bIh, Tensor bHh, boolean reverse) {
        static Direction of(int in, int size, boolean reverse) {
            return new Direction(
                    LinearTuning.allocate(4 * size, in),
                    LinearTuning.allocate(4 * size, size),
                    LinearTuning.allocate(4 * size),
                    LinearTuning.allocate(4 * size),
                    reverse);
        }

        Tensor forward(Tensor x) {
            Tensor a = Ops.addBiasInPlace(Ops.addBiasInPlace(Ops.matmulT(x, wIh), bIh), bHh);
            return RecurrentOps.lstm(a, wHh, reverse);
        }

        Map<String, Tensor> parameters(int layer) {
            String end = "_l" + layer + (reverse ? "_reverse" : "");
            Map<String, Tensor> all = new LinkedHashMap<>();
            all.put("lstm_head.weight_ih" + end, wIh);
            all.put("lstm_head.weight_hh" + end, wHh);
            all.put("lstm_head.bias_ih" + end, bIh);
            all.put("lstm_head.bias_hh" + end, bHh);
            return all;
        }
    }

    /** Both directions of a layer. */
    private record Layer(Direction there, Direction back) {
        Tensor forward(Tensor x) {
            return RecurrentOps.concat(there.forward(x), back.forward(x));
        }
    }

    private final Tensor embedding;
    private final List<Layer> layers = new ArrayList<>();
    private final DenseStack head;
    private final int size;
    private final float dropout;

    /** P vectors of width D through LSTM layers with a state of this size. */
    LstmPrompt(int count, int width, int size, int layerCount, double dropout) {
        this.size = size;
        this.dropout = (float) dropout;
        embedding = LinearTuning.allocate(count, width);
        for (int i = 0; i < layerCount; i++) {
            int in = i == 0 ? width : 2 * size;
            layers.add(new Layer(Direction.of(in, size, false), Direction.of(in, size, true)));
        }
        head = new DenseStack("mlp_head", Activations.named("relu"), 2 * size, 2 * size, width);
    }

    @Override
    public Tensor vectors() {
        Tensor x = embedding;
        for (int i = 0; i < layers.size(); i++) {
            x = layers.get(i).forward(i == 0 ? x : Ops.dropout(x, dropout));
        }
        return head.forward(x);
    }

    @Override
    public Map<String, Tensor> parameters() {
        Map<String, Tensor> all = new LinkedHashMap<>();
        all.put("embedding.weight", embedding);
        all.putAll(recurrent());
        all.putAll(head.parameters());
        return all;
    }

    private Map<String, Tensor> recurrent() {
        Map<String, Tensor> all = new LinkedHashMap<>();
        for (int i = 0; i < layers.size(); i++) {
            all.putAll(layers.get(i).there.parameters(i));
            all.putAll(layers.get(i).back.parameters(i));
        }
        return all;
    }

    @Override
    public void init(Rng rng) {
        Inits.normal(embedding, 1, rng.fork(0));
        Rng own = rng.fork(1);
        recurrent().values().forEach(p -> Inits.uniform(p, 1 / Math.sqrt(size), own));
        head.init(rng.fork(2));
    }
}
