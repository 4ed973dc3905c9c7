package anneal.cli;

import anneal.Pretrained;
import anneal.peft.Adapters;
import anneal.tensor.DType;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code anneal merge}: writes base and adapter as one model. */
@Command(
        name = "merge",
        description = "Writes a model with an adapter merged into its weights.",
        mixinStandardHelpOptions = true,
        sortOptions = false,
        footer = {
            "",
            "Examples:",
            "  anneal merge --model model.gguf --adapter runs/mine --output merged",
            "  anneal merge --model folder --adapter runs/mine --output merged.gguf --format gguf --dtype q8_0"
        })
final class MergeCommand implements Callable<Integer> {
    enum Format {
        safetensors,
        gguf
    }

    @Option(names = "--model", required = true, paramLabel = "PATH", description = "Base model: folder or .gguf file.")
    Path model;

    @Option(names = "--adapter", required = true, paramLabel = "DIR", description = "LoRA adapter.")
    Path adapter;

    @Option(names = "--output", required = true, paramLabel = "PATH", description = "New folder, or .gguf file.")
    Path output;

    @Option(names = "--format", paramLabel = "F", description = "${COMPLETION-CANDIDATES} (default: ${DEFAULT-VALUE}).")
    Format format = Format.safetensors;

    @Option(names = "--dtype", paramLabel = "T", description = "f32, f16, bf16; for gguf also q8_0 (default: f32).")
    DType dtype = DType.F32;

    @Option(names = "--config", paramLabel = "FILE", description = "YAML file with the same keys; flags win.")
    Path config;

    @Spec
    CommandSpec spec;

    @Override
    public Integer call() {
        RunFolder.requireNew(output, "");
        try (Pretrained lm = Pretrained.load(model)) {
            Adapters.load(lm.model().root(), adapter).merge();
            if (format == Format.gguf) {
                lm.saveGguf(output, dtype);
            } else {
                lm.save(output, dtype);
            }
            spec.commandLine().getOut().println("Merged model written to " + output);
        }
        return 0;
    }
}
