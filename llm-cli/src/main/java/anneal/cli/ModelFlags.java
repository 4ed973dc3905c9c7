package anneal.cli;

import anneal.Pretrained;
import anneal.kernels.Parallel;
import anneal.peft.Adapters;
import anneal.tensor.Tape;
import java.nio.file.Path;
import picocli.CommandLine.Option;

/** Which model, with which adapter, on how many threads, in which precision. */
final class ModelFlags {
    @Option(
            names = "--model",
            required = true,
            paramLabel = "PATH",
            description = "Hugging Face folder (config.json, model.safetensors, tokenizer.json) or .gguf file.")
    Path model;

    @Option(names = "--adapter", paramLabel = "DIR", description = "Adapter to use on it (PEFT's files).")
    Path adapter;

    @Option(names = "--threads", paramLabel = "N", description = "Threads. Default: all cores.")
    Integer threads;

    @Option(
            names = "--compute",
            paramLabel = "NAME",
            description = "Precision of products and attention: ${COMPLETION-CANDIDATES} (default: ${DEFAULT-VALUE}).")
    ComputeName compute = ComputeName.f32;

    /** Computes in the precision that was asked for, until closed. */
    Tape.Precision precision() {
        return Tape.compute(compute.precision());
    }

    /** Opens the model, and the adapter if one is named. */
    Pretrained load() {
        useThreads(threads);
        Pretrained lm = Pretrained.load(model);
        if (adapter != null) {
            Adapters.load(lm.model().root(), adapter);
        }
        return lm;
    }

    static void useThreads(Integer threads) {
        if (threads != null) {
            Parallel.threads(threads);
        }
    }
}
