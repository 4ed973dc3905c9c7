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
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;

/**
 * Parameters, what an {@link UpdateRule} remembers about each, and the number of steps made.
 *
 * <p>Gradients are sums over {@code count} items; {@code scale} = 1/count makes them means inside the update, so accumulating over
 * micro-batches of any sizes equals one large batch.
 *
 * <p>A parameter that is not trainable at a step stays as it is, and what was remembered about it is given up; when it is trainable again
 * it begins anew, its own steps counted from there.
 */
public final class Optimizer implements AutoCloseable {
    private static final class Entry {
        final String name;
        final Tensor p;
        final double rateFactor;
        final boolean decay;

        /** What is remembered, by its key in checkpoints; empty while nothing is. */
        final Map<String, StoredTensor> stored = new LinkedHashMap<>();

        RuleState state;

        /** Steps that had been made when it was begun with. */
        long began;

        Entry(String name, Tensor p, double rateFactor, boolean decay) {
            this.name = name;
            this.p = p.trainable(true);
            this.rateFactor = rateFactor;
            this.decay = decay;
        }
    }

    private final UpdateRule rule;
    private final Memory memory;
    private final List<Entry> entries = new ArrayList<>();
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
                entries.add(new Entry(
                        e.getKey(),
                        e.getValue(),
                        groups.get(g).rateFactor(),
                        groups.get(g).decay()));
            } else {
                entries.add(new Entry(
                        e.getKey(), e.getValue(), 1, e.getValue().shape().rank() > 1));
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

    /** What an entry remembers follows from whether it is trained: zeros if it was not before, nothing if it is not now. */
    private void settle(Entry e) {
        if (e.p.tracked() == (e.state != null)) {
            return;
        }
        if (e.state != null) {
            memory.giveBack(e.name);
            e.stored.clear();
            e.state = null;
            return;
        }
        List<UpdateRule.Slot> slots = rule.slots(e.p.shape());
        List<MemorySegment> own = memory.take(e.name, slots);
        for (int i = 0; i < own.size(); i++) {
            UpdateRule.Slot slot = slots.get(i);
            long[] shape = Arrays.stream(slot.shape().dims()).asLongStream().toArray();
            String key = slot.name() + "." + e.name;
            e.stored.put(key, new StoredTensor(key, slot.dtype(), shape, own.get(i)));
        }
        e.state = new RuleState(slots, own);
        e.began = steps;
    }

    /** Where the state lies. */
    private interface Memory extends AutoCloseable {
        /** Zeros for the slots of a parameter. */
        List<MemorySegment> take(String parameter, List<UpdateRule.Slot> slots);

        void giveBack(String parameter);

        @Override
        void close();
    }

    private record Ram(Map<String, Arena> arenas) implements Memory {
        Ram() {
            this(new HashMap<>());
        }

        @Override
        public List<MemorySegment> take(String parameter, List<UpdateRule.Slot> slots) {
            Arena arena = Arena.ofShared();
            arenas.put(parameter, arena);
            return slots.stream().map(slot -> take(arena, slot)).toList();
        }

        private static MemorySegment take(Arena arena, UpdateRule.Slot slot) {
            return slot.dtype() == DType.F32
                    ? Tensor.allocate(arena, slot.shape()).buf().asSlice(0, slot.bytes())
                    : arena.allocate(slot.bytes(), 64);
        }

        @Override
        public void giveBack(String parameter) {
            arenas.remove(parameter).close();
        }

        @Override
        public void close() {
            arenas.values().forEach(Arena::close);
            arenas.clear();
        }
    }

    /** A file has room for all, so what a parameter has there stays its own. */
    private record Pages(PageStore store, Map<String, List<MemorySegment>> taken) implements Memory {
        Pages(PageStore store) {
            this(store, new HashMap<>());
        }

        @Override
        public List<MemorySegment> take(String parameter, List<UpdateRule.Slot> slots) {
            List<MemorySegment> again = taken.get(parameter);
            if (again != null) {
                again.forEach(bytes -> bytes.fill((byte) 0));
                return again;
            }
            List<MemorySegment> fresh =
                    slots.stream().map(slot -> store.take(slot.bytes())).toList();
            taken.put(parameter, fresh);
            return fresh;
        }

        @Override
        public void giveBack(String parameter) {}

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
        entries.forEach(this::settle);
        steps++;
        for (Entry e : entries) {
            if (e.state != null) {
                rule.update(e.p, e.state, new UpdateRule.Update(steps - e.began, rate * e.rateFactor, scale, e.decay));
            }
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

    /**
     * What is remembered of parameters that are trainable now, in place, under "slot.parameter name"; with {@link #steps} and
     * {@link #began} all that a checkpoint needs.
     */
    public Map<String, StoredTensor> state() {
        Map<String, StoredTensor> all = new LinkedHashMap<>();
        for (Entry e : entries) {
            settle(e);
            all.putAll(e.stored);
        }
        return Collections.unmodifiableMap(all);
    }

    /** For parameters that are trainable now and were not from the start: the steps that had been made when they were begun with. */
    public Map<String, Long> began() {
        Map<String, Long> all = new LinkedHashMap<>();
        entries.forEach(this::settle);
        entries.stream().filter(e -> e.state != null && e.began > 0).forEach(e -> all.put(e.name, e.began));
        return all;
    }

    /** Sets what {@link #began} gave, after {@link #state} was filled from a checkpoint. */
    public void began(Map<String, Long> steps) {
        entries.forEach(e -> e.began = steps.getOrDefault(e.name, 0L));
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
