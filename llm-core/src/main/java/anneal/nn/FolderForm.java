package anneal.nn;

import java.util.List;
import java.util.Map;

/** How a weight stands in a Hugging Face folder, where that is not one tensor of floats. {@link WeightReader} reads it back. */
public interface FolderForm {
    /** The tensors by their names after the layer's: "weight", "weight.absmax". */
    Map<String, Stored> tensors();

    /** True if the tensors are written as they are; false if they are floats of whatever type the folder is written in. */
    default boolean coded() {
        return true;
    }

    /**
     * What config.json says of the model under "quantization_config".
     *
     * @param plain paths of the linear layers that are floats
     */
    Map<String, Object> config(List<String> plain);
}
