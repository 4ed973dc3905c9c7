package anneal.kernels.emit;

import java.util.List;
import java.util.Locale;

/**
 * What emitted code may use of the processor; each level has all that the ones before it have.
 *
 * <p>A kernel is one generator that asks for what differs: width, number of registers, and which instruction multiplies.
 */
public enum Level {
    /** AVX2, FMA and F16C: 16 registers of 256 bits. */
    AVX2(256, 16),
    /** AVX-512 F, BW, DQ and VL: 32 registers of 512 bits, masks. */
    AVX512(512, 32),
    /** AVX-512 BF16 and VNNI too: products of pairs of bf16 and of four bytes. */
    AVX512_BF16(512, 32),
    /** AMX with tiles of bf16 and of bytes too: a unit that multiplies small matrices. */
    AMX(512, 32);

    private final int bits;
    private final int registers;

    Level(int bits, int registers) {
        this.bits = bits;
        this.registers = registers;
    }

    /** Bits of a vector register. */
    public int bits() {
        return bits;
    }

    /** 32-bit numbers in a vector register. */
    public int lanes() {
        return bits / 32;
    }

    /** Number of vector registers. */
    int registers() {
        return registers;
    }

    /** True if this level has all that {@code other} has. */
    public boolean has(Level other) {
        return compareTo(other) >= 0;
    }

    /** As {@code -Danneal.cpu} has it: avx2, avx512, avx512_bf16, amx. */
    public String text() {
        return name().toLowerCase(Locale.ROOT);
    }

    /** All levels that this machine can run, from the lowest; empty where it cannot run emitted code. */
    public static List<Level> available() {
        return CpuFeatures.obstacle() == null
                ? List.of(values()).subList(0, CpuFeatures.best().ordinal() + 1)
                : List.of();
    }
}
