package anneal.cli;

import java.nio.file.Path;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code anneal quickstart}: the whole way from nothing to a fine-tuned model, without a download. */
@Command(
        name = "quickstart",
        description =
                "Makes a small world of facts, learns a tokenizer, trains a model from scratch and fine-tunes it with LoRA.",
        mixinStandardHelpOptions = true,
        sortOptions = false,
        footer = {"", "Examples:", "  anneal quickstart", "  anneal quickstart --seed 7 --output runs/seven"})
final class QuickstartCommand implements Callable<Integer> {
    @Option(
            names = "--output",
            paramLabel = "DIR",
            description =
                    "Folder for text, model, adapter and plots; an earlier quickstart there is replaced (default: ${DEFAULT-VALUE}).")
    Path output = Path.of("runs", "quickstart");

    @Option(names = "--seed", paramLabel = "N", description = "Of world and training (default: ${DEFAULT-VALUE}).")
    long seed = 0;

    @Option(names = "--threads", paramLabel = "N", description = "Default: all cores. Changes no result.")
    Integer threads;

    @Option(
            names = "--steps",
            paramLabel = "N",
            description = "Steps of pretraining; fine-tuning makes a twelfth as many (default: ${DEFAULT-VALUE}).")
    int steps = 2700;

    @Option(names = "--config", paramLabel = "FILE", description = "YAML file with the same keys; flags win.")
    Path config;

    @Spec
    CommandSpec spec;

    @Override
    public Integer call() {
        ModelFlags.useThreads(threads);
        new Quickstart(spec.commandLine().getOut(), output, seed, steps).run();
        return 0;
    }
}
