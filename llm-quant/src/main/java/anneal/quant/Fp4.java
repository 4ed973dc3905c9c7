package anneal.quant;

import anneal.kernels.Matrix;
import java.lang.foreign.Arena;

/**
 * 4-bit floats: number = value[code] * absmax of its block, and the 16 values have a sign, two bits of exponent and one of fraction.
 * Dettmers and Zettlemoyer, arXiv:2212.09720. Bytes are bitsandbytes'. On normal weights {@link Nf4} is nearer.
 *
 * @param blockSize as for {@link Nf4}
 * @param doubleQuant as for {@link Nf4}
 */
public record Fp4(int blockSize, boolean doubleQuant) implements QuantFormat {
    /** Rejects block sizes that bitsandbytes does not have. */
    public Fp4 {
        Nf4.requireBlock("Fp4", blockSize);
    }

    /** Without double quantisation. */
    public Fp4(int blockSize) {
        this(blockSize, false);
    }

    @Override
    public String name() {
        return Nf4.name("FP4", blockSize, doubleQuant);
    }

    @Override
    public QuantizedWeight quantize(Matrix w, Arena arena) {
        return new FourBitWeight(this, FourBit.FP4.quantize(w, blockSize, doubleQuant, arena));
    }
}
