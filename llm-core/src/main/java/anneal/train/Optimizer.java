package anneal.train;

import anneal.tensor.Tensor;
import anneal.tensor.UpdateOps;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;

/**
 * Parameters, what an {@link UpdateRule} remembers about each, and the number of steps made.
 *
 * <p>Gradients are sums over {@code count} items; {@code scale} = 1/count makes them means inside the update, so accumulating over
 * micro-batches of any sizes equals one large batch.
 */
public final class Optimizer implements AutoCloseable {
    private record Entry(String name, Tensor p, List<Tensor> state, double rateFactor, boolean decay) {}

    private final UpdateRule rule;
    private final Arena arena = Arena.ofShared();
    private final List<Entry> entries = new ArrayList<>();
    private final Map<String, Tensor> state = new LinkedHashMap<>();
    private long steps = 0;

    /**
     * An optimiser of these parameters, which become trainable.
     *
     * @param parameters by name
     * @param groups exceptions for some of them; see {@link ParameterGroup}
     */
    public Optimizer(Map<String, Tensor> parameters, UpdateRule rule, List<ParameterGroup> groups) {
        if (parameters.isEmpty()) {
            throw new IllegalArgumentException("Optimizer: there is no parameter to train");
        }
        this.rule = rule;
        List<Pattern> patterns =
                groups.stream().map(g -> Pattern.compile(g.pattern())).toList();
        boolean[] used = new boolean[groups.size()];
        parameters.forEach((name, p) -> {
            int g = 0;
            while (g < used.length && !patterns.get(g).matcher(name).find()) {
                g++;
            }
            if (g < used.length) {
                used[g] = true;
                add(name, p, groups.get(g).rateFactor(), groups.get(g).decay());
            } else {
                add(name, p, 1, p.shape().rank() > 1);
            }
        });
        for (int g = 0; g < used.length; g++) {
            if (!used[g]) {
                throw new IllegalArgumentException("Optimizer: parameter group "
                        + groups.get(g).pattern() + " is left with no parameter of " + parameters.keySet());
            }
        }
    }

    private void add(String name, Tensor p, double rateFactor, boolean decay) {
        List<Tensor> own = new ArrayList<>();
        for (UpdateRule.Slot slot : rule.slots(p.shape())) {
            Tensor t = Tensor.allocate(arena, slot.shape());
            own.add(t);
            state.put(slot.name() + "." + name, t);
        }
        entries.add(new Entry(name, p.trainable(true), own, rateFactor, decay));
    }

    /** The norm of all gradients together, times {@code scale}: what is clipped. Not finite if any gradient is not. */
    public double gradNorm(double scale) {
        double squares = 0;
        for (Entry e : entries) {
            squares += e.p.hasGrad() ? UpdateOps.squaredNorm(e.p.grad()) : 0;
        }
        return scale * Math.sqrt(squares);
    }

    /** The factor that brings a gradient of this norm to at most {@code max}: min(1, max / (norm + 1e-6)), as torch's clip_grad_norm_. */
    public static double clip(double norm, double max) {
        return Math.min(1, max / (norm + 1e-6));
    }

    /**
     * Moves every parameter once.
     *
     * @param scale factor of the gradients: 1/count, times the clipping factor
     * @param rate learning rate of this step
     */
    public void step(double scale, double rate) {
        steps++;
        for (Entry e : entries) {
            rule.update(e.p, e.state, new UpdateRule.Update(steps, rate * e.rateFactor, scale, e.decay));
        }
    }

    /** Clears all gradients, for the next step. */
    public void zeroGrad() {
        entries.forEach(e -> e.p.zeroGrad());
    }

    /** Steps made. */
    public long steps() {
        return steps;
    }

    /** What is remembered, under "slot.parameter name"; with {@link #steps} all that a checkpoint needs. */
    public Map<String, Tensor> state() {
        return Collections.unmodifiableMap(state);
    }

    /** Goes on from this number of steps, after {@link #state} was filled from a checkpoint. */
    public void steps(long made) {
        steps = made;
    }

    /** The rule. */
    public UpdateRule rule() {
        return rule;
    }

    /** Frees the state; the parameters stay. */
    @Override
    public void close() {
        arena.close();
    }
}
