package anneal.peft;

import anneal.nn.Linear;
import anneal.tensor.Ops;
import anneal.tensor.Rng;
import anneal.tensor.Tensor;
import java.util.LinkedHashMap;
import java.util.Map;

/** The addition of one layer: scaling x At Bt, in the memory of the layer's own output. */
final class LoraLayer implements LayerAdapter {
    private final Lora.Init init;
    private final Tensor a;
    private final Tensor b;
    private final float scaling;
    private final float dropout;

    LoraLayer(Linear base, Lora lora, String path) {
        int rank = lora.rank(path);
        init = lora.init();
        scaling = (float) lora.scaling(path);
        dropout = (float) lora.dropout();
        a = LinearTuning.allocate(rank, base.in());
        b = LinearTuning.allocate(base.out(), rank);
    }

    @Override
    public Tensor apply(Tensor x, Linear base, Inner inner) {
        return plusLowRank(x, Ops.dropout(x, dropout), base, inner, a, b, scaling);
    }

    /** The layer's output, or that of what is inside, plus scaling z at bt. */
    static Tensor plusLowRank(Tensor x, Tensor z, Linear base, Inner inner, Tensor a, Tensor b, float scaling) {
        if (inner != null
                || !base.weight().exact()
                || base.weight().parameter().filter(Tensor::tracked).isPresent()) {
            Tensor y = inner == null ? base.plain(x) : inner.forward(x);
            return Ops.addMatmulTInPlace(y, Ops.matmulT(z, a), b, scaling);
        }
        return base.biased(Ops.matmulTLowRank(x, base.weight().matrix(), z, a, b, scaling));
    }

    @Override
    public Map<String, Tensor> parameters() {
        Map<String, Tensor> all = new LinkedHashMap<>();
        all.put("lora_A.weight", a);
        all.put("lora_B.weight", b);
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

    @Override
    public void mergeInto(Tensor w, Tensor bias) {
        Ops.addMatmulTInPlace(w, b, LinearTuning.transposed(a), scaling); // [out, in] += B A
    }
}
