package anneal.cli;

import static anneal.cli.Cli.bad;
import static anneal.cli.Cli.contents;
import static anneal.cli.Cli.ok;
import static anneal.cli.Cli.with;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import anneal.Pretrained;
import anneal.TinyModel;
import anneal.io.Json;
import anneal.model.DecoderConfig;
import anneal.model.Family;
import anneal.text.BpeTrainer;
import anneal.text.ChatTemplate;
import anneal.text.Tokenizer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** distill from the command line: students, losses, what is refused. */
class DistillCommandTest {
    @TempDir
    private static Path shared;

    private static Path teacher, narrow, data;

    @TempDir
    private Path dir;

    @BeforeAll
    static void make() {
        teacher = TinyModel.write(shared.resolve("teacher"));
        narrow = student(shared.resolve("narrow"), TinyModel.tokenizer());
        data = TinyModel.conversations(shared.resolve("train.jsonl"), 12);
    }

    /** One layer, half as wide as the teacher. */
    private static Path student(Path folder, Tokenizer tokenizer) {
        DecoderConfig config = DecoderConfig.builder(Family.LLAMA)
                .vocabSize(TinyModel.VOCABULARY)
                .hiddenSize(16)
                .feedForwardSize(32)
                .layers(1)
                .heads(4, 2, 4)
                .contextLength(TinyModel.CONTEXT)
                .build();
        try (Pretrained lm = Pretrained.create(config, tokenizer, 1).chatTemplate(ChatTemplate.chatml())) {
            lm.save(folder);
        }
        return folder;
    }

    private static List<Object> distill(Path output, int steps, Object... student) {
        return with(
                with(List.of("distill", "--teacher", teacher, "--data", data, "--output", output), student),
                "--iters",
                steps,
                "--batch-size",
                4,
                "--max-seq-length",
                64,
                "--learning-rate",
                0.01);
    }

    private static double loss(Path run, String event, boolean first) throws IOException {
        List<String> lines = Files.readAllLines(run.resolve("metrics.jsonl")).stream()
                .filter(l -> l.contains("\"event\":\"" + event + "\""))
                .toList();
        return Json.parse(first ? lines.getFirst() : lines.getLast(), "metrics").number("loss", -1);
    }

    @Test
    void aStudentOfTheTeachersLayersComesNearerToIt() throws IOException {
        Path out = dir.resolve("run");
        Cli run = ok(distill(out, 30, "--student-layers", 1).toArray());
        assertThat(run.out())
                .containsPattern("Peak memory about .* for 30 steps")
                .contains("Validation loss before: ", "step 30/30", "Prompt: ");
        assertThat(contents(out))
                .containsKeys("config.json", "model.safetensors", "tokenizer.json", "config.yaml", "loss.png");
        assertThat(Json.read(out.resolve("config.json")).map()).containsEntry("num_hidden_layers", 1);
        assertThat(loss(out, "valid", false)).isLessThan(0.7 * loss(out, "valid", true));
        assertThat(Files.readString(out.resolve("metrics.jsonl"))).contains("\"soft\"", "\"labels\"");
        ok("generate", "--model", out, "--prompt", "What", "--max-tokens", 3);
    }

    @Test
    void allOfTheTeachersLayersHaveNothingToLearnFromItsDistributions() throws IOException {
        Path out = dir.resolve("same");
        ok(with(distill(out, 1, "--student-layers", "0,1"), "--labels-weight", 0)
                .toArray());
        assertThat(loss(out, "valid", true)).isBetween(-1e-6, 1e-6);
    }

    @Test
    void hiddenStatesAreComparedThroughAProjectionWhichIsNotInTheResult() throws IOException {
        Path out = dir.resolve("run");
        List<Object> args =
                with(distill(out, 4, "--student", narrow), "--hidden-weight", 0.5, "--attention-weight", 0.1);
        Cli run = ok(with(args, "--layer-map", "0:1", "--soft-weight", 0).toArray());
        assertThat(run.out()).containsPattern("projection[.]0 +1 x 512");
        assertThat(Files.readString(out.resolve("metrics.jsonl")))
                .contains("\"hidden\"", "\"attention\"")
                .doesNotContain("\"soft\"");
        assertThat(Files.readString(out.resolve("config.yaml"))).contains("layer-map: 0:1", "hidden-weight: 0.5");
        ok("generate", "--model", out, "--prompt", "What", "--max-tokens", 3);
    }

    @Test
    void everyOptionOfTheLossChangesIt() throws IOException {
        double usual = first("usual");
        assertThat(first("temperature", "--temperature", 1)).isNotEqualTo(usual);
        assertThat(first("beta", "--beta", 0.5)).isNotEqualTo(usual);
        assertThat(first("weight", "--labels-weight", 1)).isNotEqualTo(usual);
        assertThat(first("said", "--temperature", 2, "--beta", 0, "--times-square", true))
                .isEqualTo(usual);
        double plain = first("plain", "--times-square", false, "--labels-weight", 0);
        double square = first("square", "--times-square", true, "--labels-weight", 0);
        assertThat(square / plain).isBetween(3.999, 4.001);
        double last = first("last", "--labels-weight", 0, "--soft-weight", 0, "--hidden-weight", 1);
        assertThat(first("other", "--labels-weight", 0, "--soft-weight", 0, "--hidden-weight", 1, "--layer-map", "0:0"))
                .isNotEqualTo(last);
        assertThat(first("map", "--labels-weight", 0, "--soft-weight", 0, "--hidden-weight", 1, "--layer-map", "0:1"))
                .isEqualTo(last);
    }

    private double first(String name, Object... flags) throws IOException {
        ok(with(distill(dir.resolve(name), 1, "--student", narrow), flags).toArray());
        return loss(dir.resolve(name), "step", true);
    }

    @Test
    void aRunThatGoesOnEndsAsOneThatNeverStopped() throws IOException {
        Path whole = dir.resolve("whole"), parts = dir.resolve("parts");
        Object[] flags = {"--lr-scheduler", "constant", "--hidden-weight", 0.5};
        ok(with(distill(whole, 4, "--student", narrow), flags).toArray());
        ok(with(with(distill(parts, 2, "--student", narrow), flags), "--threads", 1)
                .toArray());
        ok(with(with(distill(parts, 4, "--student", narrow), flags), "--resume").toArray());
        assertThat(Files.readAllBytes(parts.resolve("model.safetensors")))
                .isEqualTo(Files.readAllBytes(whole.resolve("model.safetensors")));
    }

    /** The command without its teacher. */
    private static List<Object> alone(List<Object> args) {
        List<Object> rest = new ArrayList<>(args);
        int at = rest.indexOf("--teacher");
        rest.subList(at, at + 2).clear();
        return rest;
    }

    private static List<Object> store(Path file, Object... more) {
        Object[] usual = {"--data", data, "--store", file, "--max-seq-length", 64};
        return with(with(List.of("distill", "--teacher", teacher), usual), more);
    }

    @Test
    void whatATeacherSaidOnceServesInItsPlace() throws IOException {
        Path whole = dir.resolve("whole.safetensors"), few = dir.resolve("few.safetensors");
        int all;
        try (Pretrained lm = Pretrained.load(teacher)) {
            all = lm.model().vocabSize();
        }
        assertThat(ok(store(whole, "--top-k", all, "--batch-size", 3).toArray()).out())
                .contains("whole.safetensors", "at temperature 2.0", "--stored");
        ok(store(few, "--top-k", 8).toArray());
        assertThat(whole.toFile().length()).isGreaterThan(20 * few.toFile().length());
        Path live = dir.resolve("live"), stored = dir.resolve("stored"), top = dir.resolve("top");
        ok(distill(live, 4, "--student", narrow).toArray());
        ok(with(alone(distill(stored, 4, "--student", narrow)), "--stored", whole)
                .toArray());
        ok(with(alone(distill(top, 4, "--student", narrow)), "--stored", few).toArray());
        for (String event : List.of("step", "valid")) {
            assertThat(loss(stored, event, false)).isCloseTo(loss(live, event, false), within(1e-4));
        }
        assertThat(loss(top, "step", true)).isLessThan(loss(live, "step", true)).isPositive();
        Path layers = dir.resolve("layers");
        ok(with(distill(layers, 1, "--student-layers", 1), "--stored", few).toArray());
        assertThat(layers.resolve("model.safetensors")).exists();
        bad(store(few), "few.safetensors", "exists");
        Path out = dir.resolve("no");
        List<Object> use = with(alone(distill(out, 2, "--student", narrow)), "--stored", few);
        Path other = TinyModel.conversations(dir.resolve("other.jsonl"), 1);
        Files.writeString(other, Files.readString(other).replace("sky", "sea of grass"));
        bad(with(use, "--data", other), "few.safetensors holds nothing that the teacher said about row");
        bad(with(use, "--temperature", 1), "the stored logits have temperature 2.0, not 1.0");
        bad(with(use, "--beta", 1), "stored logits are for beta 0, not 1.0");
        bad(with(use, "--hidden-weight", 1), "need the teacher itself");
        bad(with(use, "--stored", narrow.resolve("model.safetensors")), "model.safetensors", "temperature");
        bad(with(use, "--stored", dir.resolve("none.safetensors")), "none.safetensors");
    }

    private static double labels(Path run) throws IOException {
        String line = Files.readAllLines(run.resolve("metrics.jsonl")).stream()
                .filter(l -> l.contains("\"event\":\"step\""))
                .findFirst()
                .orElseThrow();
        assertThat(line).doesNotContain("\"soft\"");
        return Json.parse(line, "metrics").number("loss", -1);
    }

    @Test
    void theTeachersAnswersAreLearntAsLabels() throws IOException {
        Path own = dir.resolve("own"), written = dir.resolve("written"), none = dir.resolve("none");
        ok(with(distill(own, 1, "--student", narrow), "--soft-weight", 0, "--labels-weight", 1)
                .toArray());
        List<Object> sequence = with(distill(written, 1, "--student", narrow), "--answers", "teacher");
        ok(with(sequence, "--answer-tokens", 8).toArray());
        ok(with(with(sequence, "--output", none), "--lambda", 0).toArray());
        assertThat(labels(written)).isNotEqualTo(labels(own));
        assertThat(labels(none)).as("lambda 0: the data's own answers").isEqualTo(labels(own));
        assertThat(Files.readString(written.resolve("config.yaml"))).contains("answers: teacher", "answer-tokens: 8");
    }

    /** On-policy: what is written depends on the weights, so that a run which goes on must have the same ones. */
    @Test
    void theStudentsAnswersAreJudgedAndResumingRepeatsThem() throws IOException {
        Path whole = dir.resolve("whole"), parts = dir.resolve("parts");
        Object[] flags = {"--lr-scheduler", "constant", "--answers", "student", "--answer-tokens", 6, "--lambda", 0.7};
        ok(with(distill(whole, 4, "--student", narrow), flags).toArray());
        ok(with(with(distill(parts, 2, "--student", narrow), flags), "--threads", 1)
                .toArray());
        ok(with(with(distill(parts, 4, "--student", narrow), flags), "--resume").toArray());
        assertThat(Files.readAllBytes(parts.resolve("model.safetensors")))
                .isEqualTo(Files.readAllBytes(whole.resolve("model.safetensors")));
        assertThat(Files.readString(whole.resolve("metrics.jsonl")))
                .contains("\"soft\"")
                .doesNotContain("\"labels\"");
        Path same = dir.resolve("same");
        ok(with(distill(same, 1, "--student-layers", "0,1"), "--answers", "student", "--answer-tokens", 6)
                .toArray());
        assertThat(loss(same, "step", true)).as("a student that is the teacher").isBetween(-1e-6, 1e-6);
    }

    @Test
    void waysThatDoNotGoTogether() {
        Path out = dir.resolve("out"), file = dir.resolve("out.safetensors");
        List<Object> args = distill(out, 2, "--student", narrow);
        bad(alone(args), "Missing required option: '--teacher=PATH'", "--stored");
        bad(with(args, "--stored", file), "--teacher and --stored: give one or the other");
        bad(with(alone(args), "--stored", file, "--answers", "student"), "--answers student needs --teacher");
        bad(with(alone(distill(out, 2, "--student-layers", "0")), "--stored", file), "needs --teacher, whose layers");
        bad(with(args, "--lambda", 0.5), "--lambda needs --answers teacher or student");
        bad(with(args, "--answers", "student", "--lambda", 1.5), "--lambda 1.5 must be in [0, 1]");
        bad(with(args, "--answers", "pupil"), "--answers", "pupil", "student");
        bad(with(args, "--answers", "student", "--answer-tokens", 0), "--answer-tokens 0 must be at least 1");
        bad(with(args, "--answers", "student", "--answer-temperature", -1), "temperature -1.0 must be not negative");
        bad(with(args, "--answers", "teacher", "--packing"), "--answers teacher does not go with --packing");
        bad(with(args, "--answers", "teacher", "--beta", 1), "need a --soft-weight that is not 0");
        bad(with(args, "--top-k", 4), "--top-k 4 needs --store");
        bad(store(file, "--top-k", 0), "k 0 must be in [1, ");
        bad(store(file, "--student", narrow), "--student does not go with --store");
        bad(store(file, "--packing"), "--packing does not go with --store");
        bad(store(dir.resolve("out")), "the name must end in .safetensors");
        assertThat(out).doesNotExist();
        assertThat(file).doesNotExist();
    }

    @Test
    void whatDoesNotFitIsNamed() {
        Path out = dir.resolve("out");
        List<Object> args = distill(out, 2, "--student", narrow), layers = distill(out, 2, "--student-layers", "0");
        bad(distill(out, 2), "give either --student or --student-layers");
        bad(with(args, "--student-layers", "0"), "give either --student or --student-layers");
        bad(distill(out, 2, "--student-layers", "1,0"), "layers [1, 0] must be some of 0 .. 1, ascending");
        bad(distill(out, 2, "--student-layers", "0,x"), "--student-layers 0,x: must be whole numbers");
        bad(with(args, "--teacher", dir.resolve("none")), "none", "does not exist");
        bad(with(args, "--label-smoothing", 0.1), "--label-smoothing does not go with distill");
        bad(with(args, "--soft-weight", 0, "--beta", 1), "need a --soft-weight that is not 0");
        bad(with(args, "--layer-map", "0:1"), "--layer-map needs --hidden-weight or --attention-weight");
        bad(with(args, "--hidden-weight", 1, "--layer-map", "0"), "--layer-map 0 must be pairs like 0:1,1:3");
        bad(with(args, "--hidden-weight", 1, "--layer-map", "0:2"), "the teacher has no layer 2 of 2");
        bad(with(layers, "--labels-weight", 0, "--soft-weight", 0), "no loss has a weight");
        bad(with(args, "--soft-weight", -1), "weight -1.0 must not be negative");
        bad(with(args, "--temperature", 0), "temperature 0.0 must be positive");
        bad(with(args, "--beta", 2), "beta 2.0 must be in [0, 1]");
        bad(with(args, "--hidden-weight", 1, "--grad-checkpoint"), "turn checkpointing off");
        Tokenizer other = new BpeTrainer(TinyModel.VOCABULARY)
                .specialTokens("<|endoftext|>", "<|im_start|>", "<|im_end|>")
                .eos("<|im_end|>")
                .train(List.of(
                        "a wholly other text, of which the tokenizer learns other words and other pieces of words"));
        Path stranger = student(dir.resolve("stranger"), other);
        bad(distill(out, 2, "--student", stranger), "stranger", "tokenizer", "the teacher");
        assertThat(out).doesNotExist();
        assertThat(ok("distill", "--help").out())
                .contains("--student-layers", "Which way:", "On-policy (GKD)", "Sequence-level", "Examples:");
    }
}
