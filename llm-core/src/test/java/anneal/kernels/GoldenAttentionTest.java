package anneal.kernels;

import static org.assertj.core.api.Assertions.assertThat;

import anneal.Golden;
import anneal.io.Json;
import anneal.io.JsonObject;
import anneal.io.Safetensors;
import anneal.io.StoredTensor;
import anneal.kernels.emit.CpuFeatures;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/** Outputs, log-sum-exps and gradients against PyTorch in double precision, for every mask, on the plain, the vector and the emitted tier. */
class GoldenAttentionTest {
    private static int cases;
    private static double worst;

    @AfterAll
    static void report() {
        Golden.report("parts/attention", cases, worst);
    }

    @TestFactory
    Stream<DynamicTest> masks() {
        return Golden.files("parts", "attention.*\\.json").stream().flatMap(this::cases);
    }

    private Stream<DynamicTest> cases(Path json) {
        Path data = json.resolveSibling(json.getFileName().toString().replace(".json", ".safetensors"));
        JsonObject facts = Json.read(json);
        return facts.objects("cases").stream()
                .map(c -> DynamicTest.dynamicTest(c.string("case"), () -> run(data, facts.object("alibi_slopes"), c)));
    }

    private static void run(Path file, JsonObject slopes, JsonObject c) {
        try (Arena arena = Arena.ofShared();
                Buffers m = new Buffers()) {
            Safetensors t = Safetensors.open(file, arena);
            String in = c.string("inputs") + ".", out = c.string("case") + ".";
            long[] qs = t.get(in + "q").shape(), ks = t.get(in + "k").shape();
            Attention s = attention(c.string("mask"), qs, ks, slopes);
            MemorySegment q = headsInside(t.get(in + "q"), m), k = headsInside(t.get(in + "k"), m);
            MemorySegment v = headsInside(t.get(in + "v"), m), dO = headsInside(t.get(in + "dout"), m);
            long nq = q.byteSize() / 4, nk = k.byteSize() / 4, rows = qs[0] * qs[1] * qs[2];
            for (Kernels kernels : tiers()) {
                MemorySegment o = m.filled(nq, 0), lse = m.filled(rows, 0);
                Kernels.AttentionGrad g = new Kernels.AttentionGrad(
                        m.filled(nq, 0), m.filled(nk, 0), m.filled(nk, 0), dO, o, lse, q, k, v);
                kernels.attention(o, lse, q, k, v, s);
                kernels.attentionGrad(g, s);
                close("out", o, headsInside(t.get(out + "out"), m));
                close("dq", g.dq(), headsInside(t.get(out + "dq"), m));
                close("dk", g.dk(), headsInside(t.get(out + "dk"), m));
                close("dv", g.dv(), headsInside(t.get(out + "dv"), m));
                float[] expected = t.get(out + "lse").floats();
                for (int i = 0; i < expected.length; i++) {
                    // the file has -1e30 where a query sees nothing
                    expected[i] = expected[i] < -1e29 ? Float.NEGATIVE_INFINITY : expected[i];
                }
                close("lse", lse, m.of(expected));
            }
            m.assertGuards();
        }
        cases++;
    }

    private static List<Kernels> tiers() {
        Kernels vector = new VectorKernels();
        return EmittedKernels.obstacle() == null
                ? List.of(new ScalarKernels(), vector, new EmittedKernels(vector, CpuFeatures.best()))
                : List.of(new ScalarKernels(), vector);
    }

    private static void close(String what, MemorySegment got, MemorySegment expected) {
        float[] g = Buffers.floats(got), e = Buffers.floats(expected);
        assertThat(g).hasSameSizeAs(e);
        for (int i = 0; i < g.length; i++) {
            if (g[i] == e[i]) {
                continue;
            }
            double difference = Math.abs(g[i] - e[i]) / Math.max(1, Math.abs(e[i]));
            assertThat(difference)
                    .as("%s[%d]: %s, expected %s", what, i, g[i], e[i])
                    .isLessThan(5e-6);
            worst = Math.max(worst, difference);
        }
    }

    /** [B, H, T, D] of the file as our [B, T, H, D]. */
    private static MemorySegment headsInside(StoredTensor x, Buffers m) {
        int b = (int) x.shape()[0], h = (int) x.shape()[1], t = (int) x.shape()[2], d = (int) x.shape()[3];
        float[] from = x.floats(), to = new float[from.length];
        for (int row = 0; row < b * h * t; row++) {
            int i = row / (h * t), j = row / t % h, l = row % t;
            System.arraycopy(from, row * d, to, ((i * t + l) * h + j) * d, d);
        }
        return m.of(to);
    }

    /** The mask that a case's name spells: full, causal, windowN, segments, leftpad, and alibi behind a plus. */
    private static Attention attention(String mask, long[] q, long[] k, JsonObject slopes) {
        int batch = (int) q[0], heads = (int) q[1], queries = (int) q[2], dim = (int) q[3], keys = (int) k[2];
        boolean causal = true;
        int window = 0;
        int[] querySegments = null, keySegments = null;
        float[] slope = null;
        for (String part : mask.split("\\+")) {
            switch (part.replaceAll("[0-9]+", "")) {
                case "full" -> causal = false;
                case "causal" -> causal = true;
                case "window" -> window = Integer.parseInt(part.substring(6));
                case "segments" -> {
                    keySegments = new int[batch * keys];
                    Arrays.setAll(keySegments, j -> j % keys * 3 / keys);
                    querySegments = keySegments;
                }
                case "leftpad" -> {
                    querySegments = new int[batch * queries];
                    keySegments = new int[batch * keys];
                    Arrays.setAll(keySegments, j -> j % keys < keys / 4 ? -1 : 0);
                }
                case "alibi" -> {
                    double[] given = slopes.numbers(heads + "");
                    slope = new float[heads];
                    for (int h = 0; h < heads; h++) {
                        slope[h] = (float) given[h];
                    }
                }
                default -> throw new AssertionError("a mask that this test does not know: " + mask);
            }
        }
        return new Attention(
                batch,
                queries,
                keys,
                keys,
                heads,
                (int) k[1],
                dim,
                (float) (1 / Math.sqrt(dim)),
                causal,
                window,
                querySegments,
                keySegments,
                slope,
                0,
                0,
                0);
    }
}
