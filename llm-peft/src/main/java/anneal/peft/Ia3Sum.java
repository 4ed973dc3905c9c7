package anneal.peft;

import anneal.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;

/** The weighted sum of IA3 adapters, l = sum w l: what {@link Combination} makes of them. */
final class Ia3Sum {
    private static final String L = ".ia3_l";

    private Ia3Sum() {}

    /** Throws unless these adapters are IA3's factors and nothing else. */
    static void requirePlain(String name, Adapters adapters) {
        if (!(adapters.method() instanceof Ia3)) {
            throw new IllegalArgumentException("combine: " + name + " is "
                    + adapters.method().getClass().getSimpleName() + "; only IA3 adapters can be combined with IA3");
        }
        for (String parameter : adapters.tuning().stored().keySet()) {
            if (!parameter.endsWith(L)) {
                throw new IllegalArgumentException("combine: " + name + " has " + parameter
                        + ", of which there is no weighted sum; only factors can be combined");
            }
        }
    }

    /**
     * Sums up factors of all {@code paths}; one where an adapter has none.
     *
     * @throws IllegalArgumentException if a layer is scaled at its input by one and at its output by another
     */
    static Combination.Result of(Map<String, Combination.Part> parts, Set<String> paths) {
        List<String> inputs = new ArrayList<>();
        Map<String, float[]> numbers = new LinkedHashMap<>();
        for (String path : paths) {
            Map<Boolean, String> scales = new TreeMap<>();
            List<float[]> terms = new ArrayList<>();
            double[] weights = parts.values().stream()
                    .mapToDouble(Combination.Part::weight)
                    .toArray();
            parts.forEach((name, part) -> {
                Tensor l = part.adapters().tuning().stored().get(path + L);
                terms.add(l == null ? null : l.toArray());
                if (l != null) {
                    scales.put(((Ia3) part.adapters().method()).scalesInput(path), name);
                }
            });
            if (scales.size() > 1) {
                throw new IllegalArgumentException("combine: " + scales.get(true) + " scales the input of " + path
                        + " and " + scales.get(false) + " its output: the two cannot be added");
            }
            if (scales.containsKey(true)) {
                inputs.add(path);
            }
            float[] ones =
                    new float[terms.stream().filter(t -> t != null).findFirst().orElseThrow().length];
            Arrays.fill(ones, 1);
            terms.replaceAll(t -> t == null ? ones : t);
            numbers.put(path + L, TaskArithmetic.sum(terms, weights));
        }
        Ia3 first = (Ia3) parts.values().iterator().next().adapters().method();
        Ia3 sum = Ia3.at(paths.toArray(String[]::new))
                .feedForward(inputs.toArray(String[]::new))
                .baseModel(first.baseModel())
                .build();
        return new Combination.Result(sum, numbers);
    }
}
