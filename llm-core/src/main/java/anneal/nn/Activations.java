package anneal.nn;

import anneal.kernels.Activation;
import anneal.tensor.Ops;
import anneal.tensor.Tensor;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.TreeSet;
import java.util.function.UnaryOperator;

/** Element-wise functions by the names that they have in the files of Hugging Face. */
public final class Activations {
    private static final Map<String, Activation> NAMES = Map.of(
            "relu", Activation.RELU,
            "silu", Activation.SILU,
            "swish", Activation.SILU,
            "gelu", Activation.GELU,
            "gelu_new", Activation.GELU_TANH,
            "gelu_fast", Activation.GELU_TANH,
            "gelu_pytorch_tanh", Activation.GELU_TANH,
            "tanh", Activation.TANH,
            "sigmoid", Activation.SIGMOID);

    private Activations() {}

    /** The function of this name, if there is one. */
    public static Optional<Activation> find(String name) {
        return Optional.ofNullable(NAMES.get(name.toLowerCase(Locale.ROOT)));
    }

    /**
     * The function of this name, for layers that are no part of a model's own files.
     *
     * @throws IllegalArgumentException naming those that there are
     */
    public static UnaryOperator<Tensor> named(String name) {
        Activation f = find(name)
                .orElseThrow(() -> new IllegalArgumentException("there is no activation function \"" + name
                        + "\"; there are " + String.join(", ", new TreeSet<>(NAMES.keySet()))));
        return x -> Ops.activation(x, f);
    }
}
