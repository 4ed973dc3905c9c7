package anneal.cli;

import anneal.Pretrained;
import anneal.data.Jsonl;
import anneal.data.Sample;
import anneal.io.Json;
import anneal.model.DecoderConfig;
import anneal.model.Family;
import anneal.text.BpeTrainer;
import anneal.text.Tokenizer;
import anneal.text.Tokenizers;
import java.nio.file.Path;
import java.util.Iterator;
import java.util.concurrent.Callable;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code anneal pretrain}: a model from scratch. */
@Command(
        name = "pretrain",
        description = "Trains a LLaMA model from random weights on text, with a tokenizer that is given or learnt.",
        mixinStandardHelpOptions = true,
        sortOptions = false,
        footer = {
            "",
            "Examples:",
            "  anneal pretrain --data text.txt --vocab-size 2000 --iters 1000 --output runs/tiny",
            "  anneal pretrain --model-config config.json --tokenizer folder --data texts/ --epochs 1 --packing --output runs/mine"
        })
final class PretrainCommand implements Callable<Integer> {
    @Mixin
    RunFlags run = new RunFlags();

    @ArgGroup(validate = false, heading = "%nModel%n", order = 3)
    Shape shape = new Shape();

    @Option(names = "--config", paramLabel = "FILE", description = "YAML file with the same keys; flags win.")
    Path config;

    @Spec
    CommandSpec spec;

    static final class Shape {
        @Option(
                names = "--model-config",
                paramLabel = "FILE",
                description = "A config.json of any known architecture; replaces the sizes below.")
        Path modelConfig;

        @Option(
                names = "--tokenizer",
                paramLabel = "PATH",
                description = "tokenizer.json, tokenizer.model or their folder.")
        Path tokenizer;

        @Option(
                names = "--vocab-size",
                paramLabel = "N",
                description = "Without --tokenizer: learn one of this size from the data (default: ${DEFAULT-VALUE}).")
        int vocabSize = 4096;

        @Option(names = "--hidden-size", paramLabel = "N", description = "Default: ${DEFAULT-VALUE}.")
        int hiddenSize = 256;

        @Option(names = "--layers", paramLabel = "N", description = "Default: ${DEFAULT-VALUE}.")
        int layers = 6;

        @Option(names = "--heads", paramLabel = "N", description = "Default: ${DEFAULT-VALUE}.")
        int heads = 8;

        @Option(names = "--kv-heads", paramLabel = "N", description = "Default: as many as heads.")
        Integer kvHeads;
    }

    @Override
    public Integer call() {
        run.check();
        if (run.data.truncate) {
            throw new IllegalArgumentException("--truncate: pretrain cuts long texts up and loses nothing of them");
        }
        ModelFlags.useThreads(run.steps.threads);
        Tokenizer tokenizer = shape.tokenizer != null ? Tokenizers.load(shape.tokenizer) : learn();
        DecoderConfig config = decoderConfig(tokenizer);
        RunPlan.requireState(config.parameterCount(), run.steps, RunPlan.availableBytes());
        try (Pretrained lm = Pretrained.create(config, tokenizer, run.steps.seed)) {
            TrainingData data = TrainingData.read(
                    run,
                    d -> d.encode(tokenizer),
                    TrainingData.Long.CUT_UP,
                    lm.model().contextLength());
            return new TrainingRun(spec, run, lm).runFull(lm.model().root()::parameters, data);
        }
    }

    private Tokenizer learn() {
        Iterable<String> texts = () -> texts(Jsonl.read(run.data.train).iterator());
        return new BpeTrainer(shape.vocabSize)
                .specialTokens("<|endoftext|>")
                .eos("<|endoftext|>")
                .train(texts);
    }

    private static Iterator<String> texts(Iterator<Sample> samples) {
        return new Iterator<>() {
            @Override
            public boolean hasNext() {
                return samples.hasNext();
            }

            @Override
            public String next() {
                Sample sample = samples.next();
                if (sample instanceof Sample.Text t) {
                    return t.text();
                }
                throw new IllegalArgumentException(
                        sample.name() + ": pretraining needs plain text (.txt, or records with the key text)");
            }
        };
    }

    private DecoderConfig decoderConfig(Tokenizer tokenizer) {
        if (shape.modelConfig != null) {
            return DecoderConfig.of(Json.read(shape.modelConfig));
        }
        RunFlags.require("--hidden-size", shape.hiddenSize, 1);
        RunFlags.require("--layers", shape.layers, 1);
        RunFlags.require("--heads", shape.heads, 1);
        if (shape.hiddenSize % shape.heads != 0) {
            throw new IllegalArgumentException(
                    "--hidden-size " + shape.hiddenSize + " must be a multiple of --heads " + shape.heads);
        }
        return DecoderConfig.builder(Family.LLAMA)
                .vocabSize(tokenizer.vocabSize())
                .hiddenSize(shape.hiddenSize)
                .feedForwardSize(Math.ceilDiv(shape.hiddenSize * 8 / 3, 32) * 32)
                .layers(shape.layers)
                .heads(shape.heads, shape.kvHeads == null ? shape.heads : shape.kvHeads, shape.hiddenSize / shape.heads)
                .contextLength(run.data.maxSeqLength)
                .tied(true)
                .build();
    }
}
