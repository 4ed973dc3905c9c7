package anneal.peft;

import anneal.nn.Linear;
import anneal.nn.TransposedWeight;
import anneal.nn.Weight;
import anneal.tensor.Linalg;
import anneal.tensor.Ops;
import anneal.tensor.Rng;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.LinkedHashMap;
import java.util.Map;

/** A layer's own numbers, trained: a copy of its bias, and perhaps of its matrix, in place of the frozen ones. */
final class CopyLayer implements LayerAdapter {
    private final Weight weight;
    private final boolean whole;
    private final Tensor bias;

    /** A copy; {@code whole}: of the matrix too, as floats. */
    CopyLayer(Linear base, boolean whole) {
        this.whole = whole;
        weight = whole ? base.weight().trainableCopy(Arena.ofAuto()) : base.weight();
        bias = base.bias() == null ? null : copy(base.bias());
    }

    static Tensor copy(Tensor x) {
        Tensor copy = LinearTuning.allocate(x.shape().dims());
        copy.set(x);
        return copy;
    }

    @Override
    public Tensor apply(Tensor x, Linear base, Inner inner) {
        if (inner != null) {
            throw new IllegalStateException("attach: the weights of " + base.path()
                    + " are trained themselves; that must be the layer's first adapter");
        }
        Tensor y = weight.matmulT(x);
        return bias == null ? y : Ops.addBiasInPlace(y, bias);
    }

    @Override
    public Map<String, Tensor> parameters() {
        Map<String, Tensor> all = new LinkedHashMap<>();
        if (whole) {
            all.put("weight", weight.parameter().orElseThrow());
        }
        if (bias != null) {
            all.put("bias", bias);
        }
        return all;
    }

    /** Nothing: a copy is an identity already. */
    @Override
    public void init(Rng rng) {}

    @Override
    public void mergeInto(Tensor w, Tensor baseBias) {
        if (whole) {
            Tensor mine = weight.parameter().orElseThrow();
            w.set(weight instanceof TransposedWeight ? Linalg.transposed(mine) : mine);
        }
        if (bias != null) {
            baseBias.set(bias);
        }
    }
}
