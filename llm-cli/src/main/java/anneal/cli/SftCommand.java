package anneal.cli;

import anneal.Pretrained;
import anneal.peft.AdaLora;
import anneal.peft.Adapters;
import anneal.peft.Lora;
import anneal.peft.Method;
import anneal.peft.RankReport;
import anneal.quant.QuantFormat;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.Callable;
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
            "  anneal sft --model folder --data chats/ --epochs 2 --packing --lora-rank 32 --lora-target q_proj,v_proj --output runs/qv",
            "  anneal sft --model folder --data chats/ --adapter adalora --lora-rank 4 --output runs/ranks",
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
    LoraFlags lora = new LoraFlags();

    @ArgGroup(validate = false, heading = "%nAdaLoRA%n", order = 4)
    AdaLoraFlags adaLora = new AdaLoraFlags();

    @ArgGroup(validate = false, heading = "%nQLoRA%n", order = 5)
    QuantizeFlags quantize = new QuantizeFlags();

    @Spec
    CommandSpec spec;

    static final class LoraFlags {
        @Option(
                names = "--adapter",
                paramLabel = "NAME",
                description =
                        "${COMPLETION-CANDIDATES} (default: ${DEFAULT-VALUE}). adalora moves rank to the modules that need it.")
        AdapterName adapter = AdapterName.lora;

        @Option(
                names = "--lora-rank",
                paramLabel = "R",
                description = "Default: ${DEFAULT-VALUE}; of adalora what stays on average.")
        int rank = 16;

        @Option(
                names = "--lora-alpha",
                paramLabel = "X",
                description = "Scale is alpha / rank (default: ${DEFAULT-VALUE}).")
        double alpha = 32;

        @Option(names = "--lora-dropout", paramLabel = "P", description = "Default: ${DEFAULT-VALUE}.")
        double dropout = 0.05;

        @Option(
                names = "--lora-target",
                paramLabel = "T",
                description = "all-linear, names with commas, or a regular expression (default: ${DEFAULT-VALUE}).")
        String target = "all-linear";

        @Option(names = "--rslora", description = "Scale is alpha / sqrt(rank).")
        boolean rsLora;

        @Option(names = "--full", description = "Train all weights instead of an adapter.")
        boolean full;
    }

    @Override
    public Integer call() {
        if (run.steps.learningRate == null) {
            run.steps.learningRate = lora.adapter.rate;
        }
        run.check();
        checkAdapter();
        QuantFormat format = format();
        ModelFlags.useThreads(run.steps.threads);
        try (Pretrained lm = Pretrained.load(model)) {
            TrainingData data = TrainingData.read(
                    run,
                    d -> lm.hasChatTemplate() ? d.encode(lm.chat()) : d.encode(lm.tokenizer()),
                    run.data.truncate ? TrainingData.Long.TRUNCATED : TrainingData.Long.REFUSED,
                    lm.model().contextLength());
            TrainingRun training = new TrainingRun(spec, run, lm);
            if (lora.full) {
                RunPlan.requireState(lm.model().config().parameterCount(), run.steps, RunPlan.availableBytes());
                lm.trainable();
                return training.run(lm.model().root()::parameters, data, lm::save);
            }
            if (format != null) {
                QuantizeFlags.apply(format, lm, spec.commandLine().getOut());
            }
            Method method = lora.adapter == AdapterName.adalora ? adaLora() : lora();
            Adapters adapters = method.attach(lm.model().root(), run.steps.seed);
            return training.run(adapters, data, folder -> save(adapters, folder));
        }
    }

    private void checkAdapter() {
        if (lora.adapter != AdapterName.adalora || lora.full) {
            adaLora.requireUnused();
        }
        if (lora.adapter == AdapterName.adalora && (lora.rsLora || lora.full)) {
            throw new IllegalArgumentException(
                    "--adapter adalora does not go with " + (lora.full ? "--full" : "--rslora"));
        }
    }

    private QuantFormat format() {
        QuantFormat format = quantize.format();
        if (format != null && lora.full) {
            throw new IllegalArgumentException("--quantize " + quantize.format
                    + " does not go with --full: quantised weights cannot be trained, an adapter on them can");
        }
        return format;
    }

    /** The adapter, and for one that chooses ranks the table of them. */
    static void save(Adapters adapters, Path folder) {
        adapters.save(folder);
        if (adapters.method() instanceof AdaLora) {
            Path table = folder.resolve("ranks.txt");
            try {
                Files.writeString(table, RankReport.of(adapters).toString());
            } catch (IOException e) {
                throw new UncheckedIOException(table.toString(), e);
            }
        }
    }

    private boolean targetsAreNames() {
        return lora.target.matches("[A-Za-z0-9_,.-]+");
    }

    private Lora lora() {
        Lora.Builder b =
                Lora.rank(lora.rank).alpha(lora.alpha).dropout(lora.dropout).baseModel(model.toString());
        b = lora.rsLora ? b.rsLora() : b;
        return (targetsAreNames() ? b.on(lora.target.split(",")) : b.onMatching(lora.target)).build();
    }

    private AdaLora adaLora() {
        AdaLora.Builder b = adaLora.into(AdaLora.rank(lora.rank))
                .alpha(lora.alpha)
                .dropout(lora.dropout)
                .baseModel(model.toString());
        return (targetsAreNames() ? b.on(lora.target.split(",")) : b.onMatching(lora.target)).build();
    }
}
