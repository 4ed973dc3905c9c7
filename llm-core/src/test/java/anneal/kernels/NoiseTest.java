package anneal.kernels;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class NoiseTest {
    private static final int N = 200_000;
    private static final long SEED = 0x243F6A8885A308D3L;

    @ParameterizedTest
    @ValueSource(floats = {0f, 0.001f, 0.05f, 0.1f, 0.5f, 0.9f})
    void keepsTheRightShare(float p) {
        int kept = 0;
        for (int i = 0; i < N; i++) {
            kept += Noise.keeps(SEED, i, p) ? 1 : 0;
        }
        assertThat((double) kept / N).isCloseTo(1 - p, within(5 * Math.sqrt(p * (1 - p) / N) + 1e-7));
    }

    @Test
    void everyBitIsSetHalfOfTheTime() {
        int[] set = new int[32];
        for (int i = 0; i < N; i++) {
            int bits = Noise.bits(SEED, i);
            for (int b = 0; b < 32; b++) {
                set[b] += bits >>> b & 1;
            }
        }
        for (int count : set) {
            assertThat((double) count / N).isCloseTo(0.5, within(5 * 0.5 / Math.sqrt(N)));
        }
    }

    @Test
    void neighboursAndOtherSeedsAreIndependent() {
        long other = 0x13198A2E03707344L;
        for (int lag : new int[] {1, 2, 7, 8, 64, 1024}) {
            assertThat(agreement(SEED, SEED, lag)).isCloseTo(0.5, within(5 * 0.5 / Math.sqrt(N)));
        }
        for (int lag : new int[] {0, 1, 8}) {
            assertThat(agreement(SEED, other, lag)).isCloseTo(0.5, within(5 * 0.5 / Math.sqrt(N)));
        }
    }

    private static double agreement(long a, long b, int lag) {
        int same = 0;
        for (int i = 0; i < N; i++) {
            same += Noise.keeps(a, i, 0.5f) == Noise.keeps(b, i + lag, 0.5f) ? 1 : 0;
        }
        return (double) same / N;
    }

    @Test
    void goesOnBeyondTheFirst32BitsOfTheIndex() {
        int same = 0;
        for (int i = 0; i < N; i++) {
            same += Noise.keeps(SEED, i, 0.5f) == Noise.keeps(SEED, i + (1L << 32), 0.5f) ? 1 : 0;
        }
        assertThat((double) same / N).isCloseTo(0.5, within(5 * 0.5 / Math.sqrt(N)));
    }

    /** A change of the bits would change every training run that uses dropout. Values by an independent implementation. */
    @Test
    void isTheSameForEver() {
        assertThat(Noise.bits(SEED, 12345)).isEqualTo(-1180075121);
        assertThat(Noise.bits(1, 5L << 32)).isEqualTo(1146514607);
    }
}
