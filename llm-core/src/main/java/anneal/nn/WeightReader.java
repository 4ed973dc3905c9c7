package anneal.nn;

import java.lang.foreign.Arena;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.ServiceLoader;

/**
 * Reads weights that a Hugging Face folder holds in another form than one tensor of floats: a plug of loading, found by
 * {@link ServiceLoader}, so that who loads a model knows no such form by name.
 */
public interface WeightReader {
    /** All that are on the class path. */
    static List<WeightReader> all() {
        return ServiceLoader.load(WeightReader.class, WeightReader.class.getClassLoader()).stream()
                .map(ServiceLoader.Provider::get)
                .toList();
    }

    /** "quant_method" of the "quantization_config" in config.json whose weights it reads. */
    String method();

    /**
     * A reader for the weights of one folder.
     *
     * @param config its "quantization_config", which names this reader's method
     * @throws IllegalArgumentException if it describes weights that cannot be read
     */
    default WeightReader configured(Map<String, Object> config) {
        return this;
    }

    /**
     * The weight [out, in] of a layer.
     *
     * @param layer path, for messages
     * @param tensors what the file has of the layer, by the names after its path ("weight.absmax"); what is read is taken out
     * @param arena of the file: where memory lives that is needed beside it
     * @return empty if the tensors are of no form that this knows
     * @throws IllegalArgumentException if they are, but do not fit together or the shape
     */
    Optional<Weight> read(String layer, int out, int in, Map<String, Stored> tensors, Arena arena);
}
