package anneal.bench;

import anneal.kernels.Compute;
import anneal.quant.GgufBlocks;
import anneal.quant.Nf4;
import anneal.quant.QuantFormat;
import anneal.tensor.Tape;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.BiConsumer;

/**
 * End-to-end benchmarks: each case prints JSON lines with median, minimum and maximum of a rate and the peak resident memory.
 *
 * <p>Names and units are those that a Python benchmark of the same cases prints, so that the two can be run in turn on one machine
 * and compared as ratios. Peak memory is the process's: run one case per process to compare it.
 */
public final class Bench {
    private static final Map<String, BiConsumer<Report, Options>> CASES = cases();

    private static Map<String, BiConsumer<Report, Options>> cases() {
        Map<String, BiConsumer<Report, Options>> all = new LinkedHashMap<>();
        all.put("gemm", (report, o) -> KernelCases.gemm(report));
        all.put("gemm-int8", (report, o) -> KernelCases.int8(report));
        all.put("attention", (report, o) -> KernelCases.attention(report));
        all.put("gpt2-train", (report, o) -> ModelCases.gpt2Train(report));
        all.put("smollm-lora", (report, o) -> ModelCases.lora(report, o.model()));
        all.put("smollm-qlora", (report, o) -> QloraCases.smollm(report, o.model()));
        all.put("smollm-sft", (report, o) -> ModelCases.sft(report, o.model()));
        all.put("smollm-prefill", (report, o) -> ModelCases.prefill(report, o.model()));
        all.put("smollm-decode", (report, o) -> ModelCases.decode(report, o.model()));
        for (QloraCases.Part part : QloraCases.Part.values()) {
            all.put("llama-1b-" + part.text(), (report, o) -> QloraCases.llama1b(report, part));
        }
        all.put("llama-3b-qlora", (report, o) -> QloraCases.llama3b(report));
        for (QuantFormat format : List.of(GgufBlocks.Q4_K, GgufBlocks.Q8_0, new Nf4(Nf4.USUAL_BLOCK, true))) {
            String name = format.name().toLowerCase(Locale.ROOT);
            all.put("llama-1b-decode-" + name, (report, o) -> ModelCases.decode(report, format));
        }
        all.put("nf4", (report, o) -> StorageCases.nf4(report));
        all.put("bandwidth", (report, o) -> StorageCases.bandwidth(report));
        all.put("tokenize", TextCases::tokenize);
        return all;
    }

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
    private static final List<String> INT8_CASES =
            List.of("gemm-int8", "smollm-prefill", "smollm-decode", "llama-1b-decode-q4_k", "llama-1b-decode-q8_0");

    /** Runs some cases by name and prints their lines. */
    public static void run(PrintWriter out, List<String> cases, Options options) {
        for (String name : cases) {
            if (!CASES.containsKey(name)) {
                throw new IllegalArgumentException(
                        "bench: unknown case " + name + ", there are " + String.join(", ", CASES.keySet()));
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
            Report report = new Report(out, options.budgetSeconds());
            cases.forEach(name -> CASES.get(name).accept(report, options));
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
