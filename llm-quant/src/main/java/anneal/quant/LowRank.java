package anneal.quant;

import anneal.kernels.Matrix;
import anneal.nn.DenseWeight;
import anneal.nn.LayerWatch;
import anneal.nn.Linear;
import anneal.nn.Module;
import anneal.nn.Weight;
import anneal.tensor.Linalg;
import anneal.tensor.Memory;
import anneal.tensor.Ops;
import anneal.tensor.Shape;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.regex.Pattern;

/**
 * Replaces the matrices of linear layers by products of two thin ones, W ~ u v: less memory, less work, smaller files.
 *
 * <pre>
 * plain:     the u v nearest to W                     minimises |W - u v|                  Eckart and Young, 1936
 * weighted:  the u v whose outputs are nearest        minimises |(W - u v) X|              X: the inputs of some text, one a column
 * </pre>
 *
 * <p>With a square root S of the second moment M = X XT, |(W - u v) X| = |W S - u v S|, so the best is the truncated SVD of W S, whose
 * singular values say exactly what is lost: Wang et al., SVD-LLM, arXiv:2403.07378, with S from Cholesky; Yuan et al., ASVD,
 * arXiv:2312.05821, has a diagonal S. Here neither S nor its inverse is needed, which M often does not have: the truncation is the
 * projection onto the first left singular vectors U of W S, and U UT W S = (U UT W) S, so
 *
 * <pre>
 * u = U, the first k eigenvectors of W M WT      v = UT W      lost^2 = sum of the other eigenvalues
 * </pre>
 *
 * and plain is M = 1. For [out, in] with out &gt; in eigenvectors of the smaller ST WT W S are turned into those by W S.
 *
 * @param size how many directions stay
 * @param layers regular expression, found anywhere in the path of a layer; the others are left alone
 */
public record LowRank(Size size, String layers) {
    /** How many directions stay. */
    public sealed interface Size {
        /** This many, or all there are. */
        record Rank(int k) implements Size {
            public Rank {
                if (k < 1) {
                    throw new IllegalArgumentException("low rank: rank " + k + " must be at least 1");
                }
            }
        }

        /** As few as hold this part of the sum of squares: of the matrix, or weighted of its outputs. */
        record Energy(double part) implements Size {
            public Energy {
                requirePart("energy", part);
            }
        }

        /** As many as leave out this part of the numbers of each matrix. */
        record Sparsity(double part) implements Size {
            public Sparsity {
                requirePart("sparsity", part);
            }
        }
    }

    private static void requirePart(String name, double part) {
        if (!(part > 0 && part < 1)) {
            throw new IllegalArgumentException("low rank: " + name + " " + part + " must be in (0, 1)");
        }
    }

    public LowRank {
        Pattern.compile(layers);
    }

    /** All linear layers inside the blocks: those whose path has a number in it. */
    public LowRank(Size size) {
        this(size, "\\.\\d+\\.");
    }

    /**
     * What became of a layer.
     *
     * @param path "model.layers.0.self_attn.q_proj"
     * @param rank k; 0 if factors would take as much as the matrix, which was left as it is
     * @param numbersBefore out in
     * @param numbersAfter k (out + in)
     * @param lost |W - u v| / |W|, weighted |(W - u v) X| / |W X|
     */
    public record Layer(String path, int rank, long numbersBefore, long numbersAfter, double lost) {}

    /**
     * Factors by weights alone. Weights that are held in another form than floats are widened first.
     *
     * @param arena where they live
     * @throws IllegalArgumentException if no layer matches, or a weight is not finite; then nothing was changed
     */
    public List<Layer> apply(Module root, Arena arena) {
        return apply(root, null, arena);
    }

    /** See {@link #apply(Module, Function, Arena, LayerWatch)}. */
    public List<Layer> apply(Module root, Function<String, double[]> moments, Arena arena) {
        return apply(root, moments, arena, LayerWatch.NONE);
    }

    /**
     * Factors by weights and inputs.
     *
     * @param moments the second moment of a layer's input by the layer's path: sums of x xT [in in], as a calibration has them; null:
     *     by weights alone
     * @param watch told after each layer
     */
    public List<Layer> apply(Module root, Function<String, double[]> moments, Arena arena, LayerWatch watch) {
        Map<String, Linear> wanted = matching(root);
        Map<Linear, Weight> made = new LinkedHashMap<>();
        List<Layer> report = new ArrayList<>();
        Root shared = new Root();
        wanted.forEach((path, linear) -> {
            try (var _ = Memory.scope();
                    var _ = Tape.pause()) {
                double[] inputs = moments == null ? null : moments.apply(path);
                report.add(factor(path, linear, inputs, shared, made, arena));
            }
            watch.layer(path, report.size(), wanted.size());
        });
        made.forEach((linear, weight) -> {
            boolean trained = linear.weight().parameters().values().stream().anyMatch(Tensor::tracked);
            weight.parameters().values().forEach(t -> t.trainable(trained));
            linear.weight(weight);
        });
        return report;
    }

    private Map<String, Linear> matching(Module root) {
        Map<String, Linear> found = root.find(Linear.class), wanted = new LinkedHashMap<>(found);
        wanted.keySet().removeIf(path -> !Pattern.compile(layers).matcher(path).find());
        if (wanted.isEmpty()) {
            throw new IllegalArgumentException("low rank: no linear layer matches " + layers + " of " + found.keySet());
        }
        return wanted;
    }

    private Layer factor(
            String path, Linear linear, double[] inputs, Root shared, Map<Linear, Weight> made, Arena arena) {
        int out = linear.out(), in = linear.in();
        Tensor w = floats(path, linear.weight().matrix());
        Linalg.Eigen eigen = out <= in ? left(w, inputs) : right(w, inputs, shared);
        int all = Math.min(out, in);
        double[] energies = new double[all]; // falling
        double sum = 0;
        for (int i = 0; i < all; i++) {
            energies[i] = Math.max(0, eigen.values().get(all - 1 - i));
            sum += energies[i];
        }
        int k = rank(energies, sum, out, in);
        long before = (long) out * in, after = (long) k * (out + in);
        if (after >= before) {
            return new Layer(path, 0, before, before, 0);
        }
        Tensor u = Ops.columns(eigen.vectors(), all - k, k), v = Ops.matmul(Linalg.transposed(u), w);
        made.put(linear, new LowRankWeight(kept(u, arena), kept(v, arena)));
        double tail = 0;
        for (int i = k; i < all; i++) {
            tail += energies[i];
        }
        return new Layer(path, k, before, after, sum == 0 ? 0 : Math.sqrt(tail / sum));
    }

    private int rank(double[] energies, double sum, int out, int in) {
        return switch (size) {
            case Size.Rank r -> Math.min(r.k, energies.length);
            case Size.Sparsity s -> Math.max(1, (int) ((1 - s.part) * out * in / (out + in)));
            case Size.Energy e -> {
                double held = 0;
                int k = 0;
                while (k < energies.length && (k == 0 || held < e.part * sum)) {
                    held += energies[k++];
                }
                yield k;
            }
        };
    }

    /** Eigenvectors of W M WT. */
    private static Linalg.Eigen left(Tensor w, double[] inputs) {
        return Linalg.eigSymmetric(Ops.matmulT(inputs == null ? w : Ops.matmul(w, moments(inputs, w.dim(1))), w));
    }

    /** Those of the same eigenvalues by way of (W S)T (W S): z becomes W S z / |W S z|. */
    private static Linalg.Eigen right(Tensor w, double[] inputs, Root shared) {
        Tensor ws = inputs == null ? w : Ops.matmul(w, shared.of(inputs, w.dim(1)));
        Linalg.Eigen small = Linalg.eigSymmetric(Ops.matmul(Linalg.transposed(ws), ws));
        Tensor turned = Linalg.transposed(Ops.matmul(ws, small.vectors()));
        float[] u = turned.toArray();
        int out = w.dim(0);
        for (int from = 0; from < u.length; from += out) {
            double norm = 0;
            for (int i = from; i < from + out; i++) {
                norm += (double) u[i] * u[i];
            }
            float scale = norm > 0 ? (float) (1 / Math.sqrt(norm)) : 0;
            for (int i = from; i < from + out; i++) {
                u[i] *= scale;
            }
        }
        return new Linalg.Eigen(small.values(), Linalg.transposed(Tensor.of(u, w.dim(1), out)));
    }

    /** A square root of the second moment, remembered while layer after layer reads the same input. */
    private static final class Root {
        private double[] of;
        private float[] root;

        Tensor of(double[] inputs, int n) {
            if (!Arrays.equals(inputs, of)) {
                of = inputs;
                Linalg.Eigen m = Linalg.eigSymmetric(moments(inputs, n));
                root = m.vectors().toArray();
                for (int i = 0; i < root.length; i++) {
                    root[i] *= (float) Math.sqrt(Math.max(0, m.values().get(i % n)));
                }
            }
            return Tensor.of(root, n, n);
        }
    }

    /** Sums of x xT, divided by the mean of the diagonal so that floats hold them. */
    private static Tensor moments(double[] sums, int n) {
        double trace = 0;
        for (int i = 0; i < n; i++) {
            trace += sums[i * n + i];
        }
        float[] scaled = new float[sums.length];
        for (int i = 0; i < scaled.length; i++) {
            scaled[i] = trace > 0 ? (float) (sums[i] * n / trace) : 0;
        }
        return Tensor.of(scaled, n, n);
    }

    private static Tensor floats(String path, Matrix matrix) {
        float[] w = Pruning.floats(matrix);
        for (int i = 0; i < w.length; i++) {
            if (!Float.isFinite(w[i])) {
                throw new IllegalArgumentException("low rank: " + path + " has " + w[i] + " at [" + i / matrix.cols()
                        + ", " + i % matrix.cols() + "]; it must be finite");
            }
        }
        return Tensor.of(w, matrix.rows(), matrix.cols());
    }

    private static Weight kept(Tensor t, Arena arena) {
        Tensor copy = Tensor.allocate(arena, Shape.of(t.dim(0), t.dim(1)));
        copy.set(t);
        return new DenseWeight(copy);
    }
}
