package anneal.kernels;

/**
 * Counter-based random bits: the bits of element i are a function of (seed, i) alone, so any thread can make any part and
 * the backward pass can make them again.
 *
 * <p>Two rounds of the 32-bit finaliser "lowbias32" (Wellons, "Prospecting for hash functions"), chosen because it needs only
 * 32-bit lanes.
 */
public final class Noise {
    private Noise() {}

    /** 32 bits for element i. */
    public static int bits(long seed, long i) {
        int h = mix((int) i ^ (int) seed);
        return mix(h ^ (int) (seed >>> 32) ^ (int) (i >>> 32) * 0x9E3779B9);
    }

    /** True if element i survives a dropout of probability p: its 24 upper bits, as a fraction, are at least p. */
    public static boolean keeps(long seed, long i, float p) {
        return (bits(seed, i) >>> 8) * 0x1p-24f >= p;
    }

    private static int mix(int x) {
        x ^= x >>> 16;
        x *= 0x7feb352d;
        x ^= x >>> 15;
        x *= 0x846ca68b;
        x ^= x >>> 16;
        return x;
    }
}
