package anneal.quant;

import anneal.kernels.Matrix;
import java.lang.foreign.Arena;

/**
 * 4-bit NormalFloat: number = value[code] * absmax of its block, and the 16 values are quantiles of the normal distribution, which
 * trained weights nearly have. Dettmers et al., arXiv:2305.14314. Bytes are bitsandbytes'.
 *
 * @param blockSize consecutive numbers that share an absmax: 32, 64, 128 .. 4096; blocks may run over the ends of rows
 * @param doubleQuant the absmax values are quantised too, to 8 bits: 0.37 bits less for each number at a block of 64
 */
public record Nf4(int blockSize, boolean doubleQuant) implements QuantFormat {
    /** bitsandbytes' own default. */
    public static final int USUAL_BLOCK = 64;

    /** Rejects block sizes that bitsandbytes does not have. */
    public Nf4 {
        requireBlock("Nf4", blockSize);
    }

    /** Without double quantisation. */
    public Nf4(int blockSize) {
        this(blockSize, false);
    }

    static void requireBlock(String format, int blockSize) {
        if (blockSize < 32 || blockSize > 4096 || Integer.bitCount(blockSize) != 1) {
            throw new IllegalArgumentException(
                    format + ": the block size must be a power of two from 32 to 4096, not " + blockSize);
        }
    }

    @Override
    public String name() {
        return name("NF4", blockSize, doubleQuant);
    }

    static String name(String table, int blockSize, boolean doubleQuant) {
        return table + (blockSize == USUAL_BLOCK ? "" : "-B" + blockSize) + (doubleQuant ? "-DQ" : "");
    }

    @Override
    public QuantizedWeight quantize(Matrix w, Arena arena) {
        return new FourBitWeight(this, FourBit.NF4.quantize(w, blockSize, doubleQuant, arena));
    }
}
