package anneal.peft;

import anneal.nn.Embedding;
import anneal.nn.Linear;
import anneal.nn.Module;
import anneal.nn.Weight;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Modules that are trained and saved whole beside an adapter: PEFT's modules_to_save. A copy of the weight stands in the module while
 * adapters are in; the model's own one comes back when they are out.
 */
final class SavedModules {
    private interface Copy {
        void plug(boolean in);
    }

    private final Map<String, Tensor> parameters = new LinkedHashMap<>();
    private final Map<String, Copy> copies = new LinkedHashMap<>();

    /** Copies of the linear layers and embeddings whose path is or ends with one of these names. */
    SavedModules(Module root, List<String> names) {
        for (String name : names) {
            int before = copies.size();
            root.walk((path, module) -> {
                if ((path.equals(name) || path.endsWith("." + name)) && !copies.containsKey(path)) {
                    add(path, module);
                }
            });
            if (copies.size() == before) {
                throw new IllegalArgumentException("modules_to_save: no module fits " + name);
            }
        }
    }

    private void add(String path, Module module) {
        switch (module) {
            case Linear l -> {
                Weight original = l.weight(), copy = original.dense(Arena.ofAuto());
                float[] bias = l.bias() == null ? null : l.bias().toArray();
                parameters.put(path + ".weight", copy.parameter().orElseThrow());
                if (bias != null) {
                    parameters.put(path + ".bias", l.bias());
                }
                copies.put(path, new LinearCopy(l, original, copy, bias, bias));
            }
            case Embedding e -> {
                Weight original = e.weight(), copy = original.dense(Arena.ofAuto());
                parameters.put(path + ".weight", copy.parameter().orElseThrow());
                copies.put(path, in -> e.weight(in ? copy : original));
            }
            default ->
                throw new IllegalArgumentException("modules_to_save: " + path + " is a "
                        + module.getClass().getSimpleName() + "; linear layers and embeddings can be trained whole");
        }
    }

    /** A layer's bias is one tensor: its numbers are exchanged. */
    private static final class LinearCopy implements Copy {
        private final Linear linear;
        private final Weight original;
        private final Weight copy;
        private final float[] bias;
        private float[] trained;
        private boolean plugged;

        LinearCopy(Linear linear, Weight original, Weight copy, float[] bias, float[] trained) {
            this.linear = linear;
            this.original = original;
            this.copy = copy;
            this.bias = bias;
            this.trained = trained;
        }

        @Override
        public void plug(boolean in) {
            if (bias != null && in != plugged) {
                if (plugged) {
                    trained = linear.bias().toArray();
                }
                linear.bias().set(in ? trained : bias);
            }
            plugged = in;
            linear.weight(in ? copy : original);
        }
    }

    Map<String, Tensor> parameters() {
        return parameters;
    }

    boolean has(String path) {
        return copies.containsKey(path);
    }

    void plug(boolean in) {
        copies.values().forEach(c -> c.plug(in));
    }
}
