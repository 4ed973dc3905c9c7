package anneal.kernels;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static org.assertj.core.api.Assertions.assertThat;

import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** What every tier's optimiser steps must do: five steps of the formula in double precision, within rounding. */
abstract class UpdatesContract {
    private static final int[] SIZES = {1, 4, 6, 8, 13, 16, 25, 33, 64, 255, 1024, 1030, 4098};

    private final int threads = Parallel.threads();
    private final Buffers m = new Buffers();
    private final Random random = new Random(1234);

    abstract Kernels kernels();

    @AfterEach
    void checkGuards() {
        Parallel.threads(threads);
        m.assertGuards();
        m.close();
    }

    private MemorySegment normal(long n) {
        return m.normal(random, n, 1);
    }

    @Test
    void adam() {
        for (int n : SIZES) {
            MemorySegment p = normal(n), m1 = m.filled(n, 0), m2 = m.filled(n, 0);
            double[] pd = Buffers.doubles(p), first = new double[n], second = new double[n];
            for (int t = 1; t <= 5; t++) {
                MemorySegment g = m.normal(random, n, 0.1 * t);
                float rate = (float) (1e-2 / (1 - Math.pow(0.9f, t)));
                float root = (float) Math.sqrt(1 - Math.pow(0.95f, t));
                Kernels.Adam s = new Kernels.Adam(0.5f, 0.01f, 0.9f, 0.95f, 1e-8f, 1e-3f, rate, root);
                kernels().adam(p, g, m1, m2, n, s);
                for (int i = 0; i < n; i++) {
                    double grad = 0.5 * g.getAtIndex(JAVA_FLOAT, i) + s.l2() * pd[i];
                    first[i] = s.b1() * first[i] + (1 - (double) s.b1()) * grad;
                    second[i] = s.b2() * second[i] + (1 - (double) s.b2()) * grad * grad;
                    pd[i] = pd[i] * (1 - (double) s.decay())
                            - rate * first[i] / (Math.sqrt(second[i]) / root + s.eps());
                }
            }
            Buffers.assertClose("m", m1, first, 2e-6, 1e-2);
            Buffers.assertClose("v", m2, second, 2e-6, 1e-3);
            Buffers.assertClose("p", p, pd, 2e-6, 1);
        }
    }

    @Test
    void descentWithoutMomentum() {
        Kernels.Sgd s = new Kernels.Sgd(0.5f, 0.01f, 0, 1, false, 0.1f);
        for (int n : SIZES) {
            MemorySegment p = normal(n);
            double[] pd = Buffers.doubles(p);
            for (int t = 1; t <= 5; t++) {
                MemorySegment g = normal(n);
                kernels().sgd(p, g, null, n, s);
                for (int i = 0; i < n; i++) {
                    pd[i] -= s.rate() * (0.5 * g.getAtIndex(JAVA_FLOAT, i) + s.l2() * pd[i]);
                }
            }
            Buffers.assertClose("p", p, pd, 2e-6, 1);
        }
    }

    @Test
    void descentWithMomentum() {
        for (boolean nesterov : new boolean[] {false, true}) {
            Kernels.Sgd s = new Kernels.Sgd(0.5f, 0.01f, 0.9f, 0.7f, nesterov, 0.1f);
            for (int n : SIZES) {
                MemorySegment p = normal(n), v = m.filled(n, 0);
                double[] pd = Buffers.doubles(p), vd = new double[n];
                for (int t = 1; t <= 5; t++) {
                    MemorySegment g = normal(n);
                    kernels().sgd(p, g, v, n, s);
                    for (int i = 0; i < n; i++) {
                        double grad = 0.5 * g.getAtIndex(JAVA_FLOAT, i) + s.l2() * pd[i];
                        vd[i] = s.momentum() * vd[i] + s.fresh() * grad;
                        pd[i] -= s.rate() * (nesterov ? grad + s.momentum() * vd[i] : vd[i]);
                    }
                }
                Buffers.assertClose("velocity", v, vd, 2e-6, 1);
                Buffers.assertClose("p", p, pd, 2e-6, 1);
            }
        }
    }

    @Test
    void lion() {
        Kernels.Lion s = new Kernels.Lion(0.5f, 0.9f, 0.99f, 1e-3f, 0.01f);
        for (int n : SIZES) {
            MemorySegment p = normal(n), mean = m.filled(n, 0);
            double[] pd = Buffers.doubles(p), md = new double[n];
            for (int t = 1; t <= 5; t++) {
                MemorySegment g = normal(n);
                kernels().lion(p, g, mean, n, s);
                for (int i = 0; i < n; i++) {
                    double grad = 0.5 * g.getAtIndex(JAVA_FLOAT, i);
                    double direction = Math.signum(s.b1() * md[i] + (1 - (double) s.b1()) * grad);
                    pd[i] = pd[i] * (1 - (double) s.decay()) - s.rate() * direction;
                    md[i] = s.b2() * md[i] + (1 - (double) s.b2()) * grad;
                }
            }
            Buffers.assertClose("mean", mean, md, 2e-6, 1e-2);
            Buffers.assertClose("p", p, pd, 2e-6, 1);
        }
    }

    @Test
    void lionStandsStillWithoutADirection() {
        for (int n : SIZES) {
            MemorySegment p = normal(n);
            double[] before = Buffers.doubles(p);
            kernels().lion(p, m.filled(n, 0), m.filled(n, 0), n, new Kernels.Lion(1, 0.9f, 0.99f, 0, 0.1f));
            assertThat(Buffers.doubles(p)).containsExactly(before);
        }
    }

    @Test
    void theSameBitsForAnyNumberOfThreads() {
        List<MemorySegment> one = everything(1), four = everything(4);
        for (int i = 0; i < one.size(); i++) {
            assertThat(four.get(i).mismatch(one.get(i))).as("result %d", i).isEqualTo(-1);
        }
    }

    private List<MemorySegment> everything(int count) {
        Parallel.threads(count);
        Random fixed = new Random(9);
        int n = 103_230;
        MemorySegment g = m.normal(fixed, n, 1), p = m.normal(fixed, n, 1), q = m.copy(p), r = m.copy(p);
        MemorySegment mean = m.copy(g), square = m.filled(n, 0.5f), velocity = m.copy(g), sign = m.copy(g);
        kernels().adam(p, g, mean, square, n, new Kernels.Adam(1, 0, 0.9f, 0.99f, 1e-8f, 0, 0.1f, 1));
        kernels().sgd(q, g, velocity, n, new Kernels.Sgd(1, 0.1f, 0.9f, 1, true, 0.1f));
        kernels().lion(r, g, sign, n, new Kernels.Lion(1, 0.9f, 0.99f, 0.1f, 0.1f));
        return List.of(p, mean, square, q, velocity, r, sign);
    }
}
