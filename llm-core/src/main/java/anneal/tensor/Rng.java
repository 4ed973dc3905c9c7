package anneal.tensor;

/**
 * A seeded stream of random numbers whose whole state is one long, so it can stand in a checkpoint.
 *
 * <p>SplitMix64 (Steele, Lea and Flood, OOPSLA 2014). The same seed gives the same numbers on every machine.
 */
public final class Rng {
    private static final long GOLDEN = 0x9E3779B97F4A7C15L;
    private long state;

    /** A stream that starts at this seed. */
    public Rng(long seed) {
        this.state = seed;
    }

    /** 64 random bits. */
    public long nextLong() {
        state += GOLDEN;
        return mix(state);
    }

    private static long mix(long z) {
        z = (z ^ (z >>> 30)) * 0xBF58476D1CE4E5B9L;
        z = (z ^ (z >>> 27)) * 0x94D049BB133111EBL;
        return z ^ (z >>> 31);
    }

    /** Uniform in [0, 1), 53 bits. */
    public double nextDouble() {
        return (nextLong() >>> 11) * 0x1p-53;
    }

    /** Uniform in 0 .. bound - 1. */
    public int nextInt(int bound) {
        if (bound <= 0) {
            throw new IllegalArgumentException("Rng: bound " + bound + " must be positive");
        }
        return (int) Math.unsignedMultiplyHigh(nextLong(), bound);
    }

    /** Standard normal, by the Box-Muller transform of two uniforms. */
    public double nextGaussian() {
        double u = 1 - nextDouble(), v = nextDouble();
        return StrictMath.sqrt(-2 * StrictMath.log(u)) * StrictMath.cos(2 * StrictMath.PI * v);
    }

    /** An independent stream for a part of the work: depends on the seed so far and the label, changes nothing here. */
    public Rng fork(long label) {
        return new Rng(mix(state + GOLDEN * (label + 1)) ^ mix(label));
    }

    /** Shuffles in place (Fisher-Yates). */
    public void shuffle(int[] a) {
        for (int i = a.length - 1; i > 0; i--) {
            int j = nextInt(i + 1), t = a[i];
            a[i] = a[j];
            a[j] = t;
        }
    }

    /** The state, from which {@code new Rng(state)} goes on. */
    public long state() {
        return state;
    }

    /** Goes back (or on) to a state. */
    public void restore(long saved) {
        state = saved;
    }
}
