package anneal.nn;

import anneal.tensor.DType;
import java.lang.foreign.MemorySegment;

/**
 * A tensor as a file holds it: type, sizes and bytes, not widened.
 *
 * @param dtype how the numbers are stored
 * @param data the bytes, row after row, little endian
 * @param shape sizes, slowest dimension first
 */
public record Stored(DType dtype, MemorySegment data, long... shape) {
    public Stored {
        shape = shape.clone();
    }

    @Override
    public long[] shape() {
        return shape.clone();
    }
}
