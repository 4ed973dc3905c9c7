package anneal.peft;

import anneal.nn.Trainable;
import anneal.tensor.Tensor;
import anneal.tensor.UpdateOps;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Decides which triplets of {@link AdaLora} layers are left, after every step of the optimiser.
 *
 * <pre>
 * s = |w dw|                                   sensitivity of a weight: what the loss would change by without it
 * I = beta1 I + (1 - beta1) s                  smoothed over batches
 * U = beta2 U + (1 - beta2) |s - I|            its uncertainty
 * S = I_E U_E + mean of I_A U_A over the triplet's row of A + mean of I_B U_B over its column of B
 * </pre>
 *
 * <p>All triplets of the model compete: those whose score S is not above the (initial - left)-th lowest get E = 0. They are trained
 * on, so one can come back, until the last choice; from then on it is repeated after every step. Zhang et al., arXiv:2303.10512,
 * equations 9 to 12. As in PEFT, w is the weight after the step and dw the gradient that the step was made from, and the last choice
 * goes by the scores of the step before.
 */
final class RankAllocator {
    /** I and U of one trained matrix. */
    private record Importance(Tensor trained, Tensor sensitivity, Tensor uncertainty) {
        static Importance of(Tensor trained) {
            int[] dims = trained.shape().dims();
            return new Importance(trained, LinearTuning.allocate(dims), LinearTuning.allocate(dims));
        }

        /** I U, mean over the row or the column of each triplet. */
        double[] scores(int rank, boolean columns) {
            float[] smooth = sensitivity.toArray(), apart = uncertainty.toArray();
            double[] scores = new double[rank];
            int length = smooth.length / rank;
            for (int i = 0; i < smooth.length; i++) {
                scores[columns ? i % rank : i / length] += (double) smooth[i] * apart[i] / length;
            }
            return scores;
        }
    }

    /** One layer: what its matrices are worth, and 1 for each triplet that is left, else 0. */
    private record Triplets(AdaLoraLayer layer, Importance a, Importance e, Importance b, Tensor left) {
        static Triplets of(AdaLoraLayer layer) {
            Tensor left = LinearTuning.allocate(layer.rank());
            Inits.constant(left, 1);
            return new Triplets(
                    layer, Importance.of(layer.a()), Importance.of(layer.e()), Importance.of(layer.b()), left);
        }

        double[] scores() {
            int rank = layer.rank();
            double[] scores = e.scores(rank, false), rows = a.scores(rank, false), columns = b.scores(rank, true);
            for (int i = 0; i < rank; i++) {
                scores[i] += rows[i] + columns[i];
            }
            return scores;
        }

        void mask() {
            float[] values = layer.e().toArray(), keep = left.toArray();
            for (int i = 0; i < values.length; i++) {
                values[i] = keep[i] == 0 ? 0 : values[i];
            }
            layer.e().set(values);
        }

        List<Boolean> kept() {
            List<Boolean> kept = new ArrayList<>();
            for (float keep : left.toArray()) {
                kept.add(keep != 0);
            }
            return kept;
        }
    }

    private final AdaLora method;
    private final Map<String, Triplets> layers = new LinkedHashMap<>();
    private final Map<String, Tensor> state = new LinkedHashMap<>();

    /** 1 once the ranks are final. */
    private final Tensor done = LinearTuning.allocate(1);

    RankAllocator(AdaLora method, Map<String, AdaLoraLayer> adapted) {
        this.method = method;
        adapted.forEach((path, layer) -> {
            Triplets t = Triplets.of(layer);
            layers.put(path, t);
            state.put("left." + path, t.left);
            Map<String, Importance> parts = Map.of("lora_A", t.a, "lora_B", t.b, "lora_E", t.e);
            parts.forEach((name, importance) -> {
                state.put("sensitivity." + path + "." + name, importance.sensitivity);
                state.put("uncertainty." + path + "." + name, importance.uncertainty);
            });
        });
        state.put("final", done);
    }

    /** All that is remembered, for a checkpoint. */
    Map<String, Tensor> state() {
        return Collections.unmodifiableMap(state);
    }

    /** True once no choice is made any more. */
    boolean isFinal() {
        return done.item() != 0;
    }

    /** By layer, which triplets the last choice has left. */
    Map<String, List<Boolean>> kept() {
        Map<String, List<Boolean>> kept = new LinkedHashMap<>();
        layers.forEach((path, t) -> kept.put(path, t.kept()));
        return kept;
    }

    /** The score of each triplet of a layer. */
    double[] scores(String path) {
        return layers.get(path).scores();
    }

    /** The optimiser has made a step. */
    void updated(Trainable.Step step, RankBudget.Steps budget) {
        if (isFinal()) {
            layers.values().forEach(Triplets::mask);
            return;
        }
        if (step.step() < budget.last()) {
            for (Triplets t : layers.values()) {
                for (Importance matrix : List.of(t.a, t.e, t.b)) {
                    UpdateOps.sensitivity(
                            matrix.trained,
                            matrix.sensitivity,
                            matrix.uncertainty,
                            step.gradScale(),
                            method.beta1(),
                            method.beta2());
                }
            }
        }
        if (budget.chooses(step.step())) {
            int initial = method.initialRank() * layers.size(), target = method.targetRank() * layers.size();
            choose(initial - budget.left(step.step(), initial, target));
            Inits.constant(done, step.step() >= budget.last() ? 1 : 0);
        }
    }

    /** Takes away that many triplets of the model, and those that score no better. */
    private void choose(int away) {
        Map<Triplets, double[]> scores = new LinkedHashMap<>();
        layers.values().forEach(t -> scores.put(t, t.scores()));
        double[] sorted = scores.values().stream()
                .flatMapToDouble(Arrays::stream)
                .sorted()
                .toArray();
        double highest = away == 0 ? Double.NEGATIVE_INFINITY : sorted[away - 1];
        scores.forEach((t, s) -> {
            float[] left = new float[s.length];
            for (int i = 0; i < s.length; i++) {
                left[i] = s[i] <= highest ? 0 : 1;
            }
            t.left.set(left);
            t.mask();
        });
    }
}
