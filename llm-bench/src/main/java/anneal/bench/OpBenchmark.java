package anneal.bench;

import anneal.kernels.Activation;
import anneal.kernels.Attention;
import anneal.tensor.Memory;
import anneal.tensor.NllOptions;
import anneal.tensor.Ops;
import anneal.tensor.Rng;
import anneal.tensor.Tape;
import anneal.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;
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

/** Ops between the products, in SmolLM2's sizes: 1,024 rows of 576 or 1,536. */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Warmup(iterations = 5, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(1)
public class OpBenchmark {
    private static final int ROWS = 1024;
    private static final int HEADS = 9;
    private static final int HEAD_DIM = 64;

    private final Arena arena = Arena.ofShared();

    /** Forward only, or backward too. */
    @Param({"false", "true"})
    private boolean backward;

    private Tensor x;
    private Tensor scale;
    private Tensor gate;
    private Tensor up;
    private Tensor q;
    private Tensor k;
    private Tensor v;
    private Tensor logits;
    private int[] targets;

    @Setup
    public void fill() {
        Rng rng = new Rng(0);
        x = parameter(rng, ROWS, HEADS * HEAD_DIM);
        scale = parameter(rng, HEADS * HEAD_DIM);
        gate = parameter(rng, ROWS, 1536);
        up = parameter(rng, ROWS, 1536);
        q = parameter(rng, 4, ROWS / 4, HEADS * HEAD_DIM);
        k = parameter(rng, 4, ROWS / 4, HEADS * HEAD_DIM);
        v = parameter(rng, 4, ROWS / 4, HEADS * HEAD_DIM);
        logits = parameter(rng, 128, 49_152);
        targets = new int[128];
        Arrays.setAll(targets, i -> rng.nextInt(49_152));
    }

    private Tensor parameter(Rng rng, int... dims) {
        return KernelCases.random(arena, rng, dims).trainable(true);
    }

    @Benchmark
    public void rmsNorm() {
        run(() -> Ops.rmsNorm(x, scale, 1e-5f), x, scale);
    }

    @Benchmark
    public void swiGlu() {
        run(() -> Ops.gated(gate, up, Activation.SILU), gate, up);
    }

    @Benchmark
    public void attention() {
        run(() -> Ops.attention(q, k, v, Attention.causal(4, ROWS / 4, HEADS, HEADS, HEAD_DIM)), q, k, v);
    }

    @Benchmark
    public void crossEntropy() {
        run(() -> Ops.nll(logits, targets, NllOptions.PLAIN), logits);
    }

    private void run(Supplier<Tensor> op, Tensor... inputs) {
        try (Memory.Scope scope = Memory.scope()) {
            if (backward) {
                Tape.backward(Ops.sum(op.get()));
                List.of(inputs).forEach(Tensor::zeroGrad);
            } else {
                try (Tape.Pause pause = Tape.pause()) {
                    op.get();
                }
            }
        } finally {
            Tape.clear();
        }
    }

    @TearDown
    public void free() {
        arena.close();
    }
}
