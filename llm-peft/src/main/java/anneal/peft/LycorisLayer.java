package anneal.peft;

import anneal.nn.Linear;
import anneal.tensor.AdapterOps;
import anneal.tensor.Rng;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;

/** One layer's addition x deltaT, where delta is put together from small factors; with LyCORIS' two kinds of dropout. */
abstract class LycorisLayer implements LayerAdapter {
    final float scaling;
    private final double rankDropout;
    private final double moduleDropout;
    private final boolean keepMean;

    /** A layer's part; {@code keepMean}: what rank dropout keeps is scaled up by the share that it dropped. */
    LycorisLayer(Lycoris options, String path, boolean keepMean) {
        scaling = (float) options.scaling(path);
        rankDropout = options.rankDropout();
        moduleDropout = options.moduleDropout();
        this.keepMean = keepMean;
    }

    /** y += scaling x deltaT, in place. Shapes: y [.., out], x [.., in]. */
    abstract Tensor add(Tensor y, Tensor x);

    /** The layer and the addition, without dropout. */
    Tensor adapted(Tensor x, Linear base, Inner inner) {
        return add(plain(x, base, inner), x);
    }

    static Tensor plain(Tensor x, Linear base, Inner inner) {
        return inner == null ? base.plain(x) : inner.forward(x);
    }

    @Override
    public final Tensor apply(Tensor x, Linear base, Inner inner) {
        if (!Tape.training() || rankDropout == 0 && moduleDropout == 0) {
            return adapted(x, base, inner);
        }
        Rng noise = new Rng(Tape.nextSeed());
        if (noise.nextDouble() < moduleDropout) {
            return plain(x, base, inner);
        }
        if (rankDropout == 0) {
            return adapted(x, base, inner);
        }
        Tensor y = plain(x, base, inner), addition = add(Tensor.zeros(y.shape().dims()), x);
        return AdapterOps.addScaledColumnsInPlace(y, addition, kept(base.out(), noise));
    }

    /** For each output 0 if it is dropped, else 1, or what keeps the mean of all at 1. */
    private Tensor kept(int out, Rng noise) {
        float[] factors = new float[out];
        int count = 0;
        for (int i = 0; i < out; i++) {
            if (noise.nextDouble() >= rankDropout) {
                factors[i] = 1;
                count++;
            }
        }
        if (keepMean && count > 0) {
            float up = (float) out / count;
            for (int i = 0; i < out; i++) {
                factors[i] *= up;
            }
        }
        return Tensor.of(factors, out);
    }

    /** x [n, m] -> [m, n], with a gradient. */
    static Tensor turned(Tensor x) {
        int n = x.dim(0), m = x.dim(1);
        return AdapterOps.transposeEach(x.view(1, n * m), n, m).view(m, n);
    }
}
