package anneal.cli;

import anneal.distill.DistillationObjective;
import anneal.distill.SoftTargets;
import anneal.distill.TeacherLogits;
import anneal.model.Decoder;
import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.Map;
import java.util.TreeMap;
import picocli.CommandLine.Option;

/** What a student is compared by, and how much each counts; null = as {@code --answers} has it. */
final class DistillLosses {
    @Option(
            names = "--labels-weight",
            paramLabel = "X",
            description =
                    "The tokens of the answers (default: 0.1; 1 if the teacher writes them, 0 if the student does).")
    Double labels;

    @Option(
            names = "--soft-weight",
            paramLabel = "X",
            description = "The teacher's distributions (default: 0.9; 0 if the teacher writes the answers, 1 if the"
                    + " student does).")
    Double soft;

    @Option(
            names = "--hidden-weight",
            paramLabel = "X",
            description =
                    "Hidden states behind the layers of --layer-map, through a projection that is trained along where widths"
                            + " differ (default: ${DEFAULT-VALUE}).")
    double hidden = 0;

    @Option(
            names = "--attention-weight",
            paramLabel = "X",
            description = "Attention in the layers of --layer-map; equally many heads (default: ${DEFAULT-VALUE}).")
    double attention = 0;

    @Option(
            names = "--temperature",
            paramLabel = "T",
            description = "Softens both distributions (default: 2, as --stored has it, or 1 if the student writes).")
    Double temperature;

    @Option(
            names = "--beta",
            paramLabel = "X",
            description =
                    "0 = forward KL, 1 = reverse KL, between them Jensen-Shannon (default: 0, or 0.5 if the student writes).")
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
            description = "Layer of the student to layer of the teacher (default: all of the student, spread evenly).")
    String layerMap;

    /** Puts in what was not given. Throws if a flag was given whose loss has no weight. */
    void check(AnswerFlags.Source answers, TeacherLogits stored) {
        boolean student = answers == AnswerFlags.Source.student, teacher = answers == AnswerFlags.Source.teacher;
        labels = labels != null ? labels : student ? 0 : teacher ? 1 : 0.1;
        soft = soft != null ? soft : student ? 1 : teacher ? 0 : 0.9;
        if (soft == 0 && (temperature != null || beta != null || timesSquare != null)) {
            throw new IllegalArgumentException(
                    "--temperature, --beta and --times-square need a --soft-weight that is not 0");
        }
        if (hidden == 0 && attention == 0 && layerMap != null) {
            throw new IllegalArgumentException("--layer-map needs --hidden-weight or --attention-weight");
        }
        temperature = temperature != null ? temperature : stored != null ? stored.temperature() : student ? 1.0 : 2.0;
        beta = beta != null ? beta : student ? 0.5 : 0.0;
    }

    /** The objective; either a teacher or what one has said is given. */
    DistillationObjective objective(Decoder student, Decoder teacher, TeacherLogits stored, long seed) {
        DistillationObjective.Builder b = DistillationObjective.of(student).labels(labels);
        b = stored == null ? b.teacher(teacher) : b.teacher(stored);
        if (soft != 0) {
            b.soft(new SoftTargets(beta, temperature, timesSquare == null || timesSquare), soft);
        }
        if (hidden != 0 || attention != 0) {
            if (stored != null) {
                throw new IllegalArgumentException("--hidden-weight and --attention-weight need the teacher itself:"
                        + " --stored holds only what it said");
            }
            Map<Integer, Integer> layers =
                    pairs(student.config().layers(), teacher.config().layers());
            b = hidden == 0 ? b : b.hidden(layers, hidden);
            b = attention == 0 ? b : b.attention(layers, attention);
        }
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

    /** The numbers of a list. */
    static int[] numbers(String flag, String list, String separator) {
        try {
            return Arrays.stream(list.split(separator))
                    .mapToInt(n -> Integer.parseInt(n.strip()))
                    .toArray();
        } catch (NumberFormatException e) {
            throw new IllegalArgumentException(flag + " " + list + ": must be whole numbers", e);
        }
    }
}
