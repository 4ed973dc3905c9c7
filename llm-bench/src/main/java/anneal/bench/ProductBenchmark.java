package anneal.bench;

import anneal.kernels.BlockFormat;
import anneal.kernels.BlockMatrix;
import anneal.kernels.F32Matrix;
import anneal.kernels.Kernels;
import anneal.kernels.Matrix;
import anneal.tensor.Rng;
import anneal.tensor.Shape;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/** The three products of a linear layer, x [rows, in] and W [out, in], from f32 and stored weights. */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Warmup(iterations = 5, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(1)
public class ProductBenchmark {
    private final Kernels kernels = Kernels.get();
    private final Arena arena = Arena.ofShared();

    /** Rows of x: 1 is decoding. */
    @Param({"1", "1024"})
    private int rows;

    /** W, in x out: SmolLM2's attention, its feed-forward, and rank 16. */
    @Param({"576x576", "576x1536", "1536x576", "576x16"})
    private String shape;

    /** How W is stored. */
    @Param({"F32", "Q4_1", "Q8_0"})
    private String format;

    private Tensor x;
    private Tensor y;
    private Tensor dw;
    private Matrix w;

    @Setup
    public void fill() {
        int in = Integer.parseInt(shape.split("x")[0]), out = Integer.parseInt(shape.split("x")[1]);
        Rng rng = new Rng(0);
        x = KernelCases.random(arena, rng, rows, in);
        y = KernelCases.random(arena, rng, rows, out);
        dw = Tensor.allocate(arena, Shape.of(out, in));
        if (format.equals("F32")) {
            w = new F32Matrix(KernelCases.random(arena, rng, out, in).buf(), out, in);
        } else {
            BlockFormat block = BlockFormat.valueOf(format);
            w = new BlockMatrix(arena.allocate((long) out * in / block.size() * block.bytes()), out, in, block);
        }
    }

    /** y = x wT. */
    @Benchmark
    public void forward() {
        kernels.matmulT(y.buf(), x.buf(), w, rows, 1f, false);
    }

    /** dx = dy w. */
    @Benchmark
    public void inputGradient() {
        kernels.matmul(x.buf(), y.buf(), w, rows, 1f, false);
    }

    /** dw = dyT x; it does not read w. */
    @Benchmark
    public void weightGradient() {
        kernels.matmulTN(dw.buf(), y.buf(), x.buf(), w.rows(), w.cols(), rows, 1f, false);
    }

    @TearDown
    public void free() {
        arena.close();
    }
}
