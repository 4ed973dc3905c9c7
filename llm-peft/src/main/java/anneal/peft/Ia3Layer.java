package anneal.peft;

import anneal.nn.Linear;
import anneal.tensor.AdapterOps;
import anneal.tensor.Linalg;
import anneal.tensor.Rng;
import anneal.tensor.Tensor;
import java.util.Map;

/** The factors of one layer, at its input or its output. */
final class Ia3Layer implements LayerAdapter {
    private final Tensor l;
    private final boolean atInput;
    private final boolean random;

    Ia3Layer(Linear base, Ia3 ia3, String path) {
        atInput = ia3.scalesInput(path);
        random = ia3.random();
        l = atInput ? LinearTuning.allocate(1, base.in()) : LinearTuning.allocate(base.out(), 1);
    }

    @Override
    public Tensor apply(Tensor x, Linear base, Inner inner) {
        Tensor z = atInput ? AdapterOps.scaleColumns(x, l) : x;
        Tensor y = inner == null ? base.plain(z) : inner.forward(z);
        return atInput ? y : AdapterOps.scaleColumns(y, l);
    }

    @Override
    public Map<String, Tensor> parameters() {
        return Map.of("ia3_l", l);
    }

    @Override
    public void init(Rng rng) {
        if (random) {
            Inits.normal(l, 1, rng);
        } else {
            Inits.constant(l, 1);
        }
    }

    @Override
    public void mergeInto(Tensor w, Tensor bias) {
        if (atInput) {
            w.set(AdapterOps.scaleColumns(w, l));
            return;
        }
        w.set(Linalg.transposed(AdapterOps.scaleColumns(Linalg.transposed(w), l)));
        if (bias != null) {
            bias.set(AdapterOps.scaleColumns(bias, l));
        }
    }
}
