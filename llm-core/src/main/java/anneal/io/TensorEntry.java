package anneal.io;

import anneal.tensor.DType;
import java.lang.foreign.MemorySegment;
import java.util.function.Supplier;

/**
 * A named tensor that is about to be written: the header needs name, type and shape of all of them first, the numbers
 * of each are asked for once, when its turn comes.
 */
public interface TensorEntry {
    /** Name in the file. */
    String name();

    /** How {@link #data()} is stored. */
    DType dtype();

    /** Sizes, slowest dimension first: [rows, cols]; empty for a single number. */
    long[] shape();

    /** The numbers, row after row, little endian: dtype().bytes(number of elements) bytes. */
    MemorySegment data();

    /** True if a writer that stores real numbers as another type leaves this one alone: the scales of a quantised weight. */
    default boolean asItIs() {
        return false;
    }

    /** An entry that a writer leaves in its type. */
    static TensorEntry asItIs(String name, DType dtype, long[] shape, MemorySegment data) {
        StoredTensor checked = new StoredTensor(name, dtype, shape, data);
        return entry(name, dtype, shape, checked::data, true);
    }

    /**
     * An entry whose numbers are made when they are written and can be freed afterwards, for example by widening a
     * quantised matrix: saving then needs memory for one tensor, not for all.
     */
    static TensorEntry lazy(String name, DType dtype, long[] shape, Supplier<MemorySegment> data) {
        return entry(name, dtype, shape, data, false);
    }

    private static TensorEntry entry(
            String name, DType dtype, long[] shape, Supplier<MemorySegment> data, boolean asItIs) {
        long[] sizes = shape.clone();
        return new TensorEntry() {
            @Override
            public String name() {
                return name;
            }

            @Override
            public DType dtype() {
                return dtype;
            }

            @Override
            public long[] shape() {
                return sizes.clone();
            }

            @Override
            public MemorySegment data() {
                return data.get();
            }

            @Override
            public boolean asItIs() {
                return asItIs;
            }
        };
    }
}
