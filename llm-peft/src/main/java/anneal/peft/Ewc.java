package anneal.peft;

import anneal.nn.Trainable;
import anneal.tensor.Ops;
import anneal.tensor.PenaltyOps;
import anneal.tensor.Tensor;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;

/**
 * Elastic weight consolidation: while the next task is learnt, a spring holds each parameter where an earlier task left it, as stiff as
 * that task depends on it.
 *
 * <pre>
 * loss = mean nll of the new task + lambda / 2 sum of F (p - from)^2          gradient of the term: lambda F (p - from)
 * </pre>
 *
 * <p>Kirkpatrick et al., arXiv:1612.00796, equation 3. For several earlier tasks put one round another.
 *
 * @param trained what the new task trains
 * @param task F and {@code from} of the earlier task
 * @param lambda how much the earlier task counts; F is small where a task is learnt well, so hundreds or thousands are usual
 */
public record Ewc(Trainable trained, Fisher task, double lambda) implements Penalised {
    public Ewc {
        Penalised.requireWeight("Ewc", "lambda", lambda);
        Map<String, Tensor> parameters = trained.parameters();
        if (!parameters.keySet().equals(task.from().keySet())) {
            Set<String> unknown = new TreeSet<>(parameters.keySet()),
                    idle = new TreeSet<>(task.from().keySet());
            unknown.removeAll(task.from().keySet());
            idle.removeAll(parameters.keySet());
            throw new IllegalArgumentException("Ewc: the task was not measured for " + unknown
                    + ", and was measured for what is not trained, " + idle);
        }
        parameters.forEach((name, p) -> {
            Tensor from = task.from().get(name);
            if (!p.shape().equals(from.shape())) {
                throw new IllegalArgumentException(
                        "Ewc: " + name + " " + p.shape() + " was measured as " + from.shape());
            }
        });
    }

    @Override
    public Tensor term() {
        Tensor sum = null;
        for (Map.Entry<String, Tensor> e : trained.parameters().entrySet()) {
            String name = e.getKey();
            Tensor drift = PenaltyOps.drift(
                    e.getValue(), task.from().get(name), task.weight().get(name));
            sum = sum == null ? drift : Ops.add(sum, drift);
        }
        return Ops.scale(sum, (float) (lambda / 2));
    }
}
