package anneal.quant;

import anneal.kernels.Matrix;
import anneal.nn.LayerWatch;
import anneal.nn.Linear;
import anneal.nn.Module;
import java.lang.foreign.Arena;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.function.Predicate;
import java.util.regex.Pattern;

/**
 * Sets the least important numbers of linear layers to zero and keeps them there through fine-tuning.
 *
 * <pre>
 * magnitude:  score = |w_ij|                         Han et al., arXiv:1506.02626
 * Wanda:      score = |w_ij| norm(x_j)               Sun et al., arXiv:2306.11695: x_j is input j over all calibration tokens
 * </pre>
 *
 * @param pattern which of the scores go
 * @param layers regular expression, found anywhere in the path of a layer; the others are left alone
 */
public record Pruning(Choice pattern, String layers) {
    /** Which scores go. */
    public sealed interface Choice {
        /** This part of each matrix. */
        record PerLayer(double sparsity) implements Choice {
            public PerLayer {
                requireSparsity(sparsity);
            }
        }

        /** This part of each row, which is what Wanda compares: outputs are treated alike. */
        record PerRow(double sparsity) implements Choice {
            public PerRow {
                requireSparsity(sparsity);
            }
        }

        /** This part of all matrices together, so that some lose more than others. */
        record Global(double sparsity) implements Choice {
            public Global {
                requireSparsity(sparsity);
            }
        }

        /** All but the n highest of each m neighbours; 2 of 4 is what sparse tensor cores read. */
        record NofM(int n, int m) implements Choice {
            public NofM {
                if (n < 1 || n >= m) {
                    throw new IllegalArgumentException("prune: " + n + " of " + m + " must leave some and drop some");
                }
            }
        }
    }

    /** All linear layers inside the blocks: those whose path has a number in it. */
    private static final String BLOCKS = "\\.\\d+\\.";

    /** Storage of numbers that are not rounded to a grid. */
    private static final Set<String> FLOATS = Set.of("F32", "F16", "BF16");

    /** The least part of a matrix at 0 that is no accident. */
    private static final double NOTICEABLE = 0.01;

    private static void requireSparsity(double sparsity) {
        if (!(sparsity > 0 && sparsity < 1)) {
            throw new IllegalArgumentException("prune: sparsity " + sparsity + " must be in (0, 1)");
        }
    }

    public Pruning {
        Pattern.compile(layers);
    }

    /** All linear layers inside the blocks: those whose path has a number in it. */
    public Pruning(Choice pattern) {
        this(pattern, BLOCKS);
    }

    /** See {@link #magnitude(Module, Arena, LayerWatch)}. */
    public Map<String, Mask> magnitude(Module root, Arena arena) {
        return magnitude(root, arena, LayerWatch.NONE);
    }

    /** Prunes by magnitude; see {@link #wanda(Module, Map, Arena, LayerWatch)}. */
    public Map<String, Mask> magnitude(Module root, Arena arena, LayerWatch watch) {
        return apply(root, Map.of(), arena, watch);
    }

    /** See {@link #wanda(Module, Map, Arena, LayerWatch)}. */
    public Map<String, Mask> wanda(Module root, Map<String, float[]> norms, Arena arena) {
        return wanda(root, norms, arena, LayerWatch.NONE);
    }

    /**
     * Prunes by magnitude times input norm.
     *
     * @param norms of the inputs, from {@link InputNorms#capture}
     * @param arena where pruned weights live
     * @param watch told after each layer
     * @return the mask of each layer that was pruned, by path; its weight is a {@link MaskedWeight} now
     * @throws IllegalArgumentException if no layer matches or one that does has no norms
     */
    public Map<String, Mask> wanda(Module root, Map<String, float[]> norms, Arena arena, LayerWatch watch) {
        for (String path : matching(root, layers).keySet()) {
            if (!norms.containsKey(path)) {
                throw new IllegalArgumentException("prune: the calibration data did not reach " + path);
            }
        }
        return apply(root, norms, arena, watch);
    }

    /** The same for all linear layers inside the blocks. */
    public static Map<String, Mask> keepZeros(Module root, Arena arena) {
        return keepZeros(root, path -> true, arena);
    }

    /**
     * Masks of the zeros that the linear layers inside the blocks have already, as a pruned model does when it is read from a file: from
     * then on they stay through fine-tuning.
     *
     * @param which paths of layers that are wanted: those that will be trained, since a mask and its floats take memory
     * @param arena where masked weights live
     * @return the mask of each layer with a zero, by path; its weight is a {@link MaskedWeight} now
     * @throws IllegalArgumentException if no matrix has a part of 1 % at 0, or one is quantised: there rounding makes zeros too
     */
    public static Map<String, Mask> keepZeros(Module root, Predicate<String> which, Arena arena) {
        Map<String, Linear> layers = matching(root, BLOCKS);
        layers.keySet().removeIf(which.negate());
        Map<String, Mask> masks = new LinkedHashMap<>();
        layers.forEach((path, linear) -> {
            String format = linear.weight().format();
            if (!FLOATS.contains(format)) {
                throw new IllegalArgumentException("keep zeros: " + path + " is stored as " + format
                        + ", where zeros come from rounding too; it must be F32, F16 or BF16");
            }
            Mask mask = Mask.ofZeros(floats(linear.weight().matrix()), linear.in());
            if (mask.dropped() > 0) {
                masks.put(path, mask);
            }
        });
        double most = masks.values().stream().mapToDouble(Mask::sparsity).max().orElse(0);
        if (most < NOTICEABLE) {
            throw new IllegalArgumentException(String.format(
                    Locale.ROOT,
                    "keep zeros: none of %d matrices has 1 %% of its numbers at 0 (the most is %.2f %%), so they were not pruned",
                    layers.size(),
                    100 * most));
        }
        masks.forEach((path, mask) -> plug(layers.get(path), mask, arena));
        return masks;
    }

    private static void plug(Linear linear, Mask mask, Arena arena) {
        boolean trained = linear.weight().parameter().filter(p -> p.tracked()).isPresent();
        MaskedWeight weight = new MaskedWeight(linear.weight().matrix(), mask, arena);
        weight.parameter().orElseThrow().trainable(trained);
        linear.weight(weight);
    }

    private static Map<String, Linear> matching(Module root, String layers) {
        Map<String, Linear> found = root.find(Linear.class);
        Map<String, Linear> wanted = new LinkedHashMap<>(found);
        wanted.keySet().removeIf(path -> !Pattern.compile(layers).matcher(path).find());
        if (wanted.isEmpty()) {
            throw new IllegalArgumentException("prune: no linear layer matches " + layers + " of " + found.keySet());
        }
        return wanted;
    }

    private Map<String, Mask> apply(Module root, Map<String, float[]> norms, Arena arena, LayerWatch watch) {
        Map<String, Linear> wanted = matching(root, layers);
        float all = pattern instanceof Choice.Global g ? globalThreshold(wanted, norms, g.sparsity()) : 0;
        Map<String, Mask> masks = new LinkedHashMap<>();
        wanted.forEach((path, linear) -> {
            float[] scores = scores(linear.weight().matrix(), norms.get(path), path);
            int cols = linear.in();
            Mask mask = switch (pattern) {
                case Choice.PerLayer c -> Mask.above(scores, cols, Mask.threshold(scores, c.sparsity()));
                case Choice.PerRow c -> Mask.byRow(scores, cols, c.sparsity());
                case Choice.Global _ -> Mask.above(scores, cols, all);
                case Choice.NofM c -> Mask.nOfM(scores, cols, c.n(), c.m());
            };
            masks.put(path, mask);
            watch.layer(path, masks.size(), wanted.size());
        });
        masks.forEach((path, mask) -> plug(wanted.get(path), mask, arena));
        return masks;
    }

    private static float globalThreshold(Map<String, Linear> layers, Map<String, float[]> norms, double sparsity) {
        long n =
                layers.values().stream().mapToLong(l -> (long) l.in() * l.out()).sum();
        float[] all = new float[Math.toIntExact(n)];
        int at = 0;
        for (Map.Entry<String, Linear> e : layers.entrySet()) {
            float[] scores = scores(e.getValue().weight().matrix(), norms.get(e.getKey()), e.getKey());
            System.arraycopy(scores, 0, all, at, scores.length);
            at += scores.length;
        }
        return Mask.threshold(all, sparsity);
    }

    /**
     * |w_ij| norm_j.
     *
     * @param norms [in], or null for |w_ij| alone
     * @param where the layer's path, for the message
     * @throws IllegalArgumentException if a weight is not a number: it would have no place in an order
     */
    public static float[] scores(Matrix matrix, float[] norms, String where) {
        float[] scores = floats(matrix);
        for (int i = 0; i < scores.length; i++) {
            float w = scores[i];
            scores[i] = Math.abs(w) * (norms == null ? 1 : norms[i % matrix.cols()]);
            if (Float.isNaN(scores[i])) {
                throw new IllegalArgumentException(
                        "prune: " + where + " has " + w + " at [" + i / matrix.cols() + ", " + i % matrix.cols() + "]");
            }
        }
        return scores;
    }

    static float[] floats(Matrix matrix) {
        float[] w = new float[Math.multiplyExact(matrix.rows(), matrix.cols())];
        for (int row = 0; row < matrix.rows(); row++) {
            matrix.widen(row, 0, matrix.cols(), w, row * matrix.cols());
        }
        return w;
    }
}
