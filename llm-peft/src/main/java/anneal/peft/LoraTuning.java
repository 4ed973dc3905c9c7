package anneal.peft;

import anneal.nn.Linear;
import anneal.nn.Module;
import java.util.Map;

/** {@link Lora} in a model: a {@link LoraLayer} at each target, and biases of the model if asked for. */
final class LoraTuning extends LinearTuning {
    /** PEFT wraps an adapted layer, so its own bias has a longer name. */
    private static final String ADAPTED_BIAS = ".base_layer.bias";

    private LoraTuning(Lora lora, Map<String, Linear> targets) {
        super(targets, (path, linear) -> new LoraLayer(linear, lora, path));
    }

    static LoraTuning of(Lora lora, Module root, boolean everyName) {
        Map<String, Linear> targets = lora.targets().find(root, everyName);
        LoraTuning tuning = new LoraTuning(lora, targets);
        switch (lora.bias()) {
            case NONE -> {}
            case LORA_ONLY ->
                targets.forEach((path, linear) -> {
                    if (linear.bias() != null) {
                        tuning.also(path + ADAPTED_BIAS, linear.bias());
                    }
                });
            case ALL ->
                root.parameters().forEach((name, p) -> {
                    if (name.contains("bias")) {
                        String layer = name.substring(0, Math.max(0, name.lastIndexOf('.')));
                        tuning.also(targets.containsKey(layer) ? layer + ADAPTED_BIAS : name, p);
                    }
                });
        }
        return tuning;
    }
}
