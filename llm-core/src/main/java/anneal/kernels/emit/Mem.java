package anneal.kernels.emit;

/**
 * A place in memory: base + index * scale + displacement.
 *
 * @param index null = none; not RSP, which the machine cannot use as one
 * @param scale 1, 2, 4 or 8
 */
record Mem(Gp base, Gp index, int scale, int displacement) {
    Mem {
        if (index == Gp.RSP || Integer.bitCount(scale) != 1 || scale > 8) {
            throw new IllegalArgumentException("emit: no such address: " + base + " + " + index + " * " + scale);
        }
    }

    /** [base]. */
    static Mem at(Gp base) {
        return new Mem(base, null, 1, 0);
    }

    /** [base + displacement]. */
    static Mem at(Gp base, int displacement) {
        return new Mem(base, null, 1, displacement);
    }

    /** [base + index * scale + displacement]. */
    static Mem at(Gp base, Gp index, int scale, int displacement) {
        return new Mem(base, index, scale, displacement);
    }
}
