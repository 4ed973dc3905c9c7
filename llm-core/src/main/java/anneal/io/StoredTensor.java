package anneal.io;

import anneal.tensor.DType;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;

/**
 * A named tensor as it stands in a file: not widened, not copied.
 *
 * @param name name in the file
 * @param dtype how the numbers are stored
 * @param shape sizes, slowest dimension first: [rows, cols]; empty for a single number
 * @param data the bytes, row after row, little endian; as long lived as the arena the file was opened in
 */
public record StoredTensor(String name, DType dtype, long[] shape, MemorySegment data) implements TensorEntry {
    /** Checks that {@code data} has exactly the bytes that type and shape ask for. */
    public StoredTensor {
        shape = shape.clone();
        long bytes = Shapes.bytes(name, dtype, shape);
        if (data.byteSize() != bytes) {
            throw new IllegalArgumentException("tensor \"" + name + "\": " + dtype + " " + Arrays.toString(shape)
                    + " takes " + bytes + " bytes, but has " + data.byteSize());
        }
    }

    /** A tensor of floats on the heap. */
    public static StoredTensor of(String name, float[] values, long... shape) {
        MemorySegment copy = MemorySegment.ofArray(new byte[Math.multiplyExact(4, values.length)]);
        MemorySegment.copy(values, 0, copy, LittleEndian.FLOAT, 0, values.length);
        return new StoredTensor(name, DType.F32, shape, copy);
    }

    /** A tensor of 32-bit integers on the heap. */
    public static StoredTensor of(String name, int[] values, long... shape) {
        MemorySegment copy = MemorySegment.ofArray(new byte[Math.multiplyExact(4, values.length)]);
        MemorySegment.copy(values, 0, copy, LittleEndian.INT, 0, values.length);
        return new StoredTensor(name, DType.I32, shape, copy);
    }

    @Override
    public long[] shape() {
        return shape.clone();
    }

    /** Number of elements. */
    public long count() {
        return Shapes.count(name, shape);
    }

    /** The same tensor under another name. */
    public StoredTensor renamed(String other) {
        return new StoredTensor(other, dtype, shape, data);
    }

    /** The same bytes under another shape; a block type keeps its last dimension a multiple of the block. */
    public StoredTensor reshaped(long... other) {
        return new StoredTensor(name, dtype, other, data);
    }

    /**
     * All numbers as floats: exact for F32, F16, BF16 and integers up to 24 bits, rounded for F64 and longer integers.
     *
     * @throws IllegalArgumentException for block types, which are widened row by row where they are used, and for
     *     tensors that do not fit a Java array
     */
    public float[] floats() {
        float[] to = new float[arrayLength()];
        switch (dtype) {
            case F32 -> MemorySegment.copy(data, LittleEndian.FLOAT, 0, to, 0, to.length);
            case F16, BF16, F64 -> Convert.toFloats(data, dtype, 0, to, to.length);
            case I64, I32, I16, I8, U8, BOOL -> {
                for (int i = 0; i < to.length; i++) {
                    to[i] = integerAt(i);
                }
            }
            default ->
                throw new IllegalArgumentException(
                        this + " is stored in blocks: it cannot be read as an array of floats");
        }
        return to;
    }

    /**
     * All numbers of an integer or BOOL tensor.
     *
     * @throws IllegalArgumentException if the type is no integer type
     */
    public long[] longs() {
        requireInteger();
        long[] to = new long[arrayLength()];
        for (int i = 0; i < to.length; i++) {
            to[i] = integerAt(i);
        }
        return to;
    }

    /**
     * All numbers of an integer or BOOL tensor.
     *
     * @throws IllegalArgumentException if the type is no integer type or a number does not fit 32 bits
     */
    public int[] ints() {
        requireInteger();
        int[] to = new int[arrayLength()];
        for (int i = 0; i < to.length; i++) {
            long value = integerAt(i);
            if (value != (int) value) {
                throw new IllegalArgumentException(this + ": " + value + " at index " + i + " does not fit 32 bits");
            }
            to[i] = (int) value;
        }
        return to;
    }

    /**
     * The tensor with row {@code order[i]} in place i. Rows are moved as they are stored, so block types lose nothing.
     *
     * <p>Shapes: [rows, ..] -> [order.length, ..]; rows may be repeated or left out.
     *
     * @param arena where the result lives
     */
    public StoredTensor permuteRows(int[] order, Arena arena) {
        if (shape.length < 2) {
            throw new IllegalArgumentException("permuteRows: " + this + " has no rows; at least 2 dims are needed");
        }
        long rowBytes = shape[0] == 0 ? 0 : data.byteSize() / shape[0];
        MemorySegment to = arena.allocate(Math.multiplyExact(rowBytes, order.length), 64);
        for (int i = 0; i < order.length; i++) {
            if (order[i] < 0 || order[i] >= shape[0]) {
                throw new IllegalArgumentException(
                        "permuteRows: order[" + i + "] = " + order[i] + " is no row of " + this);
            }
            MemorySegment.copy(data, order[i] * rowBytes, to, i * rowBytes, rowBytes);
        }
        long[] sizes = shape.clone();
        sizes[0] = order.length;
        return new StoredTensor(name, dtype, sizes, to);
    }

    private long integerAt(long i) {
        return switch (dtype) {
            case I64 -> data.get(LittleEndian.LONG, i * 8);
            case I32 -> data.get(LittleEndian.INT, i * 4);
            case I16 -> data.get(LittleEndian.SHORT, i * 2);
            case I8 -> data.get(LittleEndian.BYTE, i);
            case U8, BOOL -> data.get(LittleEndian.BYTE, i) & 0xff;
            default -> throw new AssertionError(dtype);
        };
    }

    private void requireInteger() {
        if (dtype.isReal()) {
            throw new IllegalArgumentException(this + " does not hold integers");
        }
    }

    private int arrayLength() {
        long n = count();
        if (n > Integer.MAX_VALUE - 8) {
            throw new IllegalArgumentException(this + " has " + n + " numbers: too many for a Java array");
        }
        return (int) n;
    }

    /** For messages: {@code tensor "lm_head.weight" BF16 [49152, 576]}. */
    @Override
    public String toString() {
        return "tensor \"" + name + "\" " + dtype + " " + Arrays.toString(shape);
    }
}
