package anneal.bench;

import anneal.kernels.F32Matrix;
import anneal.kernels.Kernels;
import anneal.kernels.Matrix;
import anneal.kernels.Parallel;
import anneal.quant.Nf4;
import anneal.tensor.Rng;
import anneal.tensor.Shape;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** What storing and reading numbers costs. */
final class StorageCases {
    private static final int SIDE = 2048;
    private static final long FLOATS = 1L << 28;
    private static final int TASKS = 64;

    private StorageCases() {}

    /** NF4 with double quantisation of a square matrix of normal numbers, and back to floats. */
    static void nf4(Report report) {
        Nf4 format = new Nf4(Nf4.USUAL_BLOCK, true);
        double gigabytes = 4.0 * SIDE * SIDE / 1e9;
        try (Arena arena = Arena.ofShared()) {
            Tensor w = KernelCases.random(arena, new Rng(0), SIDE, SIDE),
                    y = Tensor.allocate(arena, Shape.of(SIDE, SIDE));
            Matrix floats = new F32Matrix(w.buf(), SIDE, SIDE);
            report.rate("nf4-quantize", "GB/s", gigabytes, new Report.Runs(50, 15), () -> {
                try (Arena one = Arena.ofShared()) {
                    format.quantize(floats, one);
                }
            });
            Matrix codes = format.quantize(floats, arena).matrix();
            report.rate("nf4-dequantize", "GB/s", gigabytes, new Report.Runs(200, 50), () -> {
                Kernels.get().widen(y.buf(), codes);
            });
        }
    }

    /** Reading a gigabyte: the limit of whatever reads weights once for each token. */
    static void bandwidth(Report report) {
        try (Arena arena = Arena.ofShared()) {
            MemorySegment x = arena.allocate(4 * FLOATS, 64);
            long piece = FLOATS / TASKS;
            x.fill((byte) 1);
            report.rate("bandwidth read", "GB/s", 4.0 * FLOATS / 1e9, new Report.Runs(5, 15), () -> {
                double[] sums = new double[TASKS];
                Parallel.run(TASKS, t -> sums[t] = Kernels.get().sum(x.asSlice(4 * piece * t, 4 * piece), piece));
            });
        }
    }
}
