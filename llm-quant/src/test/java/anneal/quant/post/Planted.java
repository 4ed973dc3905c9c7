package anneal.quant.post;

import anneal.nn.DenseWeight;
import anneal.nn.Linear;
import anneal.nn.Module;
import anneal.tensor.Ops;
import anneal.tensor.Rng;
import anneal.tensor.Shape;
import anneal.tensor.Tensor;
import anneal.tensor.UpdateOps;
import java.lang.foreign.Arena;
import java.util.Arrays;

/** Numbers with known difficulties: correlated inputs, outlier channels. */
final class Planted {
    private Planted() {}

    static Tensor normal(Arena arena, Rng rng, double std, int... dims) {
        Tensor t = Tensor.allocate(arena, Shape.of(dims));
        float[] x = new float[(int) t.size()];
        for (int i = 0; i < x.length; i++) {
            x[i] = (float) (std * rng.nextGaussian());
        }
        t.set(x);
        return t;
    }

    /** Rows whose channels are mixtures of one another: what GPTQ lives on. [rows, in]. */
    static Tensor correlated(Arena arena, Rng rng, int rows, int in) {
        Tensor x = Tensor.allocate(arena, Shape.of(rows, in));
        x.set(Ops.add(
                normal(arena, rng, 1, rows, in),
                Ops.matmulT(
                        normal(arena, rng, 2, rows, in / 4), normal(arena, rng, 1 / Math.sqrt(in / 4.0), in, in / 4))));
        return x;
    }

    /** Multiplies one channel of x [rows, in]. */
    static void outlier(Tensor x, int channel, float by) {
        float[] v = x.toArray();
        for (int i = channel; i < v.length; i += x.rowSize()) {
            v[i] *= by;
        }
        x.set(v);
    }

    /** |a - b| / |b|. */
    static double relative(float[] a, float[] b) {
        Tensor ta = Tensor.of(a, a.length), tb = Tensor.of(b, b.length);
        return Math.sqrt(UpdateOps.squaredNorm(Ops.sub(ta, tb)) / UpdateOps.squaredNorm(tb));
    }

    static double largestDifference(float[] a, float[] b) {
        double most = a.length == b.length ? 0 : Double.NaN;
        for (int i = 0; i < b.length; i++) {
            most = Math.max(most, Math.abs(a[i] - b[i]));
        }
        return most;
    }

    static float[] floats(anneal.kernels.Matrix m) {
        float[] all = new float[m.rows() * m.cols()];
        for (int i = 0; i < m.rows(); i++) {
            System.arraycopy(Rounding.row(m, i), 0, all, i * m.cols(), m.cols());
        }
        return all;
    }

    /** A single layer as a model. */
    static final class One extends Module {
        final Linear layer;

        One(Tensor w) {
            layer = child("layer", new Linear(new DenseWeight(w), null));
        }
    }

    static float[] copy(Tensor x) {
        return Arrays.copyOf(x.toArray(), (int) x.size());
    }
}
