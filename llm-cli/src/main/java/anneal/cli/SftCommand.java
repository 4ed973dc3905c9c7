package anneal.cli;

import anneal.Pretrained;
import anneal.nn.Linear;
import anneal.nn.TransposedWeight;
import anneal.peft.AdaLora;
import anneal.peft.Adapters;
import anneal.peft.LastLayers;
import anneal.peft.Method;
import anneal.peft.RankReport;
import anneal.quant.Mask;
import anneal.quant.Pruning;
import anneal.quant.QuantFormat;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.function.Predicate;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code anneal sft}: supervised fine-tuning with an adapter, or of all weights. */
@Command(
        name = "sft",
        description = "Fine-tunes a model on instructions, conversations or text.",
        mixinStandardHelpOptions = true,
        sortOptions = false,
        footer = {
            "",
            "Examples:",
            "  anneal sft --model model.gguf --data train.jsonl --iters 200 --output runs/mine",
            "  anneal sft --model folder --data chats/ --epochs 2 --packing --rank 32 --target q_proj,v_proj --output runs/qv",
            "  anneal sft --model folder --data chats/ --adapter adalora --rank 4 --output runs/ranks",
            "  anneal sft --model folder --data chats/ --quantize nf4 --adapter ia3 --output runs/factors",
            "  anneal sft --model folder --data chats/ --adapter-config dora.json --output runs/dora",
            "  anneal sft --model folder --data chats/ --quantize nf4 --grad-checkpoint --optimizer adamw8bit"
                    + " --optimizer-state /tmp --output runs/qlora"
        })
final class SftCommand implements Callable<Integer> {
    @Option(
            names = "--model",
            required = true,
            paramLabel = "PATH",
            description =
                    "Hugging Face folder or .gguf file; quantised weights are trained on as they are, see also --quantize.")
    Path model;

    @Option(names = "--config", paramLabel = "FILE", description = "YAML file with the same keys; flags win.")
    Path config;

    @Mixin
    RunFlags run = new RunFlags();

    @ArgGroup(validate = false, heading = "%nAdapter%n", order = 3)
    AdapterFlags adapter = new AdapterFlags();

    @Option(names = "--full", description = "Train all weights instead of an adapter.")
    boolean full;

    @Option(
            names = "--keep-zeros",
            description =
                    "Weights of the blocks that are 0, as anneal prune leaves them, stay 0: with --full, --adapter lisa or"
                            + " last_layers.")
    boolean keepZeros;

    @ArgGroup(validate = false, heading = "%nQLoRA%n", order = 5)
    QuantizeFlags quantize = new QuantizeFlags();

    @Spec
    CommandSpec spec;

    @Override
    public Integer call() {
        if (full) {
            adapter.requireNone("--full, which trains all weights");
        } else {
            adapter.check("CAUSAL_LM", model.toString());
            run.steps.learningRate = run.steps.learningRate == null ? adapter.rate() : run.steps.learningRate;
        }
        run.check();
        QuantFormat format = format();
        if (keepZeros && !full && !adapter.trainsWeights()) {
            throw new IllegalArgumentException(
                    "--keep-zeros needs --full, --adapter lisa or last_layers: other adapters leave"
                            + " the weights as they are");
        }
        if (keepZeros && format != null) {
            throw new IllegalArgumentException("--keep-zeros does not go with --quantize: rounding makes zeros too");
        }
        ModelFlags.useThreads(run.steps.threads);
        try (Pretrained lm = Pretrained.load(model);
                Arena memory = Arena.ofShared()) {
            adapter.requireFits(run.data, lm.model().contextLength());
            TrainingData data = TrainingData.read(
                    run,
                    d -> lm.hasChatTemplate() ? d.encode(lm.chat()) : d.encode(lm.tokenizer()),
                    run.data.truncate ? TrainingData.Long.TRUNCATED : TrainingData.Long.REFUSED,
                    lm.model().contextLength());
            TrainingRun training = new TrainingRun(spec, run, lm);
            if (full) {
                if (keepZeros) {
                    keepZeros(lm, path -> true, memory);
                }
                RunPlan.requireState(lm.model().config().parameterCount(), run.steps, RunPlan.availableBytes());
                lm.trainable();
                return training.runFull(lm.model().root()::parameters, data);
            }
            if (format != null) {
                QuantizeFlags.apply(format, lm, spec.commandLine().getOut());
            }
            Method method = adapter.method(model.toString(), lm.tokenizer());
            if (keepZeros) {
                keepZeros(lm, trained(method, lm), memory);
            }
            Adapters adapters = method.attach(lm.model().root(), run.steps.seed);
            return training.run(adapters, data, folder -> save(adapters, folder));
        }
    }

    /** Whether a layer of the blocks is trained by a method that trains weights. */
    private static Predicate<String> trained(Method method, Pretrained lm) {
        Map<String, Linear> last =
                method instanceof LastLayers m ? m.layers(lm.model().root()) : null;
        return path -> last == null || last.containsKey(path);
    }

    /** Masks zeros of the layers that are trained. */
    private void keepZeros(Pretrained lm, Predicate<String> trained, Arena memory) {
        Map<String, Linear> layers = lm.model().root().find(Linear.class);
        if (!full && layers.values().stream().anyMatch(l -> l.weight() instanceof TransposedWeight)) {
            // a masked matrix is [out, in]: a file of such copies would not fit the model
            throw new IllegalArgumentException(
                    model + ": --keep-zeros needs --full with this family, whose matrices are stored [in, out]");
        }
        Map<String, Mask> masks = Pruning.keepZeros(lm.model().root(), trained, memory);
        long zeros = masks.values().stream().mapToLong(Mask::dropped).sum();
        long size = masks.keySet().stream()
                .mapToLong(
                        path -> (long) layers.get(path).in() * layers.get(path).out())
                .sum();
        spec.commandLine()
                .getOut()
                .printf(
                        Locale.ROOT,
                        "%,d zeros of %d matrices stay (%.1f %%).%n",
                        zeros,
                        masks.size(),
                        100.0 * zeros / size);
    }

    private QuantFormat format() {
        QuantFormat format = quantize.format();
        if (format != null && full) {
            throw new IllegalArgumentException("--quantize " + quantize.format
                    + " does not go with --full: quantised weights cannot be trained, an adapter on them can");
        }
        return format;
    }

    /** The adapter, and for one that chooses ranks the table and the picture of them. */
    static void save(Adapters adapters, Path folder) {
        adapters.save(folder);
        if (adapters.method() instanceof AdaLora) {
            Path table = folder.resolve("ranks.txt");
            RankReport report = RankReport.of(adapters);
            try {
                Files.writeString(table, report.toString());
            } catch (IOException e) {
                throw new UncheckedIOException(table.toString(), e);
            }
            RankPlot.write(folder.resolve("ranks.png"), report);
        }
    }
}
