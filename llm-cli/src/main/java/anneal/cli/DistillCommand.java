package anneal.cli;

import anneal.Pretrained;
import anneal.data.Batch;
import anneal.distill.DistillationObjective;
import anneal.distill.Student;
import anneal.distill.TeacherLogits;
import anneal.model.Decoder;
import anneal.tensor.Tensor;
import anneal.text.Tokenizer;
import java.io.PrintWriter;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
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
        description = {
            "Trains all weights of a student on data and on what a teacher says to them.",
            "",
            "Which way:",
            "  the usual        The teacher's distribution of every next token, asked in each step. First choice.",
            "  --store, then    The same where both models do not fit into memory, or many runs learn from one teacher:",
            "  --stored           its k most probable tokens of each position are written once.",
            "  --answers teacher  Sequence-level: learns the teacher's answers as if they were data. Where the data have",
            "                     only prompts worth keeping, or the teacher is right more often than they are.",
            "  --answers student  On-policy (GKD): learns from its own mistakes. The best and by far the slowest; after one",
            "                     of the others.",
            "  --hidden-weight, --attention-weight  Besides, for a student much smaller than the teacher.",
            "A student made of the teacher's layers (--student-layers) starts far ahead of one that knows nothing."
        },
        mixinStandardHelpOptions = true,
        sortOptions = false,
        footer = {
            "",
            "Examples:",
            "  anneal distill --teacher folder --student-layers 0,2,4 --data train.jsonl --output runs/small",
            "  anneal distill --teacher folder --data train.jsonl --store said.safetensors --top-k 64",
            "  anneal distill --stored said.safetensors --student other --data train.jsonl --output runs/stored",
            "  anneal distill --teacher folder --student other --data chats/ --answers student --output runs/gkd",
            "  anneal distill --teacher folder --student other --data chats/ --temperature 1 --beta 0.5 --times-square false --output runs/js",
            "  anneal distill --teacher folder --student other --data chats/ --hidden-weight 1 --layer-map 0:2,1:5 --output runs/inside"
        })
final class DistillCommand implements Callable<Integer> {
    @Option(
            names = "--teacher",
            paramLabel = "PATH",
            description = "The model that knows; it is only read. Needed unless --stored is given.")
    Path teacherPath;

    @Option(names = "--student", paramLabel = "PATH", description = "A model with the teacher's tokenizer.")
    Path studentPath;

    @Option(
            names = "--student-layers",
            paramLabel = "LIST",
            description = "In place of --student: a copy of the teacher with these of its layers, counted from 0.")
    String studentLayers;

    @Option(
            names = "--store",
            paramLabel = "FILE",
            description =
                    "Only write what the teacher says about --data and --valid (new .safetensors file), train nothing.")
    Path store;

    @Option(
            names = "--top-k",
            paramLabel = "N",
            description = "Tokens of each position that --store keeps, 8 bytes each (default: 64).")
    Integer topK;

    @Option(
            names = "--stored",
            paramLabel = "FILE",
            description = "What --store has written, in place of the teacher; for the same data, cut in the same way.")
    Path stored;

    @Option(names = "--config", paramLabel = "FILE", description = "YAML file with the same keys; flags win.")
    Path config;

    @Mixin
    RunFlags run = new RunFlags();

    @ArgGroup(validate = false, heading = "%nAnswers that are learnt%n", order = 5)
    AnswerFlags answers = new AnswerFlags();

    @ArgGroup(validate = false, heading = "%nLoss: the sum of these, each times its weight%n", order = 3)
    DistillLosses losses = new DistillLosses();

    @Spec
    CommandSpec spec;

    @Override
    public Integer call() {
        check();
        ModelFlags.useThreads(run.steps.threads);
        if (store != null) {
            return store();
        }
        TeacherLogits said = stored == null ? null : TeacherLogits.open(stored);
        losses.check(answers.source, said);
        try (Pretrained teacher = teacherPath == null ? null : Pretrained.load(teacherPath);
                Pretrained student = student(teacher)) {
            Decoder asked = said == null ? teacher.model() : null;
            DistillationObjective objective = losses.objective(student.model(), asked, said, run.steps.seed);
            Map<String, Tensor> trained =
                    new LinkedHashMap<>(student.model().root().parameters());
            trained.putAll(objective.parameters());
            TrainingData own = data(student);
            RunData<Batch> data = switch (answers.source) {
                case data -> own;
                case teacher -> answers.written(own, teacher, run.steps.seed);
                case student -> answers.written(own, student, run.steps.seed);
            };
            return new TrainingRun(spec, run, student).teacher(asked).runFull(() -> trained, data, objective);
        }
    }

    private TrainingData data(Pretrained lm) {
        return TrainingData.read(
                run,
                d -> lm.hasChatTemplate() ? d.encode(lm.chat()) : d.encode(lm.tokenizer()),
                run.data.truncate ? TrainingData.Long.TRUNCATED : TrainingData.Long.REFUSED,
                lm.model().contextLength());
    }

    /** Runs the teacher over all that a run with the same flags would read. */
    private int store() {
        double temperature = losses.temperature == null ? 2 : losses.temperature;
        PrintWriter out = spec.commandLine().getOut();
        try (Pretrained teacher = Pretrained.load(teacherPath);
                Progress progress = new Progress(out, "asking the teacher", Progress.UNKNOWN, 0)) {
            TrainingData data = data(teacher);
            List<Batch> batches = new ArrayList<>();
            data.train().apply(0).forEachRemaining(batches::add);
            if (data.valid() != null) {
                data.valid().apply(0).forEachRemaining(batches::add);
            }
            int[] done = {0};
            Iterator<Batch> told = batches.stream()
                    .peek(b -> progress.busy("batch " + ++done[0] + " of " + batches.size()))
                    .iterator();
            TeacherLogits.write(store, teacher.model(), told, topK == null ? 64 : topK, temperature);
        }
        out.printf(
                Locale.ROOT,
                "What the teacher says is in %s (%.1f MB), at temperature %s; use it with --stored.%n",
                store,
                store.toFile().length() / 1e6,
                temperature);
        return 0;
    }

    // ---------------------------------------------------------------- checking

    private void check() {
        if (stored == null && teacherPath == null) {
            throw new IllegalArgumentException("Missing required option: '--teacher=PATH' (or --stored=FILE)");
        }
        if (topK != null && store == null) {
            throw new IllegalArgumentException("--top-k " + topK + " needs --store");
        }
        answers.check(run.data);
        if ((store != null || stored != null) && run.data.packing) {
            throw new IllegalArgumentException(
                    "--packing does not go with --store and --stored: rows must stay the same");
        }
        if (store != null) {
            checkStore();
            return;
        }
        run.check();
        if ((studentPath == null) == (studentLayers == null)) {
            throw new IllegalArgumentException("give either --student or --student-layers");
        }
        if (stored != null && answers.source != AnswerFlags.Source.data) {
            throw new IllegalArgumentException("--stored knows what was said about the data, not about answers that are"
                    + " written: --answers " + answers.source + " needs --teacher");
        }
        if (stored != null && (teacherPath == null) != (studentLayers == null)) {
            throw new IllegalArgumentException(
                    teacherPath == null
                            ? "--student-layers " + studentLayers + " needs --teacher, whose layers they are"
                            : "--teacher and --stored: give one or the other (both only with --student-layers)");
        }
        if (run.steps.labelSmoothing != 0) {
            throw new IllegalArgumentException(
                    "--label-smoothing does not go with distill: the teacher is what smooths");
        }
    }

    private void checkStore() {
        for (Object[] other : new Object[][] {
            {"--student", studentPath},
            {"--student-layers", studentLayers},
            {"--stored", stored},
            {"--output", run.output.dir}
        }) {
            if (other[1] != null) {
                throw new IllegalArgumentException(other[0] + " does not go with --store, which trains nothing");
            }
        }
        if (answers.source != AnswerFlags.Source.data) {
            throw new IllegalArgumentException("--answers does not go with --store, which trains nothing");
        }
        if (!store.toString().endsWith(".safetensors")) {
            throw new IllegalArgumentException("--store " + store + ": the name must end in .safetensors");
        }
        RunFlags.given("--data=FILE_OR_DIR", run.data.train);
        run.checkNumbers();
        RunFolder.requireNew(store, "");
    }

    private Pretrained student(Pretrained teacher) {
        if (studentLayers != null) {
            Arena memory = Arena.ofShared();
            try {
                int[] layers = DistillLosses.numbers("--student-layers", studentLayers, ",");
                return teacher.with(Student.ofLayers(teacher.model(), layers, memory), memory);
            } catch (RuntimeException | Error e) {
                memory.close();
                throw e;
            }
        }
        Pretrained student = Pretrained.load(studentPath);
        try {
            if (teacher != null) {
                requireOneVocabulary(student.tokenizer(), teacher.tokenizer());
            }
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
}
