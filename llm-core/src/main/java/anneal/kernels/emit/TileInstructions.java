package anneal.kernels.emit;

/**
 * The instructions of AMX: eight tile registers, each of 16 rows of 64 bytes once {@link #ldtilecfg} has said so.
 *
 * <p>Intel's manual, volume 2; every one is VEX with three bytes before the opcode.
 */
final class TileInstructions {
    /** A tile register, 0 to 7. */
    record Tile(int number) {
        Tile {
            if (number < 0 || number > 7) {
                throw new IllegalArgumentException("emit: there is no tile register " + number);
            }
        }
    }

    /** Mandatory prefixes. */
    private static final int NONE = 0, PF3 = 2, PF2 = 3;

    private static final int MAP_0F38 = 2;

    private final Assembler asm;

    TileInstructions(Assembler asm) {
        this.asm = asm;
    }

    /** Sizes of all tile registers from 64 bytes of memory. */
    void ldtilecfg(Mem from) {
        memory(NONE, 0x49, 0, from);
    }

    /** Tile registers are free: the system need not save them any more. */
    void tilerelease() {
        registers(NONE, 0x49, 0, 0, 0);
    }

    void tilezero(Tile to) {
        registers(PF2, 0x49, to.number, 0, 0);
    }

    /** Rows of 64 bytes; the index of {@code from} is the number of bytes from row to row. */
    void tileloadd(Tile to, Mem from) {
        memory(PF2, 0x4B, to.number, from);
    }

    /** Rows of 64 bytes; the index of {@code to} is the number of bytes from row to row. */
    void tilestored(Mem to, Tile from) {
        memory(PF3, 0x4B, from.number, to);
    }

    /** sum[i, j] += a[i, p] b[p, j] over 16 pairs p of bf16; denormals are 0, sums are rounded to nearest even. */
    void tdpbf16ps(Tile sum, Tile a, Tile b) {
        registers(PF3, 0x5C, sum.number, b.number, a.number);
    }

    /** sum[i, j] += a[i, p] b[p, j] over 16 groups p of four bytes with sign; sums are 32-bit integers. */
    void tdpbssd(Tile sum, Tile a, Tile b) {
        registers(PF2, 0x5E, sum.number, b.number, a.number);
    }

    private void registers(int prefix, int opcode, int reg, int second, int rm) {
        vex(prefix, second, 0, 0);
        asm.put(opcode);
        asm.registers(reg, rm);
    }

    private void memory(int prefix, int opcode, int reg, Mem m) {
        int index = m.index() == null ? 0 : m.index().number() >> 3;
        vex(prefix, 0, index, m.base().number() >> 3);
        asm.put(opcode);
        asm.memory(reg, m, 1);
    }

    private void vex(int prefix, int second, int index, int base) {
        asm.put(0xC4);
        asm.put(0x80 | (index ^ 1) << 6 | (base ^ 1) << 5 | MAP_0F38);
        asm.put((~second & 15) << 3 | prefix);
    }
}
