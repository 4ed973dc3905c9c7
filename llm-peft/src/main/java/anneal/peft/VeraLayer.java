package anneal.peft;

import anneal.nn.Linear;
import anneal.tensor.AdapterOps;
import anneal.tensor.Linalg;
import anneal.tensor.Ops;
import anneal.tensor.Rng;
import anneal.tensor.Tensor;
import java.util.LinkedHashMap;
import java.util.Map;

/** The addition of one layer. A and B are frozen, so neither product owes a gradient of the weight's size. */
final class VeraLayer implements LayerAdapter {
    private final Vera vera;
    private final VeraTuning.Projection projection;
    private final Tensor b;
    private final Tensor d;

    VeraLayer(Linear base, Vera vera, VeraTuning.Projection projection) {
        this.vera = vera;
        this.projection = projection;
        b = LinearTuning.allocate(base.out());
        d = LinearTuning.allocate(vera.rank());
    }

    @Override
    public Tensor apply(Tensor x, Linear base, Inner inner) {
        Tensor y = inner == null ? base.plain(x) : inner.forward(x);
        Tensor z = Ops.dropout(x, (float) vera.dropout());
        Tensor u = AdapterOps.scaleColumns(Ops.matmulT(z, projection.a(base.in())), d);
        return AdapterOps.addScaledColumnsInPlace(y, Ops.matmulT(u, projection.b(base.out())), b);
    }

    @Override
    public Map<String, Tensor> parameters() {
        Map<String, Tensor> all = new LinkedHashMap<>();
        all.put("vera_lambda_b", b);
        all.put("vera_lambda_d", d);
        return all;
    }

    @Override
    public void init(Rng rng) {
        if (vera.random()) {
            Inits.constant(b, 1);
            Inits.normal(d, 1, rng);
        } else {
            Inits.constant(b, 0);
            Inits.constant(d, vera.dInitial());
        }
    }

    @Override
    public void mergeInto(Tensor w, Tensor bias) {
        Tensor scaledB = Linalg.transposed( // diag(b) B diag(d), [out, rank]
                AdapterOps.scaleColumns(Linalg.transposed(projection.b(w.dim(0))), b));
        Ops.addMatmulTInPlace(w, AdapterOps.scaleColumns(scaledB, d), Linalg.transposed(projection.a(w.dim(1))), 1f);
    }
}
