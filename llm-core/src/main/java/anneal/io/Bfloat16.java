package anneal.io;

/** The 16-bit float that is the upper half of an IEEE single: 8 bits of exponent, 7 of mantissa. */
public final class Bfloat16 {
    private Bfloat16() {}

    /** The single with the same value (exact). */
    public static float toFloat(short bits) {
        return Float.intBitsToFloat(bits << 16);
    }

    /** The nearest bfloat16, ties to even; NaN stays NaN, what rounds above the largest value becomes infinite. */
    public static short fromFloat(float value) {
        int bits = Float.floatToRawIntBits(value);
        if (Float.isNaN(value)) {
            return (short) ((bits >>> 16) | 0x40); // quiet: a payload in the lower half only must not become infinity
        }
        int odd = (bits >>> 16) & 1;
        return (short) ((bits + 0x7fff + odd) >>> 16);
    }
}
