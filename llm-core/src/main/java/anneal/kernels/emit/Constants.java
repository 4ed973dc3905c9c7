package anneal.kernels.emit;

import anneal.kernels.emit.Vec.Ymm;

/** Numbers that a function needs in a register, by way of the stack's red zone: the bytes below RSP that are a leaf function's own. */
final class Constants {
    private final Assembler a;
    private final Vectors<Ymm> y;

    Constants(Assembler a) {
        this.a = a;
        this.y = a.ymm();
    }

    /** One number in all lanes. Changes RAX. */
    void all(Ymm to, int value) {
        a.mov(Gp.RAX, value);
        a.mov32(Mem.at(Gp.RSP, -8), Gp.RAX);
        y.vpbroadcastd(to, Mem.at(Gp.RSP, -8));
    }

    void all(Ymm to, float value) {
        all(to, Float.floatToRawIntBits(value));
    }

    /** Eight numbers. Changes RAX. */
    void lanes(Ymm to, int... values) {
        for (int i = 0; i < values.length; i++) {
            a.mov(Gp.RAX, values[i]);
            a.mov32(Mem.at(Gp.RSP, 4 * i - 32), Gp.RAX);
        }
        y.vmovups(to, Mem.at(Gp.RSP, -32));
    }
}
