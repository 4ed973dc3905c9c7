package anneal.cli;

import anneal.kernels.Compute;
import anneal.kernels.F32Matrix;
import anneal.kernels.Kernels;
import anneal.kernels.Parallel;
import anneal.model.CausalLm;
import anneal.model.Decoder;
import anneal.model.DecoderConfig;
import anneal.nn.Linear;
import anneal.nn.Weight;
import anneal.quant.MaskedWeight;
import anneal.tensor.Memory;
import anneal.tensor.Shape;
import anneal.tensor.Tensor;
import anneal.train.UpdateRule;
import java.io.PrintWriter;
import java.lang.management.ManagementFactory;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Collectors;

/**
 * What a run will train and need, said before it starts.
 *
 * <p>Memory is the sum of: weights as stored; parameter, gradient and optimiser state of what is trained; the activations that the
 * backward pass reads; one chunk of logits with its gradient; the JVM. Time is floating-point work (2 per weight and token forward,
 * 2 for the gradient of the input, 2 more where the weight is trained) at the speed of one product measured now.
 */
record RunPlan(
        Map<String, long[]> trained,
        long parameters,
        long trainedParameters,
        String stored,
        Bytes bytes,
        double secondsPerStep) {
    static final String RAISE_HEAP = "raise it with -Xmx (ANNEAL_JAVA_OPTS=-Xmx2g)";
    private static final double GIB = 1L << 30;

    /** Heap that a run needs beyond what is used before it: packed panels of the kernels for all threads and for each, the plot. */
    private static final long SHARED_HEAP = 24L << 20, THREAD_HEAP = 4L << 20;

    /** Integers of a token in a batch: id, target, segment, position; the next batch is made beside it. */
    private static final int BATCH_BYTES = 2 * 4 * Integer.BYTES;

    private static final long JVM = 320L << 20;

    /** One chunk of logits; the largest operand of a product, so that a rounded copy of an operand takes no more. */
    private static final long LOGITS = 64L << 20;

    /** A typical matrix, by whose state that of parameters is judged which are not there yet. */
    private static final Shape TYPICAL = Shape.of(1024, 1024);

    /** The parts of peak memory. */
    record Bytes(long weights, long state, long activations, long work, long heap) {
        long total() {
            return weights + state + activations + work;
        }
    }

    static RunPlan of(
            CausalLm model, DecoderConfig config, Map<String, Tensor> parameters, RunFlags flags, int rowLength) {
        Map<String, long[]> groups = new LinkedHashMap<>();
        long trained = 0, state = 0;
        for (var e : parameters.entrySet()) {
            String kind = e.getKey().replaceAll("\\.\\d+\\.", ".*.");
            long[] group = groups.computeIfAbsent(kind, k -> new long[2]);
            group[0]++;
            group[1] += e.getValue().size();
            trained += e.getValue().size();
            state += stateBytes(e.getValue().shape(), flags.steps);
        }
        long tokens = (long) flags.steps.batchSize * rowLength;
        Bytes bytes = new Bytes(
                storedBytes(model),
                state,
                activations(config, flags, tokens)
                        // W * mask is kept for the backward pass of all blocks, or of the one that is made again
                        + maskBytes(model) / (flags.steps.gradCheckpoint ? config.layers() : 1),
                JVM + LOGITS + (flags.steps.compute == ComputeName.f32 ? 0 : LOGITS) + 8L * tokens,
                SHARED_HEAP + Parallel.threads() * THREAD_HEAP + BATCH_BYTES * tokens);
        double work = 4.0 * config.parameterCount() * tokens + 2.0 * trained * tokens;
        return new RunPlan(
                groups,
                config.parameterCount(),
                trained,
                storage(model),
                bytes,
                work * flags.steps.accumulation / productSpeed(flags.steps.compute.precision()));
    }

    /**
     * The same with a teacher: its weights, what it computes (2 operations per weight and token, where a student of which all is
     * trained needs 6), and whole distributions at so many positions: the student's logits, their gradient, the teacher's logits.
     */
    RunPlan withTeacher(Decoder teacher, long tokens) {
        long logits = 3 * Float.BYTES * tokens * teacher.vocabSize();
        Bytes more = new Bytes(
                bytes.weights + storedBytes(teacher), bytes.state, bytes.activations + logits, bytes.work, bytes.heap);
        double relative = teacher.config().parameterCount() / (3.0 * parameters);
        return new RunPlan(trained, parameters, trainedParameters, stored, more, secondsPerStep * (1 + relative));
    }

    /** Bytes of a parameter, its gradient, and what the optimiser remembers in memory. */
    private static long stateBytes(Shape parameter, RunFlags.Steps s) {
        long remembered = s.optimizerState != null
                ? 0
                : s.optimizer.of(s.weightDecay).slots(parameter).stream()
                        .mapToLong(UpdateRule.Slot::bytes)
                        .sum();
        return 2 * Float.BYTES * parameter.size() + remembered;
    }

    /** "NF4-DQ, F32": the formats that linear layers are stored in. */
    private static String storage(CausalLm model) {
        return model.root().find(Linear.class).values().stream()
                .map(linear -> linear.weight().format())
                .distinct()
                .collect(Collectors.joining(", "));
    }

    private static long storedBytes(CausalLm model) {
        long bytes = maskBytes(model);
        for (Linear linear : model.root().find(Linear.class).values()) {
            Weight w = linear.weight();
            bytes += w.parameter().filter(Tensor::tracked).isPresent()
                    ? 0
                    : w.matrix().bytes();
        }
        return bytes;
    }

    private static long maskBytes(CausalLm model) {
        return model.root().find(Linear.class).values().stream()
                .map(Linear::weight)
                .filter(w -> w instanceof MaskedWeight)
                .mapToLong(w -> (long) Float.BYTES * w.out() * w.in())
                .sum();
    }

    /** Of floats per token that a block keeps: two streams, queries, keys, values, attention's output, gate and up projection. */
    private static long activations(DecoderConfig c, RunFlags flags, long tokens) {
        long perBlock = 2L * c.hiddenSize()
                + (2L * c.heads().query() + 2L * c.heads().kv()) * c.heads().dim()
                + 2L * c.feedForwardSize();
        long floats =
                flags.steps.gradCheckpoint ? (long) c.layers() * c.hiddenSize() + 2 * perBlock : c.layers() * perBlock;
        return 4 * tokens * (floats + 4L * c.hiddenSize()) + (64L << 20);
    }

    /** Floating-point operations per second of one medium product. */
    private static double productSpeed(Compute compute) {
        try (Memory.Scope scope = Memory.scope()) {
            Tensor x = Tensor.zeros(512, 512), w = Tensor.zeros(512, 512), y = Tensor.zeros(512, 512);
            F32Matrix matrix = new F32Matrix(w.buf(), 512, 512);
            double best = 0;
            for (int i = 0; i < 40; i++) {
                long start = System.nanoTime();
                Kernels.get(compute).matmulT(y.buf(), x.buf(), matrix, 512, 1f, false);
                best = Math.max(best, 2.0 * 512 * 512 * 512 / ((System.nanoTime() - start) * 1e-9));
            }
            return 0.7 * best;
        }
    }

    /** Memory that is free on this machine now, page cache included as far as the system tells. */
    static long availableBytes() {
        var os = (com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        java.nio.file.Path info = java.nio.file.Path.of("/proc/meminfo");
        if (java.nio.file.Files.isReadable(info)) {
            try (var lines = java.nio.file.Files.lines(info)) {
                return lines.filter(l -> l.startsWith("MemAvailable:"))
                        .mapToLong(l -> Long.parseLong(l.replaceAll("[^0-9]", "")) * 1024)
                        .findFirst()
                        .orElse(os.getFreeMemorySize());
            } catch (java.io.IOException e) {
                return os.getFreeMemorySize();
            }
        }
        return os.getFreeMemorySize();
    }

    /**
     * Throws if the trained state of so many parameters cannot fit: before the weights take their memory, since a system that
     * has none left may end the process without a word.
     */
    static void requireState(long parameters, RunFlags.Steps steps, long available) {
        double need = (double) stateBytes(TYPICAL, steps) / TYPICAL.size() * parameters;
        if (need > available) {
            throw new IllegalArgumentException(String.format(
                    Locale.ROOT,
                    "not enough memory: to train %,d parameters needs about %.1f GiB for weights, gradients and optimiser, and"
                            + " %.1f GiB are free",
                    parameters,
                    need / GIB,
                    available / GIB));
        }
    }

    /** Throws if what the run adds to the trained weights, which are in memory already, cannot fit. */
    void requireMemory(long available) {
        long need = bytes.total() - Float.BYTES * trainedParameters;
        if (need > available) {
            throw new IllegalArgumentException(String.format(
                    Locale.ROOT,
                    "not enough memory: this run needs about %.1f GiB and %.1f GiB are free; use --grad-checkpoint, a smaller "
                            + "--batch-size or --max-seq-length",
                    need / GIB,
                    available / GIB));
        }
    }

    /** Throws if what lies in the Java heap now, model and data being open, and what the run adds do not fit {@code most}. */
    void requireHeap(long most) {
        System.gc();
        Runtime jvm = Runtime.getRuntime();
        long need = jvm.totalMemory() - jvm.freeMemory() + bytes.heap;
        if (need > most) {
            throw new IllegalArgumentException(String.format(
                    Locale.ROOT,
                    "not enough memory: this run needs about %d MiB of Java heap and -Xmx allows %d MiB; %s",
                    need >> 20,
                    most >> 20,
                    RAISE_HEAP));
        }
    }

    void print(PrintWriter out, long steps) {
        out.printf(
                Locale.ROOT,
                "Training %,d of %,d parameters (%.2f %%):%n",
                trainedParameters,
                parameters,
                100.0 * trainedParameters / parameters);
        trained.forEach((kind, n) -> out.printf(Locale.ROOT, "  %-64s %4d x %,d%n", kind, n[0], n[1] / n[0]));
        out.printf(
                Locale.ROOT,
                "Peak memory about %.1f GiB (weights %.2f as %s, trained state %.2f, activations %.2f, rest %.2f), time about %s for %d steps.%n",
                bytes.total() / GIB,
                bytes.weights / GIB,
                stored,
                bytes.state / GIB,
                bytes.activations / GIB,
                bytes.work / GIB,
                Progress.time(secondsPerStep * steps),
                steps);
    }
}
