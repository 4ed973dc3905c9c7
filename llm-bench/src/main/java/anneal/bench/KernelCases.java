package anneal.bench;

import anneal.kernels.Attention;
import anneal.kernels.F32Matrix;
import anneal.kernels.Kernels;
import anneal.tensor.Memory;
import anneal.tensor.Ops;
import anneal.tensor.Rng;
import anneal.tensor.Shape;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** Products and attention on random numbers. */
final class KernelCases {
    private static final int[][] PRODUCTS = {
        {512, 2048, 2048}, {2048, 2048, 2048}, {1, 2048, 8192}, {512, 576, 49152}, {1024, 576, 1536}, {1024, 1536, 576}
    };
    private static final int[][] ATTENTIONS = {{4, 9, 256, 64}, {1, 9, 1024, 64}, {1, 9, 4096, 64}, {1, 16, 2048, 128}};

    private KernelCases() {}

    static Tensor random(Arena arena, Rng rng, int... dims) {
        Tensor x = Tensor.allocate(arena, Shape.of(dims));
        float[] values = new float[Math.toIntExact(x.size())];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) rng.nextGaussian();
        }
        x.set(values);
        return x;
    }

    static void gemm(Report report) {
        Kernels kernels = Kernels.get(Tape.compute());
        for (int[] s : PRODUCTS) {
            int m = s[0], k = s[1], n = s[2];
            try (Arena arena = Arena.ofShared()) {
                Rng rng = new Rng(0);
                Tensor x = random(arena, rng, m, k),
                        w = random(arena, rng, n, k),
                        y = Tensor.allocate(arena, Shape.of(m, n));
                F32Matrix matrix = new F32Matrix(w.buf(), n, k);
                double work = 2.0 * m * k * n / 1e9;
                Report.Runs runs = new Report.Runs(m == 1 ? 200 : 20, 15);
                report.rate(
                        Bench.named("gemm " + m + "x" + k + "x" + n),
                        "GFLOP/s",
                        work,
                        runs,
                        () -> kernels.matmulT(y.buf(), x.buf(), matrix, m, 1f, false));
            }
        }
    }

    /** Products of signed bytes with 32-bit sums. */
    static void int8(Report report) {
        Kernels kernels = Kernels.get();
        for (int[] s : PRODUCTS) {
            int m = s[0], k = s[1], n = s[2];
            try (Arena arena = Arena.ofShared()) {
                MemorySegment x = bytes(arena, (long) m * k), w = bytes(arena, (long) n * k);
                MemorySegment y = arena.allocate(4L * m * n, 64);
                Report.Runs runs = new Report.Runs(m == 1 ? 200 : 20, 15);
                report.rate("gemm-int8 " + m + "x" + k + "x" + n, "GOP/s", 2.0 * m * k * n / 1e9, runs, () -> {
                    kernels.matmulTInt8(y, x, w, m, n, k);
                });
            }
        }
    }

    private static MemorySegment bytes(Arena arena, long n) {
        MemorySegment s = arena.allocate(n, 64);
        Rng rng = new Rng(0);
        for (long i = 0; i < n; i++) {
            s.set(ValueLayout.JAVA_BYTE, i, (byte) rng.nextInt(256));
        }
        return s;
    }

    static void attention(Report report) {
        for (int[] s : ATTENTIONS) {
            int b = s[0], h = s[1], t = s[2], d = s[3];
            Attention spec = Attention.causal(b, t, h, h, d);
            double work = 2.0 * 2 * b * h * t * t * d / 2 / 1e9;
            String name = " B" + b + "H" + h + "T" + t + "D" + d;
            try (Arena arena = Arena.ofShared()) {
                Rng rng = new Rng(0);
                Tensor[] qkv = new Tensor[3];
                for (int i = 0; i < 3; i++) {
                    qkv[i] = random(arena, rng, b, t, h * d).trainable(true);
                }
                report.rate(
                        Bench.named("attention-fwd" + name), "GFLOP/s(causal)", work, new Report.Runs(10, 7), () -> {
                            try (Memory.Scope scope = Memory.scope();
                                    Tape.Pause pause = Tape.pause()) {
                                Ops.attention(qkv[0], qkv[1], qkv[2], spec);
                            }
                        });
                report.rate(
                        Bench.named("attention-fwdbwd" + name),
                        "GFLOP/s(causal)",
                        3.5 * work,
                        new Report.Runs(6, 7),
                        () -> {
                            try (Memory.Scope scope = Memory.scope()) {
                                Tape.backward(Ops.sum(Ops.attention(qkv[0], qkv[1], qkv[2], spec)));
                            }
                        });
            }
        }
    }
}
