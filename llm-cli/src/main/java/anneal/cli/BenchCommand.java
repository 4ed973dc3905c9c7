package anneal.cli;

import anneal.bench.Bench;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** {@code anneal bench}: times this machine, one JSON line a case. */
@Command(
        name = "bench",
        description = "Times kernels and whole steps on this machine; one JSON line per case.",
        mixinStandardHelpOptions = true,
        sortOptions = false,
        footer = {
            "",
            "Examples:",
            "  anneal bench smollm-lora --model model.gguf --threads 2",
            "  anneal bench --jmh -- ProductBenchmark.forward -p rows=1 -p format=Q4_1"
        })
final class BenchCommand implements Callable<Integer> {
    @Parameters(
            arity = "1..*",
            paramLabel = "CASE",
            description =
                    "gemm, gemm-int8, attention, gpt2-train, smollm-lora, smollm-qlora, smollm-sft, smollm-prefill,"
                            + " smollm-decode, llama-1b-base, -nf4, -double-quant, -adamw-8bit, -paged, -checkpoints"
                            + " (QLoRA's parts, one added after the other, on 1.1 billion random weights),"
                            + " llama-3b-qlora, llama-1b-decode-q4_k, -q8_0, -nf4-dq, nf4, bandwidth, tokenize.")
    List<String> cases;

    @Option(
            names = "--model",
            paramLabel = "PATH",
            description = "SmolLM2-135M for the smollm cases; without it random weights of its shape.")
    Path model;

    @Option(
            names = "--data",
            paramLabel = "FILE",
            description = "Text for tokenize; without it a made-up one of 1.1 MB.")
    Path data;

    @Option(names = "--threads", paramLabel = "N", description = "Default: all cores.")
    Integer threads;

    @Option(
            names = "--compute",
            paramLabel = "NAME",
            description =
                    "Precision of products and attention: ${COMPLETION-CANDIDATES} (default: ${DEFAULT-VALUE}); int8 for"
                            + " gemm-int8, smollm-prefill and smollm-decode only.")
    ComputeName compute = ComputeName.f32;

    @Option(
            names = "--budget",
            paramLabel = "SECONDS",
            description = "Time for each measurement (default: ${DEFAULT-VALUE}).")
    double budget = 25;

    @Option(
            names = "--jmh",
            description = "CASE is a name of a JMH benchmark and what follows are JMH's options, after --.")
    boolean jmh;

    @Option(names = "--config", paramLabel = "FILE", description = "YAML file with the same keys; flags win.")
    Path config;

    @Spec
    CommandSpec spec;

    @Override
    public Integer call() {
        if (jmh && compute != ComputeName.f32) {
            throw new IllegalArgumentException("bench: --compute does not go with --jmh: JMH's benchmarks are f32");
        }
        if (jmh) {
            Bench.jmh(cases);
            return 0;
        }
        ModelFlags.useThreads(threads);
        Bench.run(spec.commandLine().getOut(), cases, new Bench.Options(model, data, budget, compute.precision()));
        return 0;
    }
}
