package anneal.peft;

import anneal.nn.Linear;
import anneal.tensor.Linalg;
import anneal.tensor.Ops;
import anneal.tensor.Rng;
import anneal.tensor.SvdOps;
import anneal.tensor.Tensor;
import java.util.LinkedHashMap;
import java.util.Map;

/** The addition of one layer: scaling x (diag(E) A)t Bt, a triplet of E, A and B for each rank that it has. */
final class AdaLoraLayer implements LayerAdapter {
    /** Standard deviation of A and B at the start, as in the paper's code and in PEFT. */
    private static final double DEVIATION = 0.02;

    private final Tensor a;
    private final Tensor e;
    private final Tensor b;
    private final float scaling;
    private final float dropout;

    AdaLoraLayer(Linear base, AdaLora method, int rank) {
        scaling = (float) method.scaling();
        dropout = (float) method.dropout();
        a = LinearTuning.allocate(rank, base.in());
        e = LinearTuning.allocate(rank, 1);
        b = LinearTuning.allocate(base.out(), rank);
    }

    /** Right singular vectors [rank, in]. */
    Tensor a() {
        return a;
    }

    /** Singular values [rank, 1]. */
    Tensor e() {
        return e;
    }

    /** Left singular vectors [out, rank]. */
    Tensor b() {
        return b;
    }

    int rank() {
        return a.dim(0);
    }

    @Override
    public Tensor apply(Tensor x, Linear base, Inner inner) {
        if (rank() == 0) {
            return inner == null ? base.plain(x) : inner.forward(x);
        }
        return LoraLayer.plusLowRank(x, Ops.dropout(x, dropout), base, inner, SvdOps.scaleRows(a, e), b, scaling);
    }

    @Override
    public Map<String, Tensor> parameters() {
        return named(a, e, b);
    }

    /** With the names of PEFT's file. */
    static Map<String, Tensor> named(Tensor a, Tensor e, Tensor b) {
        Map<String, Tensor> all = new LinkedHashMap<>();
        all.put("lora_A", a);
        all.put("lora_E", e);
        all.put("lora_B", b);
        return all;
    }

    /** E stays zero, so a fresh adapter changes nothing. */
    @Override
    public void init(Rng rng) {
        Inits.normal(a, DEVIATION, rng);
        Inits.normal(b, DEVIATION, rng);
    }

    @Override
    public void mergeInto(Tensor w, Tensor bias) {
        if (rank() > 0) {
            Ops.addMatmulTInPlace(w, b, Linalg.transposed(SvdOps.scaleRows(a, e)), scaling);
        }
    }
}
