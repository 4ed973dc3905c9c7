package anneal.bench;

import anneal.kernels.Compute;
import anneal.tensor.Tape;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;

/**
 * End-to-end benchmarks: each case prints JSON lines with median, minimum and maximum of a rate and the peak resident memory.
 *
 * <p>Names and units are those that a Python benchmark of the same cases prints, so that the two can be run in turn on one machine
 * and compared as ratios. Peak memory is the process's: run one case per process to compare it.
 */
public final class Bench {
    private static final List<String> CASES = List.of(
            "gemm",
            "gemm-int8",
            "attention",
            "gpt2-train",
            "smollm-lora",
            "smollm-qlora",
            "smollm-sft",
            "smollm-prefill",
            "smollm-decode",
            "nf4",
            "bandwidth",
            "tokenize");

    /** Cases without products, whose precision could be chosen. */
    private static final List<String> WITHOUT_PRODUCTS = List.of("tokenize", "nf4", "bandwidth");

    private Bench() {}

    /**
     * What the cases run on.
     *
     * @param model SmolLM2-135M, or null: random weights of its shape
     * @param text file for the tokenizer cases, or null: a made-up one
     * @param budgetSeconds time for each measurement
     * @param compute precision of products and attention; other names than F32's say which
     */
    public record Options(Path model, Path text, double budgetSeconds, Compute compute) {
        public Options {
            if (!(budgetSeconds > 0)) {
                throw new IllegalArgumentException("bench: budget " + budgetSeconds + " must be positive");
            }
        }
    }

    /** Where INT8 can be anything else than F32. */
    private static final List<String> INT8_CASES = List.of("gemm-int8", "smollm-prefill", "smollm-decode");

    /** Runs some cases by name and prints their lines. */
    public static void run(PrintWriter out, List<String> cases, Options options) {
        for (String name : cases) {
            if (!CASES.contains(name)) {
                throw new IllegalArgumentException(
                        "bench: unknown case " + name + ", there are " + String.join(", ", CASES));
            }
            if (options.compute() != Compute.F32 && WITHOUT_PRODUCTS.contains(name)) {
                throw new IllegalArgumentException("bench: " + name + " multiplies nothing, so it has no --compute");
            }
            if (options.compute() == Compute.BF16 && name.equals("gemm-int8")) {
                throw new IllegalArgumentException("bench: gemm-int8 multiplies integers, so it has no --compute bf16");
            }
            if (options.compute() == Compute.INT8 && !INT8_CASES.contains(name)) {
                throw new IllegalArgumentException("bench: int8 is for using block-quantised matrices: it goes with "
                        + String.join(", ", INT8_CASES) + ", not with " + name);
            }
        }
        try (Tape.Precision precision = Tape.compute(options.compute())) {
            run(new Report(out, options.budgetSeconds()), cases, options);
        }
    }

    private static void run(Report report, List<String> cases, Options options) {
        for (String name : cases) {
            switch (name) {
                case "gemm" -> KernelCases.gemm(report);
                case "gemm-int8" -> KernelCases.int8(report);
                case "attention" -> KernelCases.attention(report);
                case "gpt2-train" -> ModelCases.gpt2Train(report);
                case "smollm-lora" -> ModelCases.lora(report, options.model());
                case "smollm-qlora" -> ModelCases.qlora(report, options.model());
                case "smollm-sft" -> ModelCases.sft(report, options.model());
                case "smollm-prefill" -> ModelCases.prefill(report, options.model());
                case "smollm-decode" -> ModelCases.decode(report, options.model());
                case "nf4" -> StorageCases.nf4(report);
                case "bandwidth" -> StorageCases.bandwidth(report);
                case "tokenize" -> TextCases.tokenize(report, options);
                default -> throw new AssertionError(name);
            }
        }
    }

    /** A case's name with the precision of its products behind the first word, unless that is the usual one. */
    static String named(String name) {
        return Tape.compute() == Compute.F32
                ? name
                : name.replaceFirst("(?= |$)", "-" + Tape.compute().name().toLowerCase(Locale.ROOT));
    }

    /**
     * Runs the JMH benchmarks whose names match: {@link ProductBenchmark}, {@link OpBenchmark}. Each runs in a JVM of its own, with
     * the flags of this one.
     *
     * @param arguments what JMH's own command line takes: regular expressions of names, then options such as {@code -p rows=1}
     */
    public static void jmh(List<String> arguments) {
        try {
            org.openjdk.jmh.Main.main(arguments.toArray(String[]::new));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
