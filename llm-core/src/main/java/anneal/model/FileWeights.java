package anneal.model;

import anneal.io.StoredTensor;
import anneal.nn.Stored;
import anneal.nn.StoredWeight;
import anneal.nn.TransposedWeight;
import anneal.nn.Weight;
import anneal.nn.WeightReader;
import anneal.tensor.Shape;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Weights of a file. Matrices are read in place, in the form they are stored in; vectors, which are small, are widened into memory.
 *
 * <p>What does not fit is collected, so that one error can name it all: call {@link #requireFit} when the model is built.
 */
final class FileWeights implements WeightSource {
    private final Map<String, StoredTensor> unused;
    private final boolean transposed;
    private final Arena arena;
    private final List<WeightReader> readers;
    private final List<String> missing = new ArrayList<>();
    private final List<String> wrong = new ArrayList<>();

    /**
     * The tensors of a file.
     *
     * @param tensors by their Hugging Face names
     * @param transposed layers stand as [in, out]
     * @param quantization what config.json says under "quantization_config", or nothing
     * @param arena where vectors live
     */
    FileWeights(Map<String, StoredTensor> tensors, boolean transposed, Map<String, Object> quantization, Arena arena) {
        this.unused = new LinkedHashMap<>(tensors);
        this.transposed = transposed;
        this.arena = arena;
        this.readers = WeightReader.all().stream()
                .map(r -> r.method().equals(quantization.get("quant_method")) ? r.configured(quantization) : r)
                .toList();
    }

    @Override
    public Weight matrix(String name, int out, int in, Role role) {
        Weight other = inAnotherForm(name, out, in);
        if (other != null) {
            return other;
        }
        boolean turned = transposed && (role == Role.LINEAR || role == Role.RESIDUAL);
        StoredTensor t = turned ? take(name, in, out) : take(name, out, in);
        if (t == null) {
            return new Absent(out, in);
        }
        int rows = turned ? in : out;
        Weight stored = new StoredWeight(t.dtype().matrix(t.data(), rows, turned ? out : in), t.dtype());
        return turned ? new TransposedWeight(stored) : stored;
    }

    @Override
    public Tensor vector(String name, int size, float fresh) {
        StoredTensor t = take(name, size);
        Tensor vector = Tensor.allocate(arena, Shape.of(size));
        if (t != null) {
            vector.set(t.floats());
        }
        return vector;
    }

    /** A weight that is no tensor [out, in] of real numbers, if there is somebody to read it; else null. */
    private Weight inAnotherForm(String name, int out, int in) {
        StoredTensor t = unused.get(name);
        boolean plain = t != null && t.dtype().isReal() && t.count() == (long) out * in;
        if (plain) {
            return null;
        }
        String layer = name.substring(0, name.lastIndexOf('.')), prefix = layer + ".";
        Map<String, Stored> tensors = new LinkedHashMap<>();
        unused.forEach((key, s) -> {
            if (key.startsWith(prefix)) {
                tensors.put(key.substring(prefix.length()), new Stored(s.dtype(), s.data(), s.shape()));
            }
        });
        List<String> given = List.copyOf(tensors.keySet());
        for (WeightReader reader : readers) {
            try {
                Weight weight = reader.read(layer, out, in, tensors, arena).orElse(null);
                if (weight != null) {
                    given.stream().filter(key -> !tensors.containsKey(key)).forEach(key -> unused.remove(prefix + key));
                    return weight;
                }
            } catch (IllegalArgumentException e) {
                given.forEach(key -> unused.remove(prefix + key));
                wrong.add(e.getMessage());
                return new Absent(out, in);
            }
        }
        return null;
    }

    private StoredTensor take(String name, long... shape) {
        StoredTensor t = unused.remove(name);
        if (t == null) {
            missing.add(name + " " + Arrays.toString(shape));
            return null;
        }
        if (!Arrays.equals(t.shape(), shape)) {
            wrong.add(name + " is " + Arrays.toString(t.shape()) + ", not " + Arrays.toString(shape));
            return null;
        }
        if (!t.dtype().isReal()) {
            wrong.add(name + " holds " + t.dtype() + ", not real numbers");
            return null;
        }
        return t;
    }

    /** Throws one error that names all that is missing, too much, or of another shape. */
    void requireFit(String where, DecoderConfig config) {
        List<String> extra =
                unused.keySet().stream().filter(name -> !harmless(name, config)).toList();
        if (missing.isEmpty() && wrong.isEmpty() && extra.isEmpty()) {
            return;
        }
        List<String> parts = new ArrayList<>();
        describe(parts, "of another shape", wrong);
        describe(parts, "missing", missing);
        describe(parts, "unknown", extra);
        throw new IllegalArgumentException(where + ": the tensors do not fit the config: " + String.join("; ", parts));
    }

    private static void describe(List<String> parts, String what, List<String> names) {
        if (!names.isEmpty()) {
            parts.add(names.size() + " " + what + ": " + String.join(", ", names));
        }
    }

    /** Tables that older files hold although they can be computed, and the copy of a tied projection. */
    private static boolean harmless(String name, DecoderConfig config) {
        return name.endsWith(".rotary_emb.inv_freq")
                || name.endsWith(".attn.bias")
                || name.endsWith(".attn.masked_bias")
                || config.tied() && name.equals(config.family().names().head() + ".weight");
    }
}
