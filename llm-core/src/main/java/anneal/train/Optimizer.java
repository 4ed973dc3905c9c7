package anneal.train;

import anneal.io.PageStore;
import anneal.io.StoredTensor;
import anneal.tensor.DType;
import anneal.tensor.Tensor;
import anneal.tensor.UpdateOps;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
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
    private record Entry(String name, Tensor p, RuleState state, double rateFactor, boolean decay) {}

    private final UpdateRule rule;
    private final Memory memory;
    private final List<Entry> entries = new ArrayList<>();
    private final Map<String, StoredTensor> state = new LinkedHashMap<>();
    private long steps = 0;

    /**
     * An optimiser of these parameters, which become trainable.
     *
     * @param parameters by name
     * @param groups exceptions for some of them; see {@link ParameterGroup}
     */
    public Optimizer(Map<String, Tensor> parameters, UpdateRule rule, List<ParameterGroup> groups) {
        this(parameters, rule, groups, null);
    }

    /**
     * An optimiser whose state lies in a file that the system pages in and out; the same steps bit for bit.
     *
     * @param pages folder of the file, which goes when this is closed; null = in memory
     * @throws java.io.UncheckedIOException if the folder cannot be written or has too little room
     */
    public Optimizer(Map<String, Tensor> parameters, UpdateRule rule, List<ParameterGroup> groups, Path pages) {
        if (parameters.isEmpty()) {
            throw new IllegalArgumentException("Optimizer: there is no parameter to train");
        }
        this.rule = rule;
        List<Pattern> patterns =
                groups.stream().map(g -> Pattern.compile(g.pattern())).toList();
        int[] groupOf = parameters.keySet().stream()
                .mapToInt(name -> group(patterns, name))
                .toArray();
        for (int g = 0; g < groups.size(); g++) {
            int wanted = g;
            if (Arrays.stream(groupOf).noneMatch(i -> i == wanted)) {
                throw new IllegalArgumentException("Optimizer: parameter group "
                        + groups.get(g).pattern() + " is left with no parameter of " + parameters.keySet());
            }
        }
        memory = pages == null ? new Ram() : new Pages(PageStore.create(pages, pageBytes(parameters)));
        int i = 0;
        for (Map.Entry<String, Tensor> e : parameters.entrySet()) {
            int g = groupOf[i++];
            if (g < groups.size()) {
                add(
                        e.getKey(),
                        e.getValue(),
                        groups.get(g).rateFactor(),
                        groups.get(g).decay());
            } else {
                add(e.getKey(), e.getValue(), 1, e.getValue().shape().rank() > 1);
            }
        }
    }

    /** The first that matches, or their number. */
    private static int group(List<Pattern> patterns, String name) {
        int g = 0;
        while (g < patterns.size() && !patterns.get(g).matcher(name).find()) {
            g++;
        }
        return g;
    }

    private long pageBytes(Map<String, Tensor> parameters) {
        return parameters.values().stream()
                .flatMap(p -> rule.slots(p.shape()).stream())
                .mapToLong(slot -> PageStore.rounded(slot.bytes()))
                .sum();
    }

    private void add(String name, Tensor p, double rateFactor, boolean decay) {
        List<UpdateRule.Slot> slots = rule.slots(p.shape());
        List<MemorySegment> own = new ArrayList<>();
        for (UpdateRule.Slot slot : slots) {
            MemorySegment bytes = memory.take(slot);
            long[] shape = Arrays.stream(slot.shape().dims()).asLongStream().toArray();
            String key = slot.name() + "." + name;
            own.add(bytes);
            state.put(key, new StoredTensor(key, slot.dtype(), shape, bytes));
        }
        entries.add(new Entry(name, p.trainable(true), new RuleState(slots, own), rateFactor, decay));
    }

    /** Where the state lies. */
    private interface Memory extends AutoCloseable {
        /** Zeros for a slot. */
        MemorySegment take(UpdateRule.Slot slot);

        @Override
        void close();
    }

    private record Ram(Arena arena) implements Memory {
        Ram() {
            this(Arena.ofShared());
        }

        @Override
        public MemorySegment take(UpdateRule.Slot slot) {
            return slot.dtype() == DType.F32
                    ? Tensor.allocate(arena, slot.shape()).buf().asSlice(0, slot.bytes())
                    : arena.allocate(slot.bytes(), 64);
        }

        @Override
        public void close() {
            arena.close();
        }
    }

    private record Pages(PageStore store) implements Memory {
        @Override
        public MemorySegment take(UpdateRule.Slot slot) {
            return store.take(slot.bytes());
        }

        @Override
        public void close() {
            store.close();
        }
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

    /** What is remembered, in place, under "slot.parameter name"; with {@link #steps} all that a checkpoint needs. */
    public Map<String, StoredTensor> state() {
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
        memory.close();
    }
}
