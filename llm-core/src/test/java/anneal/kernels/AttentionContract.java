package anneal.kernels;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** What every tier's attention must do: the formula with all masks, forward and backward, within rounding. */
abstract class AttentionContract {
    private final int threads = Parallel.threads();

    abstract Kernels kernels();

    record Sizes(int batch, int queryLen, int keyLen, int capacity, int heads, int kvHeads, int headDim) {}

    record Case(String mask, Attention attention) {
        @Override
        public String toString() {
            Attention a = attention;
            return "%s B%d Tq%d Tk%d/%d H%d/%d D%d"
                    .formatted(
                            mask,
                            a.batch(),
                            a.queryLen(),
                            a.keyLen(),
                            a.capacity(),
                            a.heads(),
                            a.kvHeads(),
                            a.headDim());
        }
    }

    /** All masks one by one, and together. */
    static List<Case> masks(Sizes z, Random random) {
        int[] querySegments = new int[z.batch * z.queryLen], keySegments = new int[z.batch * z.keyLen];
        for (int b = 0; b < z.batch; b++) {
            int pad = random.nextInt(1 + z.keyLen / 4), parts = 1 + random.nextInt(4);
            for (int j = 0; j < z.keyLen; j++) {
                keySegments[b * z.keyLen + j] = j < pad ? -1 : (j - pad) * parts / (z.keyLen - pad) + 7;
            }
            for (int i = 0; i < z.queryLen; i++) {
                int j = i + z.keyLen - z.queryLen;
                querySegments[b * z.queryLen + i] = j < 0 ? -1 : keySegments[b * z.keyLen + j];
            }
        }
        float[] slopes = new float[z.heads];
        for (int h = 0; h < z.heads; h++) {
            slopes[h] = (float) Math.pow(2, -8.0 * (h + 1) / z.heads);
        }
        int window = Math.max(1, z.keyLen / 3);
        List<Case> all = new ArrayList<>();
        all.add(new Case("full", of(z, false, 0, null, null, null, 0, 0)));
        all.add(new Case("causal", of(z, true, 0, null, null, null, 0, 0)));
        all.add(new Case("window", of(z, true, window, null, null, null, 0, 0)));
        all.add(new Case("window, not causal", of(z, false, window, null, null, null, 0, 0)));
        all.add(new Case("segments", of(z, true, 0, querySegments, keySegments, null, 0, 0)));
        all.add(new Case("segments, not causal", of(z, false, 0, querySegments, keySegments, null, 0, 0)));
        all.add(new Case("alibi", of(z, true, 0, null, null, slopes, 0, 0)));
        all.add(new Case("softcap", of(z, true, 0, null, null, null, 1.5f, 0)));
        all.add(new Case("dropout", of(z, true, 0, null, null, null, 0, 0.3f)));
        all.add(new Case("everything", of(z, true, window, querySegments, keySegments, slopes, 2f, 0.2f)));
        return all;
    }

    private static Attention of(
            Sizes z, boolean causal, int window, int[] queries, int[] keys, float[] slopes, float cap, float drop) {
        return new Attention(
                z.batch,
                z.queryLen,
                z.keyLen,
                z.capacity,
                z.heads,
                z.kvHeads,
                z.headDim,
                (float) (1 / Math.sqrt(z.headDim)),
                causal,
                window,
                queries,
                keys,
                slopes,
                cap,
                drop,
                0x9E3779B97F4A7C15L);
    }

    /** Sizes round the tile of 64, the register tile and the vector; grouped heads; more keys than queries and fewer. */
    static List<Case> cases() {
        Random random = new Random(3);
        List<Case> all = new ArrayList<>();
        for (Sizes z : List.of(
                new Sizes(1, 1, 1, 1, 1, 1, 1),
                new Sizes(2, 1, 70, 90, 4, 2, 20),
                new Sizes(1, 1, 600, 600, 6, 2, 64),
                new Sizes(2, 4, 6, 8, 2, 1, 8),
                new Sizes(1, 8, 13, 13, 3, 3, 16),
                new Sizes(2, 25, 25, 31, 6, 2, 12),
                new Sizes(1, 63, 63, 63, 2, 1, 64),
                new Sizes(1, 64, 64, 70, 4, 4, 40),
                new Sizes(2, 65, 65, 65, 4, 2, 64),
                new Sizes(1, 5, 130, 140, 5, 1, 80),
                new Sizes(1, 90, 30, 30, 2, 1, 17),
                new Sizes(1, 200, 200, 200, 3, 1, 128),
                new Sizes(1, 130, 400, 410, 2, 2, 33))) {
            all.addAll(masks(z, random));
        }
        return all;
    }

    @AfterEach
    void restoreThreads() {
        Parallel.threads(threads);
    }

    /** The buffers of one call. */
    private record Call(MemorySegment o, MemorySegment lse, Kernels.AttentionGrad grad) {}

    private static Call call(Buffers m, Attention s, long seed) {
        Random random = new Random(seed);
        long nq = (long) s.batch() * s.queryLen() * s.heads() * s.headDim();
        long nk = (long) s.batch() * s.capacity() * s.kvHeads() * s.headDim();
        MemorySegment q = m.normal(random, nq, 1), k = m.normal(random, nk, 1), v = m.normal(random, nk, 1);
        MemorySegment o = m.filled(nq, Float.NaN);
        MemorySegment lse = m.filled((long) s.batch() * s.heads() * s.queryLen(), Float.NaN);
        return new Call(
                o,
                lse,
                new Kernels.AttentionGrad(
                        m.filled(nq, 0.5f),
                        m.filled(nk, 0.5f),
                        m.filled(nk, 0.5f),
                        m.normal(random, nq, 1),
                        o,
                        lse,
                        q,
                        k,
                        v));
    }

    @ParameterizedTest
    @MethodSource("cases")
    void followsTheFormula(Case test) {
        followsTheFormula(kernels(), Compute.F32, test.attention());
    }

    @ParameterizedTest
    @MethodSource("cases")
    void followsTheFormulaInBfloat16(Case test) {
        followsTheFormula(
                kernels().in(Compute.BF16), rounds(test.attention()) ? Compute.BF16 : Compute.F32, test.attention());
    }

    /** True if queries, keys, values and dO are rounded in BF16; a tier that keeps more precision says so here. */
    boolean rounds(Attention s) {
        return s.queryLen() > RoundedKernels.FEW_ROWS;
    }

    private static void followsTheFormula(Kernels kernels, Compute operands, Attention s) {
        try (Buffers m = new Buffers()) {
            Call c = call(m, s, 17);
            Kernels.AttentionGrad g = c.grad;
            kernels.attention(c.o, c.lse, g.q(), g.k(), g.v(), s);
            kernels.attentionGrad(g, s);
            AttentionReference r = new AttentionReference(
                    operand(operands, g.q()), operand(operands, g.k()), operand(operands, g.v()), s);
            r.backward(operand(operands, g.dO()));
            double tolerance = 2e-6 * Math.sqrt(s.headDim() + s.keyLen());
            Buffers.assertClose("o", c.o, r.o, tolerance, 0.3);
            Buffers.assertClose("lse", c.lse, r.lse, tolerance, 1);
            Buffers.assertClose("dq", g.dq(), plus(r.dq), tolerance, 1);
            Buffers.assertClose("dk", g.dk(), plus(r.dk), tolerance, 1 + Math.sqrt(s.queryLen() / 8));
            Buffers.assertClose("dv", g.dv(), plus(r.dv), tolerance, 1 + Math.sqrt(s.queryLen() / 8));
            m.assertGuards();
        }
    }

    private static double[] operand(Compute compute, MemorySegment s) {
        float[] x = Buffers.floats(s), y = compute == Compute.BF16 ? Operands.bfloats(x) : x;
        double[] wide = new double[y.length];
        java.util.Arrays.setAll(wide, i -> y[i]);
        return wide;
    }

    /** Gradients are added to what is there: one half. */
    private static double[] plus(double[] d) {
        return java.util.Arrays.stream(d).map(x -> x + 0.5).toArray();
    }

    @Test
    void theSameBitsForAnyNumberOfThreads() {
        for (Sizes z : List.of(new Sizes(1, 300, 300, 310, 6, 2, 64), new Sizes(2, 1, 700, 700, 4, 2, 32))) {
            for (Case test : masks(z, new Random(8))) {
                Attention s = test.attention();
                try (Buffers m = new Buffers()) {
                    Call one = call(m, s, 23), four = call(m, s, 23);
                    for (Call c : List.of(one, four)) {
                        Parallel.threads(c == one ? 1 : 4);
                        kernels().attention(c.o, c.lse, c.grad.q(), c.grad.k(), c.grad.v(), s);
                        kernels().attentionGrad(c.grad, s);
                    }
                    assertThat(four.o.mismatch(one.o)).as("o, %s", test).isEqualTo(-1);
                    assertThat(four.lse.mismatch(one.lse)).as("lse, %s", test).isEqualTo(-1);
                    assertThat(four.grad.dq().mismatch(one.grad.dq()))
                            .as("dq, %s", test)
                            .isEqualTo(-1);
                    assertThat(four.grad.dk().mismatch(one.grad.dk()))
                            .as("dk, %s", test)
                            .isEqualTo(-1);
                    assertThat(four.grad.dv().mismatch(one.grad.dv()))
                            .as("dv, %s", test)
                            .isEqualTo(-1);
                }
            }
        }
    }

    @Test
    void aQueryThatSeesNothingGivesZeroAndNoNaN() {
        // the first 30 queries stand before every key, and the second sequence is all padding
        Sizes z = new Sizes(2, 70, 40, 40, 2, 1, 16);
        int[] queries = new int[140], keys = new int[80];
        java.util.Arrays.fill(queries, 70, 140, -1);
        java.util.Arrays.fill(keys, 40, 80, -1);
        Attention s = of(z, true, 0, queries, keys, null, 0, 0);
        try (Buffers m = new Buffers()) {
            Call c = call(m, s, 29);
            Kernels.AttentionGrad g = c.grad;
            kernels().attention(c.o, c.lse, g.q(), g.k(), g.v(), s);
            kernels().attentionGrad(g, s);
            for (int i = 0; i < 140; i++) {
                boolean blind = i < 30 || i >= 70;
                for (int h = 0; h < 2; h++) {
                    float lse = Buffers.floats(c.lse)[i / 70 * 140 + h * 70 + i % 70];
                    assertThat(lse == Float.NEGATIVE_INFINITY)
                            .as("query %d sees nothing", i)
                            .isEqualTo(blind);
                    for (int x = 0; blind && x < 16; x++) {
                        assertThat(Buffers.floats(c.o)[(i * 2 + h) * 16 + x]).isZero();
                        assertThat(Buffers.floats(g.dq())[(i * 2 + h) * 16 + x]).isEqualTo(0.5f);
                    }
                }
            }
            assertThat(Buffers.floats(g.dk())).doesNotContain(Float.NaN);
            assertThat(Buffers.floats(g.dv())).doesNotContain(Float.NaN);
        }
    }

    @Test
    void hugeScoresNeitherOverflowNorVanish() {
        for (int queryLen : new int[] {1, 70}) {
            Attention s = of(new Sizes(1, queryLen, 70, 70, 1, 1, 8), true, 0, null, null, null, 0, 0);
            try (Buffers m = new Buffers()) {
                MemorySegment q = m.filled(8L * queryLen, 40), k = m.normal(new Random(4), 560, 40);
                MemorySegment v = m.normal(new Random(5), 560, 1), o = m.filled(8L * queryLen, 0);
                MemorySegment lse = m.filled(queryLen, 0);
                kernels().attention(o, lse, q, k, v, s);
                AttentionReference r =
                        new AttentionReference(Buffers.doubles(q), Buffers.doubles(k), Buffers.doubles(v), s);
                Buffers.assertClose("o", o, r.o, 1e-2, 1);
                Buffers.assertClose("lse", lse, r.lse, 1e-6, 1);
            }
        }
    }

    @Test
    void aNaNShowsInTheRowsThatSeeItAndNowhereElse() {
        for (int queryLen : new int[] {1, 70}) {
            Attention s = of(new Sizes(1, queryLen, 70, 70, 1, 1, 8), true, 0, null, null, null, 0, 0);
            try (Buffers m = new Buffers()) {
                MemorySegment q = m.normal(new Random(6), 8L * queryLen, 1), k = m.normal(new Random(4), 560, 1);
                MemorySegment v = m.normal(new Random(5), 560, 1), o = m.filled(8L * queryLen, 0);
                k.setAtIndex(java.lang.foreign.ValueLayout.JAVA_FLOAT, 8 * 66, Float.NaN);
                kernels().attention(o, m.filled(queryLen, 0), q, k, v, s);
                for (int i = 0; i < queryLen; i++) {
                    boolean sees = i + 70 - queryLen >= 66;
                    assertThat(Float.isNaN(Buffers.floats(o)[i * 8]))
                            .as("query %d of %d", i, queryLen)
                            .isEqualTo(sees);
                }
            }
        }
    }
}
