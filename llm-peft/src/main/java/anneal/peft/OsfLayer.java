package anneal.peft;

import anneal.nn.Linear;
import anneal.nn.Weight;
import anneal.tensor.AdapterOps;
import anneal.tensor.Linalg;
import anneal.tensor.Memory;
import anneal.tensor.Ops;
import anneal.tensor.Rng;
import anneal.tensor.SubspaceOps;
import anneal.tensor.SubspaceOps.Span;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.LinkedHashMap;
import java.util.Map;

/** {@link Osf} at one layer. */
final class OsfLayer implements LayerAdapter {
    /** U [out, r], S [r], V [r, in] of a matrix of rank r. */
    private record Factors(Tensor u, Tensor s, Tensor v) {
        static Factors copy(Tensor u, Tensor s, Tensor v) {
            return new Factors(CopyLayer.copy(u), CopyLayer.copy(s), CopyLayer.copy(v));
        }

        /** x (U S V)t. Shapes: x [.., in] -> [.., out]. */
        Tensor apply(Tensor x, Tensor u, Tensor v) {
            return Ops.matmulT(AdapterOps.scaleColumns(Ops.matmulT(x, v), s), u);
        }

        /** U S. */
        Tensor scaled() {
            return AdapterOps.scaleColumns(u, s);
        }
    }

    private final Factors trained;
    private final Factors initial;
    private final Span outputs;
    private final Span inputs;

    /** Decomposes the layer's matrix. */
    OsfLayer(Linear base, int kept) {
        Weight dense = base.weight().dense(Arena.ofAuto());
        try (var _ = Memory.scope()) {
            Linalg.Svd svd =
                    Linalg.svd(LinearTuning.upright(dense, dense.parameter().orElseThrow()));
            int left = svd.rank() - kept;
            Tensor ut = Linalg.transposed(svd.u());
            Tensor ul = Linalg.transposed(rows(ut, kept, left)), vl = rows(svd.vt(), kept, left);
            Tensor sl = rows(svd.s().view(svd.rank(), 1), kept, left).view(left);
            initial = Factors.copy(ul, sl, vl);
            trained = Factors.copy(ul, sl, vl);
            outputs = span(ut, kept);
            inputs = span(svd.vt(), kept);
        }
    }

    /**
     * What gradients must stay out of: the first rows. All rows of a square matrix are a whole basis, and then the others say the same
     * in the positive; the fewer are remembered.
     */
    private static Span span(Tensor directions, int kept) {
        int count = directions.dim(0), left = count - kept;
        boolean keep = count == directions.dim(1) && left < kept;
        return new Span(CopyLayer.copy(keep ? rows(directions, kept, left) : rows(directions, 0, kept)), keep);
    }

    private static Tensor rows(Tensor x, int from, int count) {
        Tensor y = Tensor.empty(count, x.dim(1));
        y.buf().copyFrom(x.buf().asSlice(4L * from * x.dim(1), 4L * count * x.dim(1)));
        return y;
    }

    /** Both products are made in the same way, so that they cancel bit for bit while nothing is learnt. */
    @Override
    public Tensor apply(Tensor x, Linear base, Inner inner) {
        Tensor y = inner == null ? base.plain(x) : inner.forward(x);
        Tensor now = trained.apply(
                x, SubspaceOps.columnsWithin(trained.u, outputs), SubspaceOps.rowsWithin(trained.v, inputs));
        Tensor before = initial.apply(x, initial.u, initial.v);
        return Ops.addInPlace(y, Ops.sub(now, before));
    }

    @Override
    public Map<String, Tensor> parameters() {
        Map<String, Tensor> all = new LinkedHashMap<>();
        all.put("osf_svd_params.U_low", trained.u);
        all.put("osf_svd_params.S_low", trained.s);
        all.put("osf_svd_params.V_low", trained.v);
        return all;
    }

    /** Nothing: it starts as what the matrix is. */
    @Override
    public void init(Rng rng) {}

    @Override
    public void mergeInto(Tensor w, Tensor bias) {
        Tensor delta = Ops.sub(Ops.matmul(trained.scaled(), trained.v), Ops.matmul(initial.scaled(), initial.v));
        Ops.addInPlace(w, delta);
    }
}
