package anneal.quant.post;

import anneal.io.Json;
import anneal.nn.FeedForward;
import anneal.nn.Linear;
import anneal.nn.Module;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.ToDoubleFunction;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;
import java.util.stream.Collectors;

/** Which layers have many bits and which have few: a mixed precision such as W4/8. */
public sealed interface BitWidths {
    /** Bits of most layers. */
    int bits();

    /** Bits of those that have fewer. */
    int few();

    /**
     * The bits of each layer.
     *
     * @param error of a layer's output with {@link #few} bits, relative: how much it suffers; measured only if it is asked for
     * @throws IllegalArgumentException if a pattern fits no layer
     */
    Map<String, Integer> of(Module root, Map<String, Linear> layers, ToDoubleFunction<String> error);

    /** Few bits inside a {@link FeedForward}: the W4/8 of Yao et al., arXiv:2206.01861, whose attention suffers more. */
    record FeedForwards(int bits, int few) implements BitWidths {
        @Override
        public Map<String, Integer> of(Module root, Map<String, Linear> layers, ToDoubleFunction<String> error) {
            Set<String> inside = root.find(FeedForward.class).keySet();
            return chosen(
                    this,
                    layers,
                    layers.keySet().stream()
                            .filter(path -> inside.stream().anyMatch(f -> path.startsWith(f + ".")))
                            .collect(Collectors.toSet()));
        }
    }

    /**
     * Few bits where a path fits.
     *
     * @param patterns regular expressions, each found somewhere in the path of a layer: "mlp", "layers.0."
     */
    record Matching(int bits, int few, List<String> patterns) implements BitWidths {
        public Matching {
            patterns = List.copyOf(patterns);
            for (String pattern : patterns) {
                try {
                    Pattern.compile(pattern);
                } catch (PatternSyntaxException e) {
                    throw new IllegalArgumentException(
                            "bits: \"" + pattern + "\" is no regular expression: " + e.getDescription(), e);
                }
            }
        }

        @Override
        public Map<String, Integer> of(Module root, Map<String, Linear> layers, ToDoubleFunction<String> error) {
            Set<String> few = new TreeSet<>();
            for (String pattern : patterns) {
                List<String> fit = layers.keySet().stream()
                        .filter(Pattern.compile(pattern).asPredicate())
                        .toList();
                if (fit.isEmpty()) {
                    Set<String> names = layers.keySet().stream()
                            .flatMap(path -> List.of(path, path.substring(path.lastIndexOf('.') + 1)).stream())
                            .collect(Collectors.toSet());
                    throw new IllegalArgumentException("bits: \"" + pattern + "\" fits no layer"
                            + Json.nearest(pattern, names)
                                    .map(near -> "; the nearest is \"" + near + "\"")
                                    .orElse(""));
                }
                few.addAll(fit);
            }
            return chosen(this, layers, few);
        }
    }

    /**
     * Few bits for the layers that suffer least: in the order of their error with few bits, as long as those chosen hold no more than a share
     * of the weights. A layer's error is measured alone, all others in floats.
     *
     * @param share of the weights, in [0, 1]
     */
    record LeastSensitive(int bits, int few, double share) implements BitWidths {
        public LeastSensitive {
            if (!(share >= 0 && share <= 1)) {
                throw new IllegalArgumentException("bits: share " + share + " of the weights must be in [0, 1]");
            }
        }

        @Override
        public Map<String, Integer> of(Module root, Map<String, Linear> layers, ToDoubleFunction<String> error) {
            Map<String, Double> errors = new LinkedHashMap<>();
            layers.keySet().forEach(path -> errors.put(path, error.applyAsDouble(path)));
            double left =
                    share * layers.values().stream().mapToLong(BitWidths::size).sum();
            List<String> order = new ArrayList<>(layers.keySet());
            order.sort(Comparator.comparingDouble(errors::get));
            Set<String> few = new TreeSet<>();
            for (String path : order) {
                left -= size(layers.get(path));
                if (left < 0) {
                    break;
                }
                few.add(path);
            }
            return chosen(this, layers, few);
        }
    }

    private static long size(Linear l) {
        return (long) l.in() * l.out();
    }

    private static Map<String, Integer> chosen(BitWidths all, Map<String, Linear> layers, Set<String> few) {
        Map<String, Integer> widths = new LinkedHashMap<>();
        layers.keySet().forEach(path -> widths.put(path, few.contains(path) ? all.few() : all.bits()));
        return widths;
    }
}
