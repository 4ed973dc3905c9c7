package anneal.peft;

import anneal.nn.Trainable;
import anneal.tensor.Ops;
import anneal.tensor.Tensor;
import java.util.Map;
import java.util.Optional;

/**
 * Something that is trained, with one more term of the loss that depends on its parameters alone. A trainer takes it in place of what
 * it goes round; several go round one another, and their terms add up.
 */
public interface Penalised extends Trainable {
    /** What it goes round: adapters, or plain parameters as a lambda. */
    Trainable trained();

    /** The term, one number, recorded by the tape. */
    Tensor term();

    @Override
    default Map<String, Tensor> parameters() {
        return trained().parameters();
    }

    @Override
    default void begin(long total) {
        trained().begin(total);
    }

    @Override
    default Optional<Tensor> penalty() {
        Tensor own = term();
        return Optional.of(trained()
                .penalty()
                .map(inner -> Ops.add(inner.view(1), own.view(1)))
                .orElse(own));
    }

    @Override
    default void updated(Step step) {
        trained().updated(step);
    }

    @Override
    default void restored() {
        trained().restored();
    }

    @Override
    default Map<String, Tensor> state() {
        return trained().state();
    }

    /** Throws unless a weight is a number from 0 on. */
    static void requireWeight(String method, String what, double weight) {
        if (!(weight >= 0) || Double.isInfinite(weight)) {
            throw new IllegalArgumentException(
                    method + ": " + what + " " + weight + " must be a number that is not negative");
        }
    }
}
