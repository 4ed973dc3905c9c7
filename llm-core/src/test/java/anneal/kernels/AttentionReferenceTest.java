package anneal.kernels;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** The analytic gradient of the double reference against central differences, for every mask. */
class AttentionReferenceTest {
    static java.util.List<AttentionContract.Case> cases() {
        return AttentionContract.masks(new AttentionContract.Sizes(2, 4, 6, 7, 4, 2, 3), new Random(5));
    }

    @ParameterizedTest
    @MethodSource("cases")
    void gradientIsTheSlope(AttentionContract.Case test) {
        Attention s = test.attention();
        Random random = new Random(11);
        double[] q = normal(random, s.batch() * s.queryLen() * s.heads() * s.headDim());
        double[] k = normal(random, s.batch() * s.capacity() * s.kvHeads() * s.headDim());
        double[] v = normal(random, k.length), dO = normal(random, q.length);
        AttentionReference r = new AttentionReference(q, k, v, s);
        r.backward(dO);
        double[][] inputs = {q, k, v}, gradients = {r.dq, r.dk, r.dv};
        for (int t = 0; t < 3; t++) {
            for (int i = 0; i < inputs[t].length; i++) {
                double old = inputs[t][i], h = 1e-5;
                inputs[t][i] = old + h;
                double up = loss(q, k, v, s, dO);
                inputs[t][i] = old - h;
                double slope = (up - loss(q, k, v, s, dO)) / (2 * h);
                inputs[t][i] = old;
                assertThat(gradients[t][i])
                        .as("%s, gradient of input %d at %d", test, t, i)
                        .isCloseTo(slope, within(1e-7));
            }
        }
    }

    private static double[] normal(Random random, int n) {
        return random.doubles(n).map(x -> random.nextGaussian()).toArray();
    }

    private static double loss(double[] q, double[] k, double[] v, Attention s, double[] dO) {
        double[] o = new AttentionReference(q, k, v, s).o;
        double sum = 0;
        for (int i = 0; i < o.length; i++) {
            sum += o[i] * dO[i];
        }
        return sum;
    }
}
