package anneal.peft;

import anneal.nn.Linear;
import anneal.tensor.Linalg;
import anneal.tensor.Memory;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * What {@link LoraInit.Eva} makes of the inputs of the layers: how many directions each layer gets, and which.
 *
 * <pre>
 * share of direction i of a layer = eigenvalue_i / sum of all eigenvalues of the covariance of its inputs
 * </pre>
 *
 * The directions with the largest shares of the whole model stay, as many as all layers have together by their ranks, and at most rho
 * times its rank in a layer.
 *
 * @param lora with the ranks found, and without the layers that got none
 * @param rows A of each layer [rank, in]
 */
record EvaRanks(Lora lora, Map<String, Tensor> rows) {
    /** A direction of a layer's inputs. */
    private record Direction(String path, double share) {}

    /** The directions of one layer, the largest first. */
    private record Directions(Tensor rows, List<Direction> shares) {}

    static EvaRanks of(Lora lora, LoraInit.Eva eva, Map<String, Linear> layers, Map<String, LoraData.Inputs> inputs) {
        Map<String, Directions> found = new LinkedHashMap<>();
        List<Direction> all = new ArrayList<>();
        long budget = 0;
        for (Map.Entry<String, Linear> e : layers.entrySet()) {
            String path = e.getKey();
            int rank = lora.rank(path),
                    side = Math.min(e.getValue().in(), e.getValue().out());
            int most = (int) Math.min(side, Math.rint(rank * eva.rho()));
            Directions directions = directions(path, inputs.get(path), most, eva.whiten());
            found.put(path, directions);
            all.addAll(directions.shares);
            budget += rank;
        }
        all.sort(Comparator.comparingDouble(Direction::share)
                .reversed()); // stable: of equal ones those of the first layer
        Map<String, Integer> ranks = new LinkedHashMap<>();
        all.stream().limit(budget).forEach(d -> ranks.merge(d.path, 1, Integer::sum));
        Map<String, Tensor> rows = new LinkedHashMap<>();
        found.forEach((path, directions) -> {
            if (ranks.containsKey(path)) {
                rows.put(path, first(directions.rows, ranks.get(path)));
            }
        });
        return new EvaRanks(redistributed(lora, eva, rows), rows);
    }

    private static Directions directions(String path, LoraData.Inputs seen, int most, boolean whiten) {
        try (var _ = Memory.scope();
                var _ = Tape.pause()) {
            Tensor covariance = seen.covariance(path);
            Linalg.Eigen eigen = Linalg.eigSymmetric(covariance); // eigenvalues rise
            int in = covariance.dim(0);
            double total = 0;
            for (int i = 0; i < in; i++) {
                total += covariance.get((long) i * in + i);
            }
            Tensor vectors = Linalg.transposed(eigen.vectors()), rows = LinearTuning.allocate(most, in);
            List<Direction> shares = new ArrayList<>();
            float[] a = new float[most * in];
            for (int r = 0; r < most; r++) {
                double value = Math.max(0, eigen.values().get(in - 1 - r));
                double factor = whiten && value > 0 ? 1 / Math.sqrt(Math.sqrt(value * seen.count())) : 1;
                for (int i = 0; i < in; i++) {
                    a[r * in + i] = (float) (factor * vectors.get((long) (in - 1 - r) * in + i));
                }
                shares.add(new Direction(path, total > 0 ? value / total : 0));
            }
            rows.set(a);
            return new Directions(rows, shares);
        }
    }

    private static Tensor first(Tensor rows, int rank) {
        int in = rows.dim(1);
        Tensor a = LinearTuning.allocate(rank, in);
        a.buf().copyFrom(rows.buf().asSlice(0, 4L * rank * in));
        return a;
    }

    /** The same options with the ranks of these matrices, said layer by layer where they are not the usual one. */
    private static Lora redistributed(Lora lora, LoraInit.Eva eva, Map<String, Tensor> rows) {
        Map<String, Integer> ranks = new LinkedHashMap<>();
        Map<String, Double> alphas = new LinkedHashMap<>();
        rows.forEach((path, a) -> {
            int rank = a.dim(0);
            double alpha = Lora.byPattern(lora.alphaPattern(), path, lora.alpha());
            if (eva.adjustScaling()) {
                alpha = alpha * rank / lora.rank(path);
            }
            if (rank != lora.rank()) {
                ranks.put(path, rank);
            }
            if (alpha != lora.alpha()) {
                alphas.put(path, alpha);
            }
        });
        return lora.with(Targets.exactly(List.copyOf(rows.keySet())), ranks, alphas);
    }
}
