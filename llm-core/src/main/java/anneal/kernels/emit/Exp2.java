package anneal.kernels.emit;

/**
 * 2^x of a register of floats as emitted code, by the steps of the vector tier: x = n + f with n whole and f of [-1/2, 1/2], a
 * polynomial of degree 5 for 2^f, and n put into the exponent.
 *
 * <p>For x of at most 127: 0 from -127 down, -infinity included, and NaN stays NaN; relative error 1.7e-7, at most 2.01 units
 * in the last place. The coefficients are a minimax fit of our own (Remez exchange on the relative error, 40 digits).
 *
 * <p>Seven constants stay in registers; the highest coefficient is read anew for each x, since the polynomial begins by
 * overwriting it.
 */
public final class Exp2<V extends Vec> {
    /** 2^f = 1 + f (C1 + f (C2 + ...)) for f of [-1/2, 1/2]. */
    public static final float C1 = 0.693146978f,
            C2 = 0.240222421f,
            C3 = 0.0555073374f,
            C4 = 0.00967151285f,
            C5 = 0.00132647288f;

    /** Adding it rounds to a whole number and leaves that number, plus a bias, in the low bits. */
    public static final float ROUND = 12582912f;

    /** Registers that the constants take. */
    static final int CONSTANTS = 7;

    private final Vectors<V> v;
    private final Mem c5;
    private final V least, round, c4, c3, c2, c1, one;

    /** Loads the constants into registers {@code first} and up, and the place of the highest coefficient into {@code place}. */
    Exp2(Constants constants, Vectors<V> v, int first, Gp place) {
        this.v = v;
        float[] values = {-127, ROUND + 127, C4, C3, C2, C1, 1};
        for (int i = 0; i < CONSTANTS; i++) {
            constants.broadcast(v, v.reg(first + i), Float.floatToRawIntBits(values[i]));
        }
        constants.address(place, Float.floatToRawIntBits(C5));
        c5 = Mem.at(place);
        least = v.reg(first);
        round = v.reg(first + 1);
        c4 = v.reg(first + 2);
        c3 = v.reg(first + 3);
        c2 = v.reg(first + 4);
        c1 = v.reg(first + 5);
        one = v.reg(first + 6);
    }

    /** x = 2^x; n and p are overwritten. */
    void emit(V x, V n, V p) {
        v.vmaxps(x, least, x); // this way round a NaN in x wins
        v.vaddps(n, x, round);
        v.vsubps(p, n, round);
        v.vsubps(x, x, p);
        v.vbroadcastss(p, c5);
        v.vfmadd213ps(p, x, c4);
        v.vfmadd213ps(p, x, c3);
        v.vfmadd213ps(p, x, c2);
        v.vfmadd213ps(p, x, c1);
        v.vfmadd213ps(p, x, one);
        v.vpslld(n, n, 23);
        v.vmulps(x, p, n);
    }
}
