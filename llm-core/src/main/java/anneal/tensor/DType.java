package anneal.tensor;

import anneal.kernels.BF16Matrix;
import anneal.kernels.BlockFormat;
import anneal.kernels.BlockMatrix;
import anneal.kernels.F16Matrix;
import anneal.kernels.F32Matrix;
import anneal.kernels.F64Matrix;
import anneal.kernels.Matrix;
import java.lang.foreign.MemorySegment;

/**
 * How numbers are stored in a file. Tensors compute in f32; every other type is only read (and widened on the way) or
 * written.
 *
 * <p>Block types follow GGUF: {@link #blockSize} numbers along the last dimension share {@link #blockBytes} bytes.
 */
public enum DType {
    /** IEEE single. */
    F32(1, 4),
    /** IEEE half. */
    F16(1, 2),
    /** Upper half of an IEEE single. */
    BF16(1, 2),
    /** IEEE double. */
    F64(1, 8),
    /** Signed integers. */
    I64(1, 8),
    I32(1, 4),
    I16(1, 2),
    I8(1, 1),
    /** Unsigned bytes. */
    U8(1, 1),
    /** One byte, 0 or 1. */
    BOOL(1, 1),
    /** 32 numbers: f16 scale, nibbles minus 8. */
    Q4_0(32, 18),
    /** 32 numbers: f16 scale, f16 minimum, nibbles. */
    Q4_1(32, 20),
    /** 32 numbers: f16 scale, fifth bits, nibbles, minus 16. */
    Q5_0(32, 22),
    /** 32 numbers: f16 scale, f16 minimum, fifth bits, nibbles. */
    Q5_1(32, 24),
    /** 32 numbers: f16 scale, signed bytes. */
    Q8_0(32, 34),
    /** 256 numbers in 16 groups of 16: 4-bit scales and minima, 2-bit codes. */
    Q2_K(256, 84),
    /** 256 numbers in 16 groups of 16: 6-bit scales, 3-bit codes. */
    Q3_K(256, 110),
    /** 256 numbers in 8 groups of 32: 6-bit scales and minima, nibbles. */
    Q4_K(256, 144),
    /** 256 numbers in 8 groups of 32: 6-bit scales and minima, 5-bit codes. */
    Q5_K(256, 176),
    /** 256 numbers in 16 groups of 16: 8-bit scales, 6-bit codes. */
    Q6_K(256, 210);

    private final int blockSize;
    private final int blockBytes;

    DType(int blockSize, int blockBytes) {
        this.blockSize = blockSize;
        this.blockBytes = blockBytes;
    }

    /** Numbers that are stored together. */
    public int blockSize() {
        return blockSize;
    }

    /** Bytes of {@link #blockSize} numbers. */
    public int blockBytes() {
        return blockBytes;
    }

    /** True if this type holds (possibly quantised) real numbers that can be widened to f32. */
    public boolean isReal() {
        return switch (this) {
            case I64, I32, I16, I8, U8, BOOL -> false;
            default -> true;
        };
    }

    /** Bytes of {@code count} numbers; count must be a multiple of the block. */
    public long bytes(long count) {
        if (count % blockSize != 0) {
            throw new IllegalArgumentException(
                    "DType " + this + ": " + count + " numbers are no multiple of its block of " + blockSize);
        }
        return Math.multiplyExact(count / blockSize, blockBytes);
    }

    /**
     * The matrix [rows, cols] that lies at the start of {@code data} in this format, read in place.
     *
     * @throws IllegalArgumentException if this type holds no real numbers, data is too short, or a row is no whole number of
     *     blocks
     */
    public Matrix matrix(MemorySegment data, int rows, int cols) {
        if (cols % blockSize != 0 || data.byteSize() < bytes((long) rows * cols)) {
            throw new IllegalArgumentException("DType " + this + ": a matrix [" + rows + ", " + cols + "] needs "
                    + (cols % blockSize != 0
                            ? "rows of whole blocks of " + blockSize
                            : bytes((long) rows * cols) + " bytes, there are " + data.byteSize()));
        }
        return switch (this) {
            case F32 -> new F32Matrix(data, rows, cols);
            case F16 -> new F16Matrix(data, rows, cols);
            case BF16 -> new BF16Matrix(data, rows, cols);
            case F64 -> new F64Matrix(data, rows, cols);
            case Q4_0 -> new BlockMatrix(data, rows, cols, BlockFormat.Q4_0);
            case Q4_1 -> new BlockMatrix(data, rows, cols, BlockFormat.Q4_1);
            case Q5_0 -> new BlockMatrix(data, rows, cols, BlockFormat.Q5_0);
            case Q5_1 -> new BlockMatrix(data, rows, cols, BlockFormat.Q5_1);
            case Q8_0 -> new BlockMatrix(data, rows, cols, BlockFormat.Q8_0);
            case Q2_K -> new BlockMatrix(data, rows, cols, BlockFormat.Q2_K);
            case Q3_K -> new BlockMatrix(data, rows, cols, BlockFormat.Q3_K);
            case Q4_K -> new BlockMatrix(data, rows, cols, BlockFormat.Q4_K);
            case Q5_K -> new BlockMatrix(data, rows, cols, BlockFormat.Q5_K);
            case Q6_K -> new BlockMatrix(data, rows, cols, BlockFormat.Q6_K);
            case I64, I32, I16, I8, U8, BOOL ->
                throw new IllegalArgumentException("DType " + this + " holds no real numbers: it cannot be a weight");
        };
    }
}
