package anneal.peft;

import anneal.nn.Linear;
import anneal.nn.Weight;
import anneal.tensor.Linalg;
import anneal.tensor.Ops;
import anneal.tensor.Rng;
import anneal.tensor.Tensor;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * The addition of one layer: scaling x At Bt, in the memory of the layer's own output. With DoRA each output is then given the length
 * that {@code magnitude} says.
 */
final class LoraLayer implements LayerAdapter {
    private final Lora.Init init;
    private final Tensor a;
    private final Tensor b;
    private final Magnitude magnitude;
    private final float scaling;
    private final float dropout;

    LoraLayer(Linear base, Lora lora, String path) {
        int rank = lora.rank(path);
        init = lora.init() instanceof Lora.Init plain ? plain : Lora.Init.KAIMING;
        scaling = (float) lora.scaling(path);
        dropout = (float) lora.dropout();
        a = LinearTuning.allocate(rank, base.in());
        b = LinearTuning.allocate(base.out(), rank);
        magnitude = lora.dora() ? new Magnitude(a, b, scaling) : null;
    }

    @Override
    public Tensor apply(Tensor x, Linear base, Inner inner) {
        Tensor z = Ops.dropout(x, dropout);
        if (magnitude != null) {
            Tensor adapted = magnitude.apply(product(x, z, base, a, b, scaling), base.weight());
            return inner == null
                    ? base.biased(adapted)
                    : Ops.addInPlace(
                            inner.forward(x), Ops.sub(adapted, base.weight().matmulT(x)));
        }
        return plusLowRank(x, z, base, inner, a, b, scaling);
    }

    /** The layer's output, or that of what is inside, plus scaling z At Bt. */
    static Tensor plusLowRank(Tensor x, Tensor z, Linear base, Inner inner, Tensor a, Tensor b, float scaling) {
        return inner == null
                ? base.biased(product(x, z, base, a, b, scaling))
                : Ops.addMatmulTInPlace(inner.forward(x), Ops.matmulT(z, a), b, scaling);
    }

    /** x Wt + scaling z At Bt without the bias: in one product where W is neither trained nor multiplied in a way of its own. */
    private static Tensor product(Tensor x, Tensor z, Linear base, Tensor a, Tensor b, float scaling) {
        Weight w = base.weight();
        return !w.exact() || w.parameter().filter(Tensor::tracked).isPresent()
                ? Ops.addMatmulTInPlace(w.matmulT(x), Ops.matmulT(z, a), b, scaling)
                : Ops.matmulTLowRank(x, w.matrix(), z, a, b, scaling);
    }

    /** Gives each output the length that it has with A and B as they are. */
    void startMagnitude(Weight weight) {
        if (magnitude != null) {
            magnitude.start(weight);
        }
    }

    // ---------------------------------------------------------------- numbers

    @Override
    public Map<String, Tensor> parameters() {
        Map<String, Tensor> all = new LinkedHashMap<>();
        all.put("lora_A.weight", a);
        all.put("lora_B.weight", b);
        if (magnitude != null) {
            all.put("lora_magnitude_vector", magnitude.vector());
        }
        return all;
    }

    @Override
    public void init(Rng rng) {
        switch (init) {
            case KAIMING -> Inits.kaiming(a, rng);
            case GAUSSIAN -> Inits.normal(a, 1.0 / a.dim(0), rng);
            case RANDOM -> {
                Inits.kaiming(a, rng);
                Inits.kaiming(b, rng);
            }
        }
    }

    /** Begins with these numbers. */
    void start(Tensor firstA, Tensor firstB) {
        a.set(firstA);
        b.set(firstB);
    }

    Tensor a() {
        return a;
    }

    Tensor b() {
        return b;
    }

    @Override
    public void mergeInto(Tensor w, Tensor bias) {
        Ops.addMatmulTInPlace(w, b, Linalg.transposed(a), scaling); // [out, in] += B A
        if (magnitude != null) {
            magnitude.applyTo(w);
        }
    }
}
