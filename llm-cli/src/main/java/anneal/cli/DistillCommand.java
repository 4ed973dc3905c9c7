package anneal.cli;

import anneal.Pretrained;
import anneal.distill.DistillationObjective;
import anneal.distill.SoftTargets;
import anneal.distill.Student;
import anneal.model.Decoder;
import anneal.tensor.Tensor;
import anneal.text.Tokenizer;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code anneal distill}: a student learns from a teacher. */
@Command(
        name = "distill",
        description = "Trains all weights of a student on data and on what a teacher says to them.",
        mixinStandardHelpOptions = true,
        sortOptions = false,
        footer = {
            "",
            "Examples:",
            "  anneal distill --teacher folder --student-layers 0,2,4 --data train.jsonl --output runs/small",
            "  anneal distill --teacher folder --student other --data chats/ --temperature 1 --beta 0.5 --times-square false --output runs/js",
            "  anneal distill --teacher folder --student other --data chats/ --hidden-weight 1 --layer-map 0:2,1:5 --output runs/inside"
        })
final class DistillCommand implements Callable<Integer> {
    @Option(
            names = "--teacher",
            required = true,
            paramLabel = "PATH",
            description = "The model that knows; it is only read.")
    Path teacherPath;

    @Option(names = "--student", paramLabel = "PATH", description = "A model with the teacher's tokenizer.")
    Path studentPath;

    @Option(
            names = "--student-layers",
            paramLabel = "LIST",
            description = "In place of --student: a copy of the teacher with these of its layers, counted from 0.")
    String studentLayers;

    @Option(names = "--config", paramLabel = "FILE", description = "YAML file with the same keys; flags win.")
    Path config;

    @Mixin
    RunFlags run = new RunFlags();

    @ArgGroup(validate = false, heading = "%nLoss: the sum of these, each times its weight%n", order = 3)
    Losses losses = new Losses();

    @Spec
    CommandSpec spec;

    static final class Losses {
        @Option(
                names = "--labels-weight",
                paramLabel = "X",
                description = "The data's own tokens (default: ${DEFAULT-VALUE}).")
        double labels = 0.1;

        @Option(
                names = "--soft-weight",
                paramLabel = "X",
                description = "The teacher's distributions (default: ${DEFAULT-VALUE}).")
        double soft = 0.9;

        @Option(
                names = "--hidden-weight",
                paramLabel = "X",
                description = "Hidden states behind the layers of --layer-map (default: ${DEFAULT-VALUE}).")
        double hidden = 0;

        @Option(
                names = "--attention-weight",
                paramLabel = "X",
                description = "Attention in the layers of --layer-map (default: ${DEFAULT-VALUE}).")
        double attention = 0;

        @Option(names = "--temperature", paramLabel = "T", description = "Softens both distributions (default: 2).")
        Double temperature;

        @Option(
                names = "--beta",
                paramLabel = "X",
                description = "0 = forward KL, 1 = reverse KL, between them Jensen-Shannon (default: 0).")
        Double beta;

        @Option(
                names = "--times-square",
                arity = "1",
                paramLabel = "BOOL",
                description =
                        "Distributions count T squared times, as Hinton has it; false as in TRL's GKD (default: true).")
        Boolean timesSquare;

        @Option(
                names = "--layer-map",
                paramLabel = "S:T,..",
                description =
                        "Layer of the student to layer of the teacher (default: all of the student, spread evenly).")
        String layerMap;

        /** Throws if a flag was given whose loss has no weight. */
        void check() {
            if (soft == 0 && (temperature != null || beta != null || timesSquare != null)) {
                throw new IllegalArgumentException(
                        "--temperature, --beta and --times-square need a --soft-weight that is not 0");
            }
            if (hidden == 0 && attention == 0 && layerMap != null) {
                throw new IllegalArgumentException("--layer-map needs --hidden-weight or --attention-weight");
            }
        }

        DistillationObjective objective(Decoder student, Decoder teacher, long seed) {
            DistillationObjective.Builder b =
                    DistillationObjective.of(student).teacher(teacher).labels(labels);
            if (soft != 0) {
                SoftTargets targets = new SoftTargets(
                        beta == null ? 0 : beta,
                        temperature == null ? 2 : temperature,
                        timesSquare == null || timesSquare);
                b.soft(targets, soft);
            }
            Map<Integer, Integer> layers =
                    pairs(student.config().layers(), teacher.config().layers());
            b = hidden == 0 ? b : b.hidden(layers, hidden);
            b = attention == 0 ? b : b.attention(layers, attention);
            return b.projections(Arena.ofAuto(), seed).build();
        }

        /** The map that was given, or as TinyBERT has it: the last layer to the last, the others evenly spread. */
        private Map<Integer, Integer> pairs(int student, int teacher) {
            Map<Integer, Integer> pairs = new TreeMap<>();
            if (layerMap == null) {
                for (int i = 0; i < student; i++) {
                    pairs.put(i, Math.ceilDiv((i + 1) * teacher, student) - 1);
                }
                return pairs;
            }
            for (String pair : layerMap.split(",")) {
                int[] layers = numbers("--layer-map", pair, ":");
                if (layers.length != 2 || pairs.put(layers[0], layers[1]) != null) {
                    throw new IllegalArgumentException(
                            "--layer-map " + layerMap + " must be pairs like 0:1,1:3, each layer of the student once");
                }
            }
            return pairs;
        }
    }

    @Override
    public Integer call() {
        run.check();
        losses.check();
        if ((studentPath == null) == (studentLayers == null)) {
            throw new IllegalArgumentException("give either --student or --student-layers");
        }
        if (run.steps.labelSmoothing != 0) {
            throw new IllegalArgumentException(
                    "--label-smoothing does not go with distill: the teacher is what smooths");
        }
        ModelFlags.useThreads(run.steps.threads);
        try (Pretrained teacher = Pretrained.load(teacherPath);
                Pretrained student = student(teacher)) {
            DistillationObjective objective = losses.objective(student.model(), teacher.model(), run.steps.seed);
            Map<String, Tensor> trained =
                    new LinkedHashMap<>(student.model().root().parameters());
            trained.putAll(objective.parameters());
            TrainingData data = TrainingData.read(
                    run,
                    d -> student.hasChatTemplate() ? d.encode(student.chat()) : d.encode(student.tokenizer()),
                    run.data.truncate ? TrainingData.Long.TRUNCATED : TrainingData.Long.REFUSED,
                    student.model().contextLength());
            return new TrainingRun(spec, run, student)
                    .teacher(teacher.model())
                    .run(() -> trained, data, objective, student::save);
        }
    }

    private Pretrained student(Pretrained teacher) {
        if (studentLayers != null) {
            Arena memory = Arena.ofShared();
            try {
                int[] layers = numbers("--student-layers", studentLayers, ",");
                return teacher.with(Student.ofLayers(teacher.model(), layers, memory), memory);
            } catch (RuntimeException | Error e) {
                memory.close();
                throw e;
            }
        }
        Pretrained student = Pretrained.load(studentPath);
        try {
            requireOneVocabulary(student.tokenizer(), teacher.tokenizer());
            RunPlan.requireState(student.model().config().parameterCount(), run.steps, RunPlan.availableBytes());
            return student.trainable();
        } catch (RuntimeException | Error e) {
            student.close();
            throw e;
        }
    }

    /** Both read the same ids: they must mean the same. */
    private void requireOneVocabulary(Tokenizer student, Tokenizer teacher) {
        if (student.vocabSize() != teacher.vocabSize()) {
            throw new IllegalArgumentException("--student " + studentPath + " has a tokenizer of " + student.vocabSize()
                    + " tokens and the teacher one of " + teacher.vocabSize() + ": both must have the same");
        }
        for (int id = 0; id < student.vocabSize(); id++) {
            if (!student.token(id).equals(teacher.token(id))) {
                throw new IllegalArgumentException("--student " + studentPath + " has another tokenizer: token " + id
                        + " is \"" + student.token(id) + "\", the teacher's is \"" + teacher.token(id) + "\"");
            }
        }
    }

    private static int[] numbers(String flag, String list, String separator) {
        try {
            return Arrays.stream(list.split(separator))
                    .mapToInt(n -> Integer.parseInt(n.strip()))
                    .toArray();
        } catch (NumberFormatException e) {
            throw new IllegalArgumentException(flag + " " + list + ": must be whole numbers", e);
        }
    }
}
