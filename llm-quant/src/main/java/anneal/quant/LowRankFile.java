package anneal.quant;

import anneal.nn.DenseWeight;
import anneal.nn.FolderForm;
import anneal.nn.Stored;
import anneal.nn.StoredWeight;
import anneal.nn.Weight;
import anneal.nn.WeightReader;
import anneal.tensor.DType;
import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * Low-rank weights in a folder: a layer has weight_u [out, k] and weight_v [k, in] in place of weight, in the type of the other numbers,
 * and config.json says {@code "quantization_config": {"quant_method": "low_rank"}}.
 *
 * <p>The rank is read off the shapes, so each layer may have its own. No other library reads this; the entry in config.json makes
 * transformers refuse the folder by that name instead of starting the layers at random.
 */
public final class LowRankFile implements WeightReader {
    static final String U = "weight_u", V = "weight_v";

    private static final String METHOD = "low_rank";

    /** For {@link java.util.ServiceLoader}. */
    public LowRankFile() {}

    @Override
    public String method() {
        return METHOD;
    }

    @Override
    public Optional<Weight> read(String layer, int out, int in, Map<String, Stored> tensors, Arena arena) {
        Stored u = tensors.remove(U), v = tensors.remove(V);
        if (u == null && v == null) {
            return Optional.empty();
        }
        if (u == null || v == null) {
            throw new IllegalArgumentException(layer + "." + (u == null ? U : V) + " is missing");
        }
        long[] left = u.shape(), right = v.shape();
        boolean fit = left.length == 2 && right.length == 2 && left[0] == out && right[1] == in && left[1] == right[0];
        if (!fit || !u.dtype().isReal() || !v.dtype().isReal()) {
            throw new IllegalArgumentException(layer + "." + U + " " + u.dtype() + " " + Arrays.toString(left) + " and "
                    + V + " " + v.dtype() + " " + Arrays.toString(right) + " must be real numbers [" + out
                    + ", k] and [k, " + in + "]");
        }
        return Optional.of(new LowRankWeight(stored(u), stored(v)));
    }

    private static Weight stored(Stored s) {
        return new StoredWeight(s.dtype().matrix(s.data(), (int) s.shape()[0], (int) s.shape()[1]), s.dtype());
    }

    /** A layer that is about to be written. */
    record Form(LowRankWeight weight) implements FolderForm {
        @Override
        public Map<String, Stored> tensors() {
            Map<String, Stored> both = new LinkedHashMap<>();
            both.put(U, floats(weight.u()));
            both.put(V, floats(weight.v()));
            return both;
        }

        private static Stored floats(Weight w) {
            DenseWeight dense = w instanceof DenseWeight d ? d : DenseWeight.copy(w.matrix(), Arena.ofAuto());
            return new Stored(DType.F32, dense.tensor().buf(), w.out(), w.in());
        }

        @Override
        public boolean coded() {
            return false;
        }

        @Override
        public Map<String, Object> config(List<String> plain) {
            return Map.of("quant_method", METHOD);
        }
    }
}
