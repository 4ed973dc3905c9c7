package anneal.kernels.emit;

/**
 * A mask register of AVX-512 as an instruction uses it.
 *
 * @param number 1 to 7
 * @param zero lanes outside the mask become 0; false = they keep what they had
 */
record Mask(int number, boolean zero) {
    Mask {
        if (number < 1 || number > 7) {
            throw new IllegalArgumentException("emit: k" + number + " cannot be a write mask");
        }
    }

    /** Lanes outside keep what they had. */
    static Mask keep(int number) {
        return new Mask(number, false);
    }

    /** Lanes outside become 0. */
    static Mask zero(int number) {
        return new Mask(number, true);
    }
}
