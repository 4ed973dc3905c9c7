package anneal.cli;

import anneal.Pretrained;
import anneal.kernels.Parallel;
import anneal.nn.LayerWatch;
import anneal.nn.Linear;
import anneal.peft.Adapters;
import anneal.quant.QuantFormat;
import anneal.tensor.DType;
import anneal.tensor.Tape;
import java.io.PrintWriter;
import java.nio.file.Path;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

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

    @ArgGroup(validate = false, heading = "%nAn adapter of QLoRA%n")
    QuantizeFlags quantize = new QuantizeFlags();

    @Spec(Spec.Target.MIXEE)
    CommandSpec spec;

    /** Computes in the precision that was asked for, until closed. */
    Tape.Precision precision() {
        return Tape.compute(compute.precision());
    }

    /** Opens the model, quantised if that is asked for, and the adapter if one is named. */
    Pretrained load() {
        useThreads(threads);
        return load(model, quantize.format(), adapter, spec.commandLine().getErr());
    }

    /**
     * Opens a model.
     *
     * @param format that its linear layers are held in; null = as stored
     * @param adapter folder, or null
     */
    static Pretrained load(Path model, QuantFormat format, Path adapter, PrintWriter err) {
        Pretrained lm = Pretrained.load(model);
        try {
            if (format != null) {
                QuantizeFlags.quantize(format, lm.model(), LayerWatch.NONE);
            }
            if (adapter != null) {
                adapt(lm, adapter, err);
            }
            return lm;
        } catch (RuntimeException | Error e) {
            lm.close();
            throw e;
        }
    }

    /** Puts an adapter on a model and says so if it was trained on the model in few bits and this one is in floats. */
    static Adapters adapt(Pretrained lm, Path adapter, PrintWriter err) {
        boolean floats = lm.model().root().find(Linear.class).values().stream()
                .allMatch(l -> FormatName.FLOATS.matcher(l.weight().format()).matches());
        Adapters adapters = Adapters.load(lm.model().root(), adapter);
        adapters.baseFormat()
                .filter(_ -> floats)
                .flatMap(FormatName::flags)
                .ifPresent(flags -> err.println("Warning: " + adapter + " was trained on a base held in "
                        + adapters.baseFormat().orElseThrow() + "; " + flags + " holds this one so too."));
        return adapters;
    }

    /** Throws if {@link #save} could not write in a type, null being none asked for: before minutes are spent on what is written. */
    static void requireType(DType type, boolean gguf) {
        if (type == null || type == DType.F32 || type == DType.F16 || type == DType.BF16) {
            return;
        }
        if (!gguf || type != DType.Q8_0) {
            throw new IllegalArgumentException(
                    "--dtype " + type + " must be " + (gguf ? "f32, f16, bf16 or q8_0" : "f32, f16 or bf16"));
        }
    }

    /**
     * Writes a model and shows how far it is.
     *
     * @param err not among the results, which others may read
     */
    static void save(Pretrained lm, Path output, boolean gguf, DType type, PrintWriter err) {
        try (Progress progress = new Progress(err, "writing", Progress.UNKNOWN, 0)) {
            if (gguf) {
                lm.saveGguf(output, type, progress::layer);
            } else {
                lm.save(output, type, progress::layer);
            }
        }
    }

    static void useThreads(Integer threads) {
        if (threads != null) {
            Parallel.threads(threads);
        }
    }
}
