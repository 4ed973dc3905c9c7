package anneal.cli;

import anneal.Classification;
import anneal.Confusion;
import anneal.Pretrained;
import anneal.data.LabelledDataset;
import anneal.data.LabelledText;
import anneal.io.Json;
import anneal.io.JsonObject;
import anneal.model.SequenceClassifier;
import anneal.peft.Adapters;
import anneal.tensor.Tape;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.stream.IntStream;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code anneal classify}: a classifier of texts, by an adapter and a new head. */
@Command(
        name = "classify",
        description =
                "Trains a model to tell labels apart with an adapter and a new head, or evaluates one that is saved.",
        mixinStandardHelpOptions = true,
        sortOptions = false,
        footer = {
            "",
            "Data: one record a line, {\"text\": \"Great fun.\", \"label\": \"good\"}.",
            "",
            "Examples:",
            "  anneal classify --model folder --data train.jsonl --epochs 3 --output runs/mood",
            "  anneal classify --model folder --data train.jsonl --valid valid.jsonl --adapter ia3 --output runs/ia3",
            "  anneal classify --model folder --data test.jsonl --evaluate runs/mood"
        })
final class ClassifyCommand implements Callable<Integer> {
    /** Names of the labels beside an adapter, under the key that config.json of transformers has for them. */
    private static final String LABELS = "labels.json", ID2LABEL = "id2label";

    /** What means something without training. */
    private static final Set<String> EVALUATION = Set.of(
            "--model",
            "--data",
            "--evaluate",
            "--batch-size",
            "--max-seq-length",
            "--truncate",
            "--compute",
            "--threads",
            "--verbose");

    @Option(names = "--model", required = true, paramLabel = "PATH", description = "Hugging Face folder or .gguf file.")
    Path model;

    @Option(names = "--config", paramLabel = "FILE", description = "YAML file with the same keys; flags win.")
    Path config;

    @Option(
            names = "--evaluate",
            paramLabel = "DIR",
            description = "Train nothing: what the classifier saved in this folder says to --data.")
    Path evaluate;

    @Mixin
    RunFlags run = new RunFlags();

    @ArgGroup(validate = false, heading = "%nAdapter%n", order = 3)
    AdapterFlags adapter = new AdapterFlags();

    @Spec
    CommandSpec spec;

    @Override
    public Integer call() {
        if (evaluate != null) {
            return evaluateSaved();
        }
        adapter.check("SEQ_CLS", model.toString());
        run.steps.learningRate = run.steps.learningRate == null ? adapter.rate() : run.steps.learningRate;
        run.check();
        if (run.data.packing || run.steps.labelSmoothing != 0) {
            throw new IllegalArgumentException(
                    (run.data.packing ? "--packing" : "--label-smoothing") + " does not go with classify");
        }
        ModelFlags.useThreads(run.steps.threads);
        try (Pretrained lm = Pretrained.load(model);
                Arena arena = Arena.ofShared()) {
            TrainingData.requireWithin(run.data, lm.model().contextLength());
            adapter.requireFits(run.data, lm.model().contextLength());
            ClassificationData data = ClassificationData.read(run, lm.tokenizer(), padding(lm));
            SequenceClassifier classifier =
                    new SequenceClassifier(lm.model(), data.labels().size(), data.padding(), arena, run.steps.seed);
            Adapters adapters = adapter.method(model.toString(), lm.tokenizer()).attach(classifier, run.steps.seed);
            Classification objective = new Classification(classifier);
            int code = new TrainingRun(spec, run, lm)
                    .run(adapters, data, objective, folder -> save(adapters, data.labels(), folder));
            out(data.held() == null ? "On the training texts, as none were held out:" : "On the texts held out:");
            try (var _ = Tape.compute(run.steps.compute.precision())) {
                out(objective.evaluate(data.judged(), data.labels()).toString());
            }
            return code;
        }
    }

    private int evaluateSaved() {
        spec.commandLine().getParseResult().matchedOptions().forEach(o -> {
            if (!EVALUATION.contains(o.longestName())) {
                throw new IllegalArgumentException(
                        o.longestName() + " does not go with --evaluate, which trains nothing");
            }
        });
        RunFlags.given("--data=FILE", run.data.train);
        RunFlags.require("--batch-size", run.steps.batchSize, 1);
        ModelFlags.useThreads(run.steps.threads);
        List<String> labels = labels(evaluate);
        try (Pretrained lm = Pretrained.load(model);
                Arena arena = Arena.ofShared();
                var _ = Tape.compute(run.steps.compute.precision())) {
            TrainingData.requireWithin(run.data, lm.model().contextLength());
            LabelledDataset data =
                    ClassificationData.fitting(LabelledText.read(run.data.train), labels, lm.tokenizer(), run.data);
            SequenceClassifier classifier = new SequenceClassifier(lm.model(), labels.size(), padding(lm), arena, 0);
            Adapters.load(classifier, evaluate);
            Confusion confusion = new Classification(classifier)
                    .evaluate(data.batches(run.steps.batchSize, padding(lm)).apply(0), labels);
            out(confusion.toString());
        }
        return 0;
    }

    private void out(String text) {
        spec.commandLine().getOut().println(text);
    }

    /** The model's own padding id, or the tokenizer's, or the end of a text: a causal model never sees what is behind the last token. */
    private static int padding(Pretrained lm) {
        int own = lm.model().config().tokens().pad();
        return own >= 0 ? own : lm.tokenizer().pad().orElse(lm.tokenizer().eos().orElse(-1));
    }

    private static void save(Adapters adapters, List<String> labels, Path folder) {
        SftCommand.save(adapters, folder);
        Map<String, String> names = new LinkedHashMap<>();
        IntStream.range(0, labels.size()).forEach(i -> names.put(Integer.toString(i), labels.get(i)));
        Json.write(folder.resolve(LABELS), Map.of(ID2LABEL, names));
    }

    private static List<String> labels(Path folder) {
        Path file = folder.resolve(LABELS);
        if (!Files.exists(file)) {
            throw new IllegalArgumentException(
                    folder + ": has no " + LABELS + ", so it is no classifier that classify has saved");
        }
        JsonObject names = Json.read(file).object(ID2LABEL);
        return IntStream.range(0, names.map().size())
                .mapToObj(i -> names.string(Integer.toString(i)))
                .toList();
    }
}
