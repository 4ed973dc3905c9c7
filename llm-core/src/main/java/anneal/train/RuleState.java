package anneal.train;

import anneal.tensor.DType;
import anneal.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.util.List;

/** What an {@link UpdateRule} remembers about one parameter: the memory of each slot, in the order of {@link UpdateRule#slots}. */
public final class RuleState {
    private final List<UpdateRule.Slot> slots;
    private final List<MemorySegment> memory;
    private final List<Tensor> tensors;

    RuleState(List<UpdateRule.Slot> slots, List<MemorySegment> memory) {
        this.slots = slots;
        this.memory = memory;
        tensors = slots.stream()
                .map(slot ->
                        slot.dtype() == DType.F32 ? Tensor.wrap(memory.get(slots.indexOf(slot)), slot.shape()) : null)
                .toList();
    }

    /** Number of slots. */
    public int size() {
        return slots.size();
    }

    /** A slot of floats. */
    public Tensor tensor(int slot) {
        if (tensors.get(slot) == null) {
            throw new IllegalArgumentException("state: slot " + slots.get(slot) + " holds no floats");
        }
        return tensors.get(slot);
    }

    /** The bytes of a slot of any type. */
    public MemorySegment bytes(int slot) {
        return memory.get(slot);
    }
}
