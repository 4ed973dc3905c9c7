package anneal.peft;

import anneal.nn.Linear;
import anneal.tensor.AdapterOps;
import anneal.tensor.Ops;
import anneal.tensor.Rng;
import anneal.tensor.Tensor;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * The addition of one layer, in the cheaper of two forms.
 *
 * <p>The element-wise product of two matrices of rank r is one of rank r^2 whose factors are known:
 *
 * <pre>
 * delta[o, n] = sum over i, j of (w1a[o, i] w2a[o, j]) (w1b[i, n] w2b[j, n]) = columns rows
 * columns [out, r r], column i r + j = w1a[., i] * w2a[., j]
 * rows    [r r, in],  row    i r + j = w1b[i, .] * w2b[j, .]
 * </pre>
 *
 * <p>For a row of x that is r^2 (in + out) products instead of in out, and nothing of the weight's size is built or kept. Where r^2 is too
 * large for that, delta is built once a pass.
 */
final class LoHaLayer extends LycorisLayer {
    private final Tensor w1a;
    private final Tensor w1b;
    private final Tensor w2a;
    private final Tensor w2b;
    private final boolean thin;
    private final boolean random;

    LoHaLayer(Linear base, LoHa loHa, String path) {
        super(loHa.options(), path, true);
        int r = loHa.options().rank(path), out = base.out(), in = base.in();
        LinearTuning.requireRank("loha", r, path, out, in);
        random = loHa.random();
        w1a = LinearTuning.allocate(out, r);
        w1b = LinearTuning.allocate(r, in);
        w2a = LinearTuning.allocate(out, r);
        w2b = LinearTuning.allocate(r, in);
        thin = (long) r * r * (in + out) < (long) in * out;
    }

    @Override
    Tensor adapted(Tensor x, Linear base, Inner inner) {
        return thin
                ? LoraLayer.plusLowRank(x, x, base, inner, rows(), columns(), scaling)
                : super.adapted(x, base, inner);
    }

    @Override
    Tensor add(Tensor y, Tensor x) {
        return thin
                ? Ops.addMatmulTInPlace(y, Ops.matmulT(x, rows()), columns(), scaling)
                : Ops.addMatmulTInPlace(y, x, delta(), scaling);
    }

    private Tensor rows() {
        return AdapterOps.outerRows(w1b, w2b);
    }

    private Tensor columns() {
        return turned(AdapterOps.outerRows(turned(w1a), turned(w2a)));
    }

    private Tensor delta() {
        return Ops.mul(Ops.matmul(w1a, w1b), Ops.matmul(w2a, w2b));
    }

    @Override
    public Map<String, Tensor> parameters() {
        Map<String, Tensor> all = new LinkedHashMap<>();
        all.put("hada_w1_a", w1a);
        all.put("hada_w1_b", w1b);
        all.put("hada_w2_a", w2a);
        all.put("hada_w2_b", w2b);
        return all;
    }

    @Override
    public void init(Rng rng) {
        Inits.kaiming(w1a, rng);
        Inits.kaiming(w1b, rng);
        Inits.kaiming(w2a, rng);
        if (random) {
            Inits.kaiming(w2b, rng);
        }
    }

    @Override
    public void mergeInto(Tensor w, Tensor bias) {
        Ops.addInPlace(w, Ops.scale(delta(), scaling));
    }
}
