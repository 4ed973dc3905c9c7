package anneal.tensor;

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
}
