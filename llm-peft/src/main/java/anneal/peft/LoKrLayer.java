package anneal.peft;

import anneal.nn.Linear;
import anneal.tensor.AdapterOps;
import anneal.tensor.Ops;
import anneal.tensor.Rng;
import anneal.tensor.Tensor;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * The addition of one layer. The Kronecker product is never built: with a row of x as a matrix X [c, d], the row's addition as a matrix
 * Y [a, b] is
 *
 * <pre>
 * Y = w1 X w2t
 * </pre>
 *
 * <p>two small products instead of one of in out numbers; which of them is made first is a matter of cost.
 */
final class LoKrLayer extends LycorisLayer {
    private final int a;
    private final int b;
    private final int c;
    private final int d;
    private final Factor w1;
    private final Factor w2;
    private final LoKr.Init init;

    /**
     * A matrix, whole or as a product of thin ones.
     *
     * @param left the matrix itself, or its left factor
     * @param right the right factor, or null
     */
    private record Factor(Tensor left, Tensor right) {
        static Factor of(int rows, int columns, int rank, boolean whole) {
            return whole
                    ? new Factor(LinearTuning.allocate(rows, columns), null)
                    : new Factor(LinearTuning.allocate(rows, rank), LinearTuning.allocate(rank, columns));
        }

        /** Small against x: built anew in each pass. */
        Tensor matrix() {
            return right == null ? left : Ops.matmul(left, right);
        }

        void putInto(Map<String, Tensor> all, String name) {
            if (right == null) {
                all.put(name, left);
            } else {
                all.put(name + "_a", left);
                all.put(name + "_b", right);
            }
        }
    }

    LoKrLayer(Linear base, LoKr loKr, String path) {
        super(loKr.options(), path, loKr.rankDropoutScale());
        int[] out = LoKr.factors(base.out(), loKr.decomposeFactor());
        int[] in = LoKr.factors(base.in(), loKr.decomposeFactor());
        a = out[0];
        b = out[1];
        c = in[0];
        d = in[1];
        int r = loKr.options().rank(path);
        w1 = Factor.of(a, c, r, !loKr.decomposeBoth() || 2 * r >= Math.max(a, c));
        w2 = Factor.of(b, d, r, 2 * r >= Math.max(b, d));
        init = loKr.init();
    }

    @Override
    Tensor add(Tensor y, Tensor x) {
        int rows = x.rowCount();
        // Products for a row: a d (c + b) if w1 comes first, b c (d + a) if w2 does.
        if ((long) a * d * (c + b) <= (long) b * c * (d + a)) {
            Tensor xDC = AdapterOps.transposeEach(x.view(rows, c * d), c, d);
            Tensor tDA = Ops.matmulT(xDC.view(rows * d, c), w1.matrix());
            Tensor tAD = AdapterOps.transposeEach(tDA.view(rows, d * a), d, a);
            Ops.addMatmulTInPlace(y.view(rows * a, b), tAD.view(rows * a, d), w2.matrix(), scaling);
            return y;
        }
        Tensor tCB = Ops.matmulT(x.view(rows * c, d), w2.matrix());
        Tensor tBC = AdapterOps.transposeEach(tCB.view(rows, c * b), c, b);
        Tensor yBA = Ops.matmulT(tBC.view(rows * b, c), Ops.scale(w1.matrix(), scaling));
        Tensor yAB = AdapterOps.transposeEach(yBA.view(rows, b * a), b, a);
        return Ops.addInPlace(y, yAB.view(y.shape().dims()));
    }

    @Override
    public Map<String, Tensor> parameters() {
        Map<String, Tensor> all = new LinkedHashMap<>();
        w1.putInto(all, "lokr_w1");
        w2.putInto(all, "lokr_w2");
        return all;
    }

    @Override
    public void init(Rng rng) {
        parameters().values().forEach(t -> Inits.kaiming(t, rng));
        switch (init) {
            case FIRST_ZERO -> Inits.constant(w1.left, 0);
            case SECOND_ZERO -> Inits.constant(w2.right == null ? w2.left : w2.right, 0);
            case RANDOM -> {}
        }
    }

    @Override
    public void mergeInto(Tensor w, Tensor bias) {
        float[] sum = w.toArray(),
                first = w1.matrix().toArray(),
                second = w2.matrix().toArray();
        for (int at = 0; at < sum.length; at++) {
            int o = at / (c * d), n = at % (c * d);
            sum[at] += scaling * first[o / b * c + n / d] * second[o % b * d + n % d];
        }
        w.set(sum);
    }
}
