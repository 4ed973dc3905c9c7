package anneal.peft;

import anneal.tensor.Tensor;

/**
 * The numbers that torch.Generator("cpu").manual_seed(seed) gives, for what a file names only by its seed.
 *
 * <p>Mersenne Twister MT19937 (Matsumoto and Nishimura, ACM TOMACS 8, 1998); a float takes 24 bits of each number.
 */
final class TorchRandom {
    private static final int N = 624, M = 397;

    private final int[] state = new int[N];
    private int next = N;

    TorchRandom(int seed) {
        state[0] = seed;
        for (int i = 1; i < N; i++) {
            state[i] = 1812433253 * (state[i - 1] ^ state[i - 1] >>> 30) + i;
        }
    }

    private int bits() {
        if (next == N) {
            for (int i = 0; i < N; i++) {
                int y = state[i] & 0x80000000 | state[(i + 1) % N] & 0x7fffffff;
                state[i] = state[(i + M) % N] ^ y >>> 1 ^ ((y & 1) == 0 ? 0 : 0x9908b0df);
            }
            next = 0;
        }
        int y = state[next++];
        y ^= y >>> 11;
        y ^= y << 7 & 0x9d2c5680;
        y ^= y << 15 & 0xefc60000;
        return y ^ y >>> 18;
    }

    /** Fills x with uniform numbers of [-bound, bound), as Tensor.uniform_ does on floats. */
    void uniform(Tensor x, double bound) {
        float from = (float) -bound, range = (float) bound - from;
        float[] values = new float[Math.toIntExact(x.size())];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) ((bits() & 0xffffff) * 0x1p-24 * range + from);
        }
        x.set(values);
    }
}
