package anneal.tensor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class RngTest {
    private static final int N = 200_000;

    /** Published first outputs of SplitMix64 for the seeds 1234567 and 0. */
    @Test
    void givesTheKnownNumbers() {
        Rng rng = new Rng(1234567);
        for (String expected : new String[] {
            "6457827717110365317",
            "3203168211198807973",
            "9817491932198370423",
            "4593380528125082431",
            "16408922859458223821"
        }) {
            assertThat(Long.toUnsignedString(rng.nextLong())).isEqualTo(expected);
        }
        assertThat(new Rng(0).nextLong()).isEqualTo(0xE220A8397B1DCDAFL);
    }

    @Test
    void goesOnFromASavedState() {
        Rng rng = new Rng(5);
        rng.nextGaussian();
        long state = rng.state();
        long a = rng.nextLong(), b = rng.nextLong();
        assertThat(new Rng(state).nextLong()).isEqualTo(a);
        rng.restore(state);
        assertThat(rng.nextLong()).isEqualTo(a);
        assertThat(rng.nextLong()).isEqualTo(b);
    }

    @Test
    void doublesAreUniform() {
        Rng rng = new Rng(6);
        int[] bins = new int[20];
        double sum = 0, lagged = 0, before = 0;
        for (int i = 0; i < N; i++) {
            double u = rng.nextDouble();
            bins[(int) (20 * u)]++;
            sum += u;
            lagged += (u - 0.5) * (before - 0.5);
            before = u;
        }
        assertChiSquare(bins);
        assertThat(sum / N).isCloseTo(0.5, within(5 * 0.2887 / Math.sqrt(N)));
        assertThat(lagged / N).isCloseTo(0, within(5.0 / 12 / Math.sqrt(N)));
    }

    @Test
    void integersAreUniformBelowTheirBound() {
        Rng rng = new Rng(7);
        int[] bins = new int[13];
        for (int i = 0; i < N; i++) {
            bins[rng.nextInt(13)]++;
        }
        assertChiSquare(bins);
        assertThat(rng.nextInt(1)).isZero();
        assertThat(rng.nextInt(Integer.MAX_VALUE)).isNotNegative();
        assertThatIllegalArgumentException()
                .isThrownBy(() -> rng.nextInt(0))
                .withMessage("Rng: bound 0 must be positive");
    }

    /** Chi-square of equally likely bins: mean k-1, variance 2(k-1); six standard deviations allowed. */
    private static void assertChiSquare(int[] bins) {
        double expected = (double) N / bins.length, freedom = bins.length - 1;
        double x = Arrays.stream(bins)
                .mapToDouble(n -> (n - expected) * (n - expected) / expected)
                .sum();
        assertThat(x).isBetween(0.0, freedom + 6 * Math.sqrt(2 * freedom));
    }

    @Test
    void gaussiansHaveTheRightMoments() {
        Rng rng = new Rng(8);
        double[] moments = new double[5];
        for (int i = 0; i < N; i++) {
            double x = rng.nextGaussian();
            for (int k = 1; k < moments.length; k++) {
                moments[k] += Math.pow(x, k) / N;
            }
        }
        assertThat(moments[1]).isCloseTo(0, within(5 / Math.sqrt(N)));
        assertThat(moments[2]).isCloseTo(1, within(5 * Math.sqrt(2.0 / N)));
        assertThat(moments[3]).isCloseTo(0, within(5 * Math.sqrt(15.0 / N)));
        assertThat(moments[4]).isCloseTo(3, within(5 * Math.sqrt(96.0 / N)));
    }

    @Test
    void forksAreReproducibleAndChangeNothing() {
        Rng rng = new Rng(9);
        long state = rng.state();
        assertThat(rng.fork(3).nextLong()).isEqualTo(rng.fork(3).nextLong());
        assertThat(rng.state()).isEqualTo(state);
    }

    @Test
    void forksAreIndependentOfEachOtherAndOfTheirParent() {
        Rng parent = new Rng(10);
        Rng[] streams = {
            parent.fork(0), parent.fork(1), parent.fork(2), parent.fork(1).fork(1), parent.fork(-1), parent
        };
        double[] cross = new double[streams.length * streams.length];
        int n = 50_000;
        for (int i = 0; i < n; i++) {
            double[] u = Arrays.stream(streams)
                    .mapToDouble(r -> r.nextDouble() - 0.5)
                    .toArray();
            for (int a = 0; a < u.length; a++) {
                for (int b = 0; b < a; b++) {
                    cross[a * u.length + b] += u[a] * u[b] / n;
                }
            }
        }
        for (double c : cross) {
            assertThat(c).isCloseTo(0, within(5.0 / 12 / Math.sqrt(n)));
        }
    }

    @Test
    void shufflesEveryPermutationEquallyOften() {
        Rng rng = new Rng(11);
        int[] bins = new int[6];
        for (int i = 0; i < N; i++) {
            int[] a = {0, 1, 2};
            rng.shuffle(a);
            bins[a[0] * 2 + (a[1] > a[2] ? 1 : 0)]++;
        }
        assertChiSquare(bins);
        int[] many = IntStream.range(0, 100).toArray();
        rng.shuffle(many);
        assertThat(many).isNotEqualTo(IntStream.range(0, 100).toArray());
        assertThat(Arrays.stream(many).sorted().toArray())
                .isEqualTo(IntStream.range(0, 100).toArray());
    }
}
