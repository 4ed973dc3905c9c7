package anneal.cli;

import static anneal.cli.Cli.bad;
import static anneal.cli.Cli.contents;
import static anneal.cli.Cli.ok;
import static anneal.cli.Cli.with;
import static org.assertj.core.api.Assertions.assertThat;

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
        assertThat(ok("distill", "--help").out()).contains("--student-layers", "Examples:");
    }
}
