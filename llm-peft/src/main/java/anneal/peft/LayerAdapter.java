package anneal.peft;

import anneal.nn.Adapter;
import anneal.nn.Linear;
import anneal.tensor.Rng;
import anneal.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** What a method does at one linear layer. Several can be active at one: the first one sees the layer, each other one the one before. */
interface LayerAdapter {
    /** The layer with the adapters that come before. */
    @FunctionalInterface
    interface Inner {
        /** Shapes: x [.., in] -> [.., out]. */
        Tensor forward(Tensor x);
    }

    /**
     * The adapted output. Shapes: x [.., in] -> [.., out].
     *
     * @param inner what is adapted; null if that is the layer itself, {@code base.plain(x)}
     */
    Tensor apply(Tensor x, Linear base, Inner inner);

    /** What is trained here, by the end of its name in the file: "lora_A.weight". */
    Map<String, Tensor> parameters();

    /** What the file holds for this layer. */
    default Map<String, Tensor> stored() {
        return parameters();
    }

    /** Gives what is trained its first numbers. */
    void init(Rng rng);

    /**
     * Changes the layer's matrix so that it computes the same without the adapter.
     *
     * @param w floats [out, in], changed in place
     * @param bias the layer's bias, changed in place, or null
     */
    void mergeInto(Tensor w, Tensor bias);

    /** The adapters that are plugged into one layer, in the order in which they were added. */
    final class Stack implements Adapter {
        private final List<LayerAdapter> adapters = new ArrayList<>();

        private Stack() {}

        /** Puts an adapter behind those that the layer has. */
        static void add(Linear linear, LayerAdapter adapter) {
            if (!(linear.adapter() instanceof Stack)) {
                if (linear.adapter() != Adapter.NONE) {
                    throw new IllegalStateException("attach: " + linear.path() + " has an adapter of another kind");
                }
                linear.adapter(new Stack());
            }
            ((Stack) linear.adapter()).adapters.add(adapter);
        }

        /** Takes an adapter out; the layer without any computes as if it never had one. */
        static void remove(Linear linear, LayerAdapter adapter) {
            if (linear.adapter() instanceof Stack stack) {
                stack.adapters.remove(adapter);
                if (stack.adapters.isEmpty()) {
                    linear.adapter(Adapter.NONE);
                }
            }
        }

        @Override
        public Tensor apply(Tensor x, Linear base) {
            return apply(x, base, adapters.size() - 1);
        }

        private Tensor apply(Tensor x, Linear base, int last) {
            return adapters.get(last).apply(x, base, last == 0 ? null : y -> apply(y, base, last - 1));
        }
    }
}
