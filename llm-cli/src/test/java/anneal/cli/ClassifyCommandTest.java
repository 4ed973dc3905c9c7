package anneal.cli;

import static anneal.cli.Cli.bad;
import static anneal.cli.Cli.contents;
import static anneal.cli.Cli.ok;
import static anneal.cli.Cli.with;
import static org.assertj.core.api.Assertions.assertThat;

import anneal.TinyModel;
import anneal.io.Json;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** classify from the command line: training, the report, a saved classifier, what is refused. */
class ClassifyCommandTest {
    private static final String GOOD = "{\"text\": \"The sky is blue.\", \"label\": \"sky\"}\n",
            OTHER = "{\"text\": \"The grass is green.\", \"label\": \"grass\"}\n";

    @TempDir
    private static Path shared;

    private static Path model, data;

    @TempDir
    private Path dir;

    @BeforeAll
    static void make() throws IOException {
        model = TinyModel.write(shared.resolve("model"));
        data = Files.writeString(shared.resolve("train.jsonl"), GOOD.repeat(6) + OTHER.repeat(6));
    }

    private static List<Object> classify(Path data, Path output, int steps) {
        return List.of(
                "classify",
                "--model",
                model,
                "--data",
                data,
                "--output",
                output,
                "--iters",
                steps,
                "--batch-size",
                4,
                "--max-seq-length",
                32);
    }

    @Test
    void whatWasLearntIsJudgedSavedAndJudgedAgain() throws IOException {
        Path out = dir.resolve("run");
        Cli run = ok(with(classify(data, out, 12), "--learning-rate", 0.02, "--rank", 2, "--valid", data)
                .toArray());
        assertThat(run.out())
                .contains("12 texts (grass 6, sky 6)", "12 texts held out", "score.weight", "step 12/12")
                .contains(
                        "Validation loss before: ",
                        "On the texts held out:",
                        "accuracy 1.0000, macro F1 1.0000, 12 texts")
                .containsPattern("One sample and its label:\\n  The .*[.] -> (sky|grass)\\n")
                .containsPattern("true +grass +sky +precision +recall +F1")
                .containsPattern("grass +6 +0 +1[.]000 +1[.]000 +1[.]000")
                .containsPattern("sky +0 +6 +1[.]000 +1[.]000 +1[.]000");
        assertThat(contents(out))
                .containsKeys(
                        "adapter_config.json", "adapter_model.safetensors", "labels.json", "config.yaml", "loss.png");
        assertThat(Json.read(out.resolve("adapter_config.json")).map()).containsEntry("task_type", "SEQ_CLS");
        assertThat(Json.read(out.resolve("labels.json")).object("id2label").map())
                .containsEntry("0", "grass")
                .containsEntry("1", "sky");
        Path test = Files.writeString(
                dir.resolve("test.jsonl"), GOOD.repeat(3) + OTHER + GOOD.replace("\"sky\"", "\"grass\""));
        Cli judged = ok(evaluate(test, out).toArray());
        assertThat(judged.out())
                .startsWith("accuracy 0.8000, macro F1 0.7619, 5 texts")
                .containsPattern("grass +1 +1 +1[.]000 +0[.]500 +0[.]667")
                .containsPattern("sky +0 +3 +0[.]750 +1[.]000 +0[.]857");
        ok(with(evaluate(test, out), "--batch-size", 1, "--compute", "bf16").toArray());
    }

    private static List<Object> evaluate(Path data, Path saved) {
        return List.of("classify", "--model", model, "--data", data, "--evaluate", saved, "--max-seq-length", 32);
    }

    @ParameterizedTest
    @EnumSource
    void everyMethodTrainsAndIsReadAgain(AdapterName method) {
        Path out = dir.resolve("run");
        List<Object> args = with(classify(data, out, 4), "--adapter", method, "--valid-split", 0);
        if (method == AdapterName.bitfit) {
            bad(args, "BitFit: the model has no biases to train");
            return;
        }
        Object[] small = SftAdaptersTest.small(method);
        String report = table(ok(with(args, small).toArray()).out());
        assertThat(report).contains("12 texts");
        assertThat(table(ok(evaluate(data, out).toArray()).out())).isEqualTo(report);
        assertThat(Files.exists(out.resolve("ranks.txt"))).isEqualTo(method == AdapterName.adalora);
        assertThat(Files.exists(out.resolve("ranks.png"))).isEqualTo(method == AdapterName.adalora);
    }

    private static String table(String printed) {
        return printed.substring(printed.indexOf("accuracy "));
    }

    @Test
    void aRunThatGoesOnEndsAsOneThatNeverStopped() throws IOException {
        Path whole = dir.resolve("whole"), parts = dir.resolve("parts");
        ok(with(classify(data, whole, 6), "--lr-scheduler", "constant").toArray());
        ok(with(classify(data, parts, 2), "--lr-scheduler", "constant", "--threads", 1)
                .toArray());
        ok(with(classify(data, parts, 6), "--lr-scheduler", "constant", "--resume")
                .toArray());
        assertThat(Files.readAllBytes(parts.resolve("adapter_model.safetensors")))
                .isEqualTo(Files.readAllBytes(whole.resolve("adapter_model.safetensors")));
    }

    private void badData(String lines, String... parts) throws IOException {
        Path file = Files.writeString(dir.resolve("bad.jsonl"), lines);
        bad(classify(file, dir.resolve("out"), 2), parts);
        assertThat(dir.resolve("out")).doesNotExist();
    }

    @Test
    void whatIsWrongWithTheDataIsNamed() throws IOException {
        badData(
                GOOD + "{\"text\": \"x\", \"lable\": \"sky\"}\n",
                "bad.jsonl:2: has no \"label\"; its keys are text, lable");
        badData(GOOD + "{\"label\": \"sky\"}\n", "bad.jsonl:2: has no \"text\"; its keys are label");
        badData(GOOD + OTHER + "{\"text\": \" \", \"label\": \"sky\"}\n", "bad.jsonl:3: the text is empty");
        badData("{\"text\": \"x\", \"label\": \"\"}\n", "bad.jsonl:1: the label is empty");
        badData("{\"text\": 3, \"label\": \"a\"}\n", "bad.jsonl:1: \"text\" must be a string");
        badData("{\"text\": \"x\", \"label\": [1]}\n", "bad.jsonl:1: \"label\" must be a string or a whole number");
        badData("[3]", "bad.jsonl:1: must be an object with the keys text and label");
        badData("{\"text\": ", "bad.jsonl:1: malformed JSON");
        badData("", "bad.jsonl: the dataset is empty");
        badData(GOOD.repeat(3), "every text has the label \"sky\"; a classifier needs at least two");
        badData(
                GOOD + OTHER.replace("green", "green ".repeat(30)),
                "bad.jsonl:2: has ",
                "more than the maximum length 32");
        bad(classify(dir.resolve("none.jsonl"), dir.resolve("out"), 2), "none.jsonl: no such file");
        Path valid = Files.writeString(dir.resolve("valid.jsonl"), GOOD + OTHER.replace("\"grass\"", "\"sea\""));
        bad(
                with(classify(data, dir.resolve("out"), 2), "--valid", valid),
                "valid.jsonl:2: the label \"sea\" is unknown; there are grass, sky");
    }

    @Test
    void flagsThatWouldBeIgnoredAreRefused() throws IOException {
        List<Object> args = classify(data, dir.resolve("out"), 2);
        bad(with(args, "--adapter", "ia3", "--rank", 4), "--rank does not go with --adapter ia3");
        bad(with(args, "--adapter", "vera", "--alpha", 4), "--alpha does not go with --adapter vera");
        bad(with(args, "--adapter", "loha", "--dropout", 0.1), "--dropout", "loha");
        bad(with(args, "--blocks", 1), "--blocks does not go with --adapter lora");
        bad(with(args, "--adapter", "last_layers", "--target", "q_proj"), "--target", "last_layers");
        bad(with(args, "--adapter", "last_layers", "--blocks", 3), "count 3 is more than the model's 2 blocks");
        bad(with(args, "--every", 5), "--every does not go with --adapter lora");
        bad(with(args, "--adapter", "lisa", "--target", "q_proj"), "--target", "lisa");
        bad(with(args, "--adapter", "lisa", "--blocks", 3), "blocks 3 is more than the model's 2 blocks");
        bad(with(args, "--packing"), "--packing does not go with classify");
        bad(with(args, "--label-smoothing", 0.1), "--label-smoothing does not go with classify");
        bad(with(args, "--target", "nothing"), "no linear layer fits nothing");
        bad(with(args, "--max-seq-length", 97), "--max-seq-length 97 is over the model's limit of 96");
        bad(with(args, "--evaluate", dir), "does not go with --evaluate, which trains nothing");
        bad(evaluate(data, dir.resolve("none")), "none: has no labels.json, so it is no classifier");
        bad(List.of("classify", "--model", model, "--evaluate", dir), "Missing required option: '--data=FILE'");
        assertThat(dir.resolve("out")).doesNotExist();
        assertThat(ok("classify", "--help").out()).contains("lora, adalora, ia3", "Examples:", "--evaluate");
    }
}
