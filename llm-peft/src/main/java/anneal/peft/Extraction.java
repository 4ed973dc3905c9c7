package anneal.peft;

import anneal.nn.Linear;
import anneal.nn.Module;
import anneal.nn.Weight;
import anneal.tensor.Linalg;
import anneal.tensor.Memory;
import anneal.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeSet;
import java.util.stream.Collectors;

/**
 * Takes a LoRA out of a model that was trained in full: the nearest update of low rank for each layer.
 *
 * <pre>
 * U diag(s) Vt = W_tuned - W_base         B = U sqrt(s), A = sqrt(s) Vt of the first r singular values; scaling 1
 * </pre>
 *
 * <p>No other B A of this rank is nearer in the sum of squares (Eckart and Young, 1936); what is lost is the rest of the s^2. How full
 * training and its update differ is in Aghajanyan et al., arXiv:2012.13255, and Hu et al., arXiv:2106.09685, section 7.
 *
 * @param targets layers to take an update from
 * @param rank largest rank of a layer
 * @param energy part of the sum of s^2 that is enough: each layer gets the smallest rank that keeps it, up to {@code rank}
 */
public record Extraction(Targets targets, int rank, double energy) {
    /**
     * What became of a layer.
     *
     * @param path of the layer
     * @param rank of its update; 0 = it did not change
     * @param energy part of the sum of s^2 that is kept
     * @param error |B A - (W_tuned - W_base)| / |W_tuned - W_base|, Frobenius norms: sqrt(1 - energy)
     */
    public record Layer(String path, int rank, double energy, double error) {}

    /**
     * An extracted adapter.
     *
     * @param adapters plugged into the base; {@link Adapters#save} writes what PEFT opens
     * @param layers the quality, layer by layer
     * @param left what differs between the models and is not in the adapter: norms, biases, embeddings, other layers
     */
    public record Result(Adapters adapters, List<Layer> layers, List<String> left) {
        public Result {
            layers = List.copyOf(layers);
            left = List.copyOf(left);
        }

        /** A line for each layer, and what is left out. */
        @Override
        public String toString() {
            String table = layers.stream()
                    .map(l -> String.format(
                            Locale.ROOT,
                            "%s: rank %d keeps %.4f of the energy, error %.4f",
                            l.path,
                            l.rank,
                            l.energy,
                            l.error))
                    .collect(Collectors.joining(System.lineSeparator()));
            return left.isEmpty()
                    ? table
                    : table + System.lineSeparator() + "not in the adapter, though different: "
                            + String.join(", ", left);
        }
    }

    public Extraction {
        if (rank < 1) {
            throw new IllegalArgumentException("Extraction: rank " + rank + " must be at least 1");
        }
        if (!(energy > 0 && energy <= 1)) {
            throw new IllegalArgumentException("Extraction: energy " + energy + " must be in (0, 1]");
        }
    }

    /** Updates of this rank, of all linear layers but the head. */
    public static Extraction rank(int r) {
        return new Extraction(Targets.named(Targets.ALL_LINEAR), r, 1);
    }

    /** Updates of the smallest rank that keeps this part of the energy, of all linear layers but the head. */
    public static Extraction energy(double part) {
        return new Extraction(Targets.named(Targets.ALL_LINEAR), Integer.MAX_VALUE, part);
    }

    /** Of these layers. */
    public Extraction on(Targets other) {
        return new Extraction(other, rank, energy);
    }

    /**
     * The difference of two models of one shape, as an adapter of the first.
     *
     * @throws IllegalArgumentException if a layer is missing or of another shape in the tuned model, or nothing differs
     */
    public Result of(Module base, Module tuned) {
        Map<String, Linear> here = targets.find(base, true), there = tuned.find(Linear.class);
        requireSame(here, there);
        List<Layer> layers = new ArrayList<>();
        Map<String, LowRank> updates = new LinkedHashMap<>();
        here.forEach((path, linear) -> {
            float[] update = minus(there.get(path).weight(), linear.weight(), path);
            layers.add(layer(path, update, linear, updates));
        });
        if (updates.isEmpty()) {
            throw new IllegalArgumentException("extract: the models are equal in every layer that was asked for");
        }
        List<String> left = left(base, tuned, here);
        Combination.Result lora = LowRank.lora(updates, null);
        return new Result(Adapters.of(lora.method(), base, lora.numbers()), layers, left);
    }

    private Layer layer(String path, float[] update, Linear shape, Map<String, LowRank> updates) {
        double all = energy(update);
        if (all == 0) {
            return new Layer(path, 0, 1, 0);
        }
        try (var _ = Memory.scope()) {
            Linalg.Svd svd = Linalg.svd(Tensor.of(update, shape.out(), shape.in()));
            int r = 0;
            double kept = 0;
            while (r < Math.min(rank, svd.rank()) && (r == 0 || kept < energy * all)) {
                kept += (double) svd.s().get(r) * svd.s().get(r);
                r++;
            }
            LowRank ab = LowRank.balanced(svd.truncated(r));
            updates.put(path, ab);
            double error = energy(difference(ab.product(1), update)) / all;
            return new Layer(path, r, 1 - error, Math.sqrt(error));
        }
    }

    private static double energy(float[] x) {
        double sum = 0;
        for (float v : x) {
            sum += (double) v * v;
        }
        return sum;
    }

    private static float[] difference(float[] a, float[] b) {
        float[] d = new float[a.length];
        for (int i = 0; i < d.length; i++) {
            d[i] = a[i] - b[i];
        }
        return d;
    }

    private static float[] minus(Weight a, Weight b, String path) {
        float[] d = difference(numbers(a), numbers(b));
        for (float v : d) {
            if (!Float.isFinite(v)) {
                throw new IllegalArgumentException("extract: the difference of the weights of " + path + " holds " + v);
            }
        }
        return d;
    }

    private static float[] numbers(Weight w) {
        float[] all = new float[Math.multiplyExact(w.out(), w.in())], row = new float[w.in()];
        for (int i = 0; i < w.out(); i++) {
            w.row(i, row);
            System.arraycopy(row, 0, all, i * row.length, row.length);
        }
        return all;
    }

    private static void requireSame(Map<String, Linear> here, Map<String, Linear> there) {
        List<String> wrong = new ArrayList<>();
        here.forEach((path, linear) -> {
            Linear other = there.get(path);
            if (other == null) {
                wrong.add(path + " is missing");
            } else if (other.out() != linear.out() || other.in() != linear.in()) {
                wrong.add(path + " is [" + other.out() + ", " + other.in() + "], in the base [" + linear.out() + ", "
                        + linear.in() + "]");
            }
        });
        if (!wrong.isEmpty()) {
            throw new IllegalArgumentException(
                    "extract: the tuned model is not of the base's shape: " + String.join("; ", wrong));
        }
    }

    /** Names of parameters and matrices that differ and are no targets. */
    private static List<String> left(Module base, Module tuned, Map<String, Linear> targets) {
        TreeSet<String> left = new TreeSet<>();
        Map<String, Linear> others = tuned.find(Linear.class);
        base.find(Linear.class).forEach((path, linear) -> {
            Linear other = others.get(path);
            if (other != null
                    && !targets.containsKey(path)
                    && !Arrays.equals(numbers(linear.weight()), numbers(other.weight()))) {
                left.add(path + ".weight");
            }
        });
        Map<String, Tensor> theirs = tuned.parameters();
        base.parameters().forEach((name, tensor) -> {
            String layer = name.endsWith(".weight") ? name.substring(0, name.length() - ".weight".length()) : null;
            Tensor other = theirs.get(name);
            if (other != null && !targets.containsKey(layer) && !Arrays.equals(tensor.toArray(), other.toArray())) {
                left.add(name);
            }
        });
        return List.copyOf(left);
    }
}
