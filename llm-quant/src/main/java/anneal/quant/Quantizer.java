package anneal.quant;

import anneal.io.Json;
import anneal.kernels.Matrix;
import anneal.kernels.Parallel;
import anneal.nn.Adapter;
import anneal.nn.Embedding;
import anneal.nn.LayerWatch;
import anneal.nn.Linear;
import anneal.nn.Module;
import anneal.nn.Weight;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Rounds the weights of a model's linear layers to nearest in a format: {@code Quantizer.format(new Nf4(64)).except("lm_head")
 * .apply(root)}. They are frozen from then on; adapters are attached afterwards.
 *
 * <p>A layer whose weight is an embedding's too, as a tied output projection, stays as it is. A weight that has fewer bits already is
 * an error: what it lost does not come back, and the second rounding would be hidden behind the first.
 *
 * @param format what to store weights in
 * @param except names of layers that are left alone: a layer's path equals the name or ends with "." and the name
 */
public record Quantizer(QuantFormat format, List<String> except) {
    /** Reasons that an error tells; the rest are counted. */
    private static final int NAMED = 3;

    /** What is not quantised yet. */
    private static final Set<String> FLOATS = Set.of("F32", "F16", "BF16", "F64");

    public Quantizer {
        except = List.copyOf(except);
    }

    /** All linear layers in this format. */
    public static Quantizer format(QuantFormat format) {
        return new Quantizer(format, List.of());
    }

    /** Leaves layers of these names alone, besides those named before. */
    public Quantizer except(String... names) {
        List<String> all = new ArrayList<>(except);
        all.addAll(Arrays.asList(names));
        return new Quantizer(format, all);
    }

    /** See {@link #apply(Module, LayerWatch)}. */
    public QuantReport apply(Module root) {
        return apply(root, LayerWatch.NONE);
    }

    /**
     * Exchanges the weights of a model. If a layer cannot be quantised none is.
     *
     * @param watch told after each layer
     * @return the error and the bytes of each layer
     * @throws IllegalArgumentException naming every layer that is quantised already, has an adapter, a number that is not finite or
     *     rows that the format does not divide; or a name to be left alone that no layer has
     */
    public QuantReport apply(Module root, LayerWatch watch) {
        Map<String, Linear> chosen = chosen(root);
        List<String> kept = new ArrayList<>(root.find(Linear.class).keySet());
        kept.removeAll(chosen.keySet());
        requireQuantizable(chosen);
        Map<String, QuantizedWeight> made = new LinkedHashMap<>();
        Map<String, String> wrong = new LinkedHashMap<>();
        List<QuantReport.Layer> layers = new ArrayList<>();
        chosen.forEach((path, layer) -> {
            try {
                Matrix before = layer.weight().matrix();
                QuantizedWeight after = format.quantize(before, Arena.ofAuto());
                made.put(path, after);
                layers.add(new QuantReport.Layer(
                        path, format.name(), relativeError(before, after.matrix()), before.bytes(), after.bytes()));
            } catch (IllegalArgumentException e) {
                wrong.put(path, ": " + e.getMessage());
            }
            watch.layer(path, layers.size() + wrong.size(), chosen.size());
        });
        require(wrong);
        made.forEach((path, weight) -> chosen.get(path).weight(weight));
        return new QuantReport(layers, kept);
    }

    /**
     * Complains of what {@link #apply} would complain of, before minutes are spent on anything else; reads each weight once.
     *
     * @throws IllegalArgumentException as {@link #apply}
     */
    public void check(Module root) {
        Map<String, Linear> chosen = chosen(root);
        requireQuantizable(chosen);
        Map<String, String> wrong = new LinkedHashMap<>();
        chosen.forEach((path, layer) -> {
            try {
                FlatFloats.requireFinite(layer.weight().matrix());
            } catch (IllegalArgumentException e) {
                wrong.put(path, ": " + e.getMessage());
            }
        });
        require(wrong);
    }

    /** Layers that are not to be left alone, by path. */
    private Map<String, Linear> chosen(Module root) {
        Map<String, Linear> chosen = new LinkedHashMap<>(root.find(Linear.class));
        requireNamesFit(chosen.keySet());
        Set<Weight> embeddings = Collections.newSetFromMap(new IdentityHashMap<>());
        root.find(Embedding.class).values().forEach(e -> embeddings.add(e.weight()));
        chosen.entrySet()
                .removeIf(e ->
                        excepted(e.getKey()) || embeddings.contains(e.getValue().weight()));
        return chosen;
    }

    private boolean excepted(String path) {
        return except.stream().anyMatch(name -> named(path, name));
    }

    private static boolean named(String path, String name) {
        return path.equals(name) || path.endsWith("." + name);
    }

    private void requireNamesFit(Set<String> paths) {
        for (String name : except) {
            if (paths.stream().noneMatch(path -> named(path, name))) {
                throw new IllegalArgumentException("quantize: no linear layer is called \"" + name + "\""
                        + Json.nearest(name, paths)
                                .map(near -> "; the nearest is \"" + near + "\"")
                                .orElse("; there are none"));
            }
        }
    }

    private void requireQuantizable(Map<String, Linear> chosen) {
        Map<String, String> wrong = new LinkedHashMap<>();
        chosen.forEach((path, layer) -> {
            String stored = layer.weight().format();
            if (!FLOATS.contains(stored)) {
                wrong.put(path, " is quantised already, as " + stored);
            } else if (layer.adapter() != Adapter.NONE) {
                wrong.put(path, " has an adapter; quantise first, then attach");
            } else {
                try {
                    format.requireFits(layer.in());
                } catch (IllegalArgumentException e) {
                    wrong.put(path, ": " + e.getMessage());
                }
            }
        });
        require(wrong);
    }

    /** Throws one sentence if there are layers here, by path: each reason once, with the first layer that has it. */
    private static void require(Map<String, String> wrong) {
        if (wrong.isEmpty()) {
            return;
        }
        Map<String, List<String>> byReason = new LinkedHashMap<>();
        wrong.forEach((path, reason) ->
                byReason.computeIfAbsent(reason, r -> new ArrayList<>()).add(path));
        List<String> told = new ArrayList<>();
        byReason.forEach((reason, paths) -> told.add(
                paths.getFirst() + reason + (paths.size() > 1 ? " (and " + (paths.size() - 1) + " more)" : "")));
        int more = told.size() - NAMED;
        throw new IllegalArgumentException("quantize: " + wrong.size()
                + (wrong.size() == 1 ? " layer cannot be: " : " layers cannot be: ")
                + String.join("; ", told.subList(0, Math.min(NAMED, told.size())))
                + (more > 0 ? "; and " + more + " reasons more" : ""));
    }

    /** ||w - q|| / ||w||; 0 for a matrix of zeros. */
    static double relativeError(Matrix w, Matrix q) {
        int rows = w.rows(), cols = w.cols();
        double[] lost = new double[rows], norm = new double[rows];
        Parallel.run(rows, r -> {
            float[] a = new float[cols], b = new float[cols];
            w.widen(r, 0, cols, a, 0);
            q.widen(r, 0, cols, b, 0);
            for (int i = 0; i < cols; i++) {
                double miss = (double) a[i] - b[i];
                lost[r] += miss * miss;
                norm[r] += (double) a[i] * a[i];
            }
        });
        double all = Arrays.stream(norm).sum();
        return all == 0 ? 0 : Math.sqrt(Arrays.stream(lost).sum() / all);
    }
}
