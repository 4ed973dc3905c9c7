package anneal.peft;

import anneal.io.NamedTensors;
import anneal.io.Safetensors;
import anneal.io.SafetensorsWriter;
import anneal.io.StoredTensor;
import anneal.nn.Trainable;
import anneal.tensor.Memory;
import anneal.tensor.PenaltyOps;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.Function;

/**
 * How much a task depends on each parameter, and where the parameters stood after it: what {@link Ewc} needs of the task.
 *
 * <pre>
 * F = 1/N sum over examples n of (d nll_n / d p)^2                  the diagonal of the empirical Fisher information
 * </pre>
 *
 * <p>Each example's gradient is squared by itself: the square of the mean gradient would be near zero where a task is learnt, however
 * much it depends on the parameter. Labels are those of the data, not drawn from the model. Kirkpatrick et al., arXiv:1612.00796.
 *
 * @param from the parameters as they were, by name
 * @param weight F, by the same names and of the same shapes
 */
public record Fisher(Map<String, Tensor> from, Map<String, Tensor> weight) {
    private static final String FROM = "from.", WEIGHT = "fisher.";

    public Fisher {
        from = Collections.unmodifiableMap(new LinkedHashMap<>(from));
        weight = Collections.unmodifiableMap(new LinkedHashMap<>(weight));
        if (!from.keySet().equals(weight.keySet())) {
            throw new IllegalArgumentException(
                    "Fisher: parameters " + from.keySet() + " are not those with a weight, " + weight.keySet());
        }
    }

    /**
     * Measures a task that was just learnt. Gradients of the parameters are cleared. Dropout acts, if the model or the adapters
     * have any: with the same masks each time.
     *
     * @param trained the parameters that the next task will train
     * @param examples some of the task's examples, some hundred are usual
     * @param nll one example's mean negative log-likelihood over its trained tokens, one number, recorded by the tape
     * @throws IllegalArgumentException if there is no example, or a loss is not finite: names it by its number, from 0
     */
    public static <E> Fisher of(Trainable trained, Iterable<? extends E> examples, Function<? super E, Tensor> nll) {
        Map<String, Tensor> from = new LinkedHashMap<>(), weight = new LinkedHashMap<>();
        trained.parameters().forEach((name, p) -> {
            from.put(name, CopyLayer.copy(p));
            weight.put(name, LinearTuning.allocate(p.shape().dims()));
        });
        long count = 0;
        for (E example : examples) {
            trained.parameters().values().forEach(p -> p.trainable(true).zeroGrad());
            Tape.noise().restore(count);
            try (var _ = Memory.scope()) {
                Tensor loss = nll.apply(example);
                if (!Float.isFinite(loss.item())) {
                    throw new IllegalArgumentException(
                            "Fisher: the loss of example " + count + " is " + loss.item() + ", which is not finite");
                }
                Tape.backward(loss);
            } finally {
                Tape.clear();
            }
            long n = ++count;
            trained.parameters().forEach((name, p) -> PenaltyOps.averageSquares(weight.get(name), p.grad(), n));
        }
        if (count == 0) {
            throw new IllegalArgumentException("Fisher: there is no example to measure the task by");
        }
        trained.parameters().values().forEach(Tensor::zeroGrad);
        return new Fisher(from, weight);
    }

    /** Writes both to one file of safetensors, as "from.NAME" and "fisher.NAME". */
    public void save(Path file) {
        Map<String, Tensor> all = new LinkedHashMap<>();
        from.forEach((name, t) -> all.put(FROM + name, t));
        weight.forEach((name, t) -> all.put(WEIGHT + name, t));
        new SafetensorsWriter().metadata("format", "pt").write(file, NamedTensors.stored(all, ""));
    }

    /**
     * Reads what {@link #save} wrote.
     *
     * @throws IllegalArgumentException if the file holds something else
     */
    public static Fisher load(Path file) {
        Map<String, Tensor> from = new LinkedHashMap<>(), weight = new LinkedHashMap<>();
        try (Arena arena = Arena.ofShared()) {
            Safetensors.open(file, arena).tensors().forEach((key, t) -> {
                if (key.startsWith(FROM)) {
                    from.put(key.substring(FROM.length()), copy(t));
                } else if (key.startsWith(WEIGHT)) {
                    weight.put(key.substring(WEIGHT.length()), copy(t));
                } else {
                    throw new IllegalArgumentException(
                            file + ": " + key + " begins neither with " + FROM + " nor with " + WEIGHT);
                }
            });
        }
        if (from.isEmpty()) {
            throw new IllegalArgumentException(file + ": there is no " + FROM + "NAME");
        }
        return new Fisher(from, weight);
    }

    /** Floats that outlive the file. */
    static Tensor copy(StoredTensor t) {
        Tensor copy = LinearTuning.allocate(
                Arrays.stream(t.shape()).mapToInt(Math::toIntExact).toArray());
        copy.set(t.floats());
        return copy;
    }
}
