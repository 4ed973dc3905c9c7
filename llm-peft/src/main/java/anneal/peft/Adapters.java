package anneal.peft;

import anneal.io.NamedTensors;
import anneal.io.Safetensors;
import anneal.io.SafetensorsWriter;
import anneal.nn.Adapter;
import anneal.nn.Linear;
import anneal.nn.Module;
import anneal.tensor.Rng;
import anneal.tensor.Tensor;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The adapters of a model: what is trained, switched off, merged, saved.
 *
 * <p>Files are PEFT's: {@code adapter_config.json} and {@code adapter_model.safetensors}, whose keys are "base_model.model." and the
 * names of {@link #parameters}.
 */
public final class Adapters {
    private static final Logger LOG = LoggerFactory.getLogger(Adapters.class);
    private static final String PREFIX = "base_model.model.";
    /** PEFT wraps an adapted layer, so its own bias has a longer name. */
    private static final String ADAPTED_BIAS = ".base_layer.bias";

    private static final String CONFIG = "adapter_config.json", WEIGHTS = "adapter_model.safetensors";

    private final Lora config;
    private final Map<String, LoraLayer> layers;
    private final Map<String, Tensor> parameters;
    private int disabled;
    private boolean merged;

    private Adapters(Lora config, Map<String, LoraLayer> layers, Map<String, Tensor> parameters) {
        this.config = config;
        this.layers = layers;
        this.parameters = Collections.unmodifiableMap(parameters);
    }

    static Adapters attach(Lora config, Module root, long seed) {
        Adapters adapters = plug(config, root, true);
        Rng rng = new Rng(seed);
        long label = 0;
        for (LoraLayer layer : adapters.layers.values()) {
            layer.init(config.init(), rng.fork(label++));
        }
        adapters.parameters.values().forEach(p -> p.trainable(true));
        return adapters;
    }

    private static Adapters plug(Lora config, Module root, boolean everyName) {
        Map<String, Linear> targets = config.targets().find(root, everyName);
        targets.forEach((path, linear) -> {
            if (linear.adapter() != Adapter.NONE) {
                throw new IllegalArgumentException("attach: " + path + " already has an adapter");
            }
        });
        root.freeze();
        Map<String, LoraLayer> layers = new LinkedHashMap<>();
        Map<String, Tensor> parameters = new LinkedHashMap<>();
        targets.forEach((path, linear) -> {
            LoraLayer layer = new LoraLayer(linear, config.rank(path), config.scaling(path), config.dropout());
            layers.put(path, layer);
            parameters.put(path + ".lora_A.weight", layer.a());
            parameters.put(path + ".lora_B.weight", layer.b());
            if (config.bias() == Lora.Bias.LORA_ONLY && linear.bias() != null) {
                parameters.put(path + ADAPTED_BIAS, linear.bias());
            }
            layer.plug(true);
        });
        if (config.bias() == Lora.Bias.ALL) {
            root.parameters().forEach((name, p) -> {
                if (name.contains("bias")) {
                    String layer = name.substring(0, Math.max(0, name.lastIndexOf('.')));
                    parameters.put(layers.containsKey(layer) ? layer + ADAPTED_BIAS : name, p);
                }
            });
        }
        return new Adapters(config, layers, parameters);
    }

    /** The configuration they were made with. */
    public Lora config() {
        return config;
    }

    /** What is trained, by name: "model.layers.0.self_attn.q_proj.lora_A.weight", and biases if the configuration says so. */
    public Map<String, Tensor> parameters() {
        return parameters;
    }

    /** Paths of the adapted layers. */
    public List<String> paths() {
        return List.copyOf(layers.keySet());
    }

    // ---------------------------------------------------------------- off and on

    /** Ends a time without adapters. */
    public interface Disabled extends AutoCloseable {
        @Override
        void close();
    }

    /** Takes the adapters out until closed: the model is the base again, bit for bit, but for trained biases. May be nested. */
    public Disabled disabled() {
        if (merged) {
            throw new IllegalStateException("disabled: the adapters are merged into the weights; call unmerge first");
        }
        if (disabled++ == 0) {
            layers.values().forEach(layer -> layer.plug(false));
        }
        return new Disabled() {
            private boolean closed;

            @Override
            public void close() {
                if (!closed && --disabled == 0) {
                    layers.values().forEach(layer -> layer.plug(true));
                }
                closed = true;
            }
        };
    }

    /** Takes the adapters out for good. */
    public void detach() {
        if (merged) {
            unmerge();
        }
        layers.values().forEach(layer -> layer.plug(false));
    }

    // ---------------------------------------------------------------- merge

    /**
     * Adds the adapters into the weights of their layers, which from then on compute as plain layers. Every merged matrix becomes
     * floats in memory, whatever its storage was.
     */
    public void merge() {
        if (merged || disabled > 0) {
            throw new IllegalStateException(
                    merged ? "merge: the adapters are merged already" : "merge: the adapters are disabled");
        }
        TreeSet<String> widened = new TreeSet<>();
        layers.values().forEach(layer -> {
            if (layer.widensWhenMerged()) {
                widened.add(layer.format());
            }
            layer.merge();
        });
        if (!widened.isEmpty()) {
            LOG.info("merge: weights stored as {} became F32 in memory", String.join(", ", widened));
        }
        merged = true;
    }

    /** Puts the base weights back, bit for bit, and the adapters in. */
    public void unmerge() {
        if (!merged) {
            throw new IllegalStateException("unmerge: the adapters are not merged");
        }
        layers.values().forEach(LoraLayer::unmerge);
        merged = false;
    }

    /** True between {@link #merge} and {@link #unmerge}. */
    public boolean merged() {
        return merged;
    }

    // ---------------------------------------------------------------- files

    /**
     * Writes a folder that PEFT's from_pretrained reads. Files of an adapter that is there already are replaced.
     *
     * @throws UncheckedIOException naming the file that cannot be written; each file is whole or as it was
     */
    public void save(Path folder) {
        try {
            Files.createDirectories(folder);
        } catch (IOException e) {
            throw new UncheckedIOException(folder + " cannot be made: " + e.getMessage(), e);
        }
        new SafetensorsWriter()
                .metadata("format", "pt")
                .write(folder.resolve(WEIGHTS), NamedTensors.stored(parameters, PREFIX));
        LoraConfigFile.write(folder.resolve(CONFIG), config, layers);
    }

    /**
     * Puts the adapters of a folder into a model and freezes it; they are not trained unless a trainer takes them.
     *
     * @throws IllegalArgumentException if the file is no LoRA adapter, has options that are not supported, or does not fit the
     *     model: names everything that is missing, too much or of another shape
     */
    public static Adapters load(Module root, Path folder) {
        Lora config = LoraConfigFile.read(folder.resolve(CONFIG));
        Adapters adapters = plug(config, root, false);
        try (Arena arena = Arena.ofShared()) {
            Path weights = folder.resolve(WEIGHTS);
            NamedTensors.fill(
                    adapters.parameters,
                    PREFIX,
                    Safetensors.open(weights, arena).tensors(),
                    weights.toString());
        } catch (IllegalArgumentException | UncheckedIOException e) {
            adapters.detach();
            throw e;
        }
        return adapters;
    }
}
