package anneal.nn;

import anneal.kernels.BF16Matrix;
import anneal.kernels.BlockMatrix;
import anneal.kernels.Matrix;
import anneal.tensor.DType;
import anneal.tensor.Ops;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.Optional;

/**
 * Numbers as a file holds them, read in place and widened inside the product; not trained.
 *
 * @param matrix the numbers [out, in]
 * @param dtype their form in the file
 */
public record StoredWeight(Matrix matrix, DType dtype) implements Weight {
    private static final ValueLayout.OfFloat FLOAT =
            ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfShort SHORT =
            ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    @Override
    public int out() {
        return matrix.rows();
    }

    @Override
    public int in() {
        return matrix.cols();
    }

    @Override
    public Tensor matmulT(Tensor x) {
        return Ops.matmulT(x, matrix);
    }

    @Override
    public Tensor rows(int[] ids) {
        return Ops.embedding(matrix, ids);
    }

    @Override
    public Optional<Tensor> parameter() {
        return Optional.empty();
    }

    @Override
    public String format() {
        return dtype.name();
    }

    @Override
    public Optional<Stored> blocks() {
        return matrix instanceof BlockMatrix b
                ? Optional.of(new Stored(dtype, b.data(), b.rows(), b.cols()))
                : Optional.empty();
    }

    /** Of F32, F16 and BF16, and of the blocks that a {@link BlockWriter} knows. */
    @Override
    public Optional<Weight> like(Matrix numbers, Arena arena) {
        if (dtype != DType.F32 && dtype != DType.F16 && dtype != DType.BF16) {
            return BlockWriter.byAny(dtype, numbers, arena).map(blocks -> new StoredWeight(blocks, dtype));
        }
        int rows = numbers.rows(), columns = numbers.cols(), width = dtype.blockBytes();
        MemorySegment bytes = arena.allocate(dtype.bytes((long) rows * columns), 64);
        for (int row = 0; row < rows; row++) {
            float[] floats = new float[columns];
            numbers.widen(row, 0, columns, floats, 0);
            for (int i = 0; i < columns; i++) {
                put(bytes, width * ((long) row * columns + i), floats[i], row, i);
            }
        }
        return Optional.of(new StoredWeight(dtype.matrix(bytes, rows, columns), dtype));
    }

    /** Writes x at a byte offset, rounded to nearest, ties to even. */
    private void put(MemorySegment bytes, long at, float x, int row, int column) {
        if (dtype == DType.F32) {
            bytes.set(FLOAT, at, x);
            return;
        }
        short half = dtype == DType.F16 ? Float.floatToFloat16(x) : BF16Matrix.bits(x);
        int infinite = dtype == DType.F16 ? 0x7c00 : 0x7f80;
        if ((half & 0x7fff) == infinite && Float.isFinite(x)) {
            throw new IllegalArgumentException(
                    "like: " + x + " at [" + row + ", " + column + "] is too large for " + dtype);
        }
        bytes.set(SHORT, at, half);
    }
}
