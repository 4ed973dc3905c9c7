package anneal.cli;

import static anneal.cli.Cli.ok;
import static anneal.cli.Cli.with;
import static org.assertj.core.api.Assertions.assertThat;

import anneal.TinyModel;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What only a process of its own can show: signals and limits of the system. */
@DisabledOnOs(OS.WINDOWS)
class ProcessTest {
    private static final Duration PATIENCE = Duration.ofMinutes(2);

    @TempDir
    private Path dir;

    /** The command in a JVM of its own, started by a shell line that holds {@code $@} where the command goes. */
    private Process start(String shell, Object... args) throws IOException {
        List<String> command = new ArrayList<>(List.of("sh", "-c", shell, "sh"));
        command.addAll(Cli.java(List.of("-XX:-UsePerfData"), args));
        return new ProcessBuilder(command)
                .redirectOutput(dir.resolve("out").toFile())
                .redirectError(dir.resolve("err").toFile())
                .start();
    }

    private String text(String file) throws IOException {
        return Files.readString(dir.resolve(file));
    }

    private static int finish(Process process) throws InterruptedException {
        assertThat(process.waitFor(PATIENCE.toSeconds(), TimeUnit.SECONDS))
                .as("still running")
                .isTrue();
        return process.exitValue();
    }

    private static Object[] sft(Path model, Path data, Path out, int steps, Object... more) {
        List<Object> rare = with(
                Cli.sft(model, data, out, steps),
                "--batch-size",
                1,
                "--lr-scheduler",
                "constant",
                "--save-every",
                1000,
                "--steps-per-report",
                1,
                "--steps-per-eval",
                0);
        return with(rare, more).toArray();
    }

    @ParameterizedTest
    @CsvSource({"INT, 130", "TERM, 143", "HUP, 129"})
    void aSignalFinishesTheStepAndSavesAndTheRunGoesOn(String signal, int code) throws Exception {
        Path model = TinyModel.write(dir.resolve("model")), run = dir.resolve("run");
        Path data = TinyModel.conversations(dir.resolve("train.jsonl"), 12);
        Process process = start("exec \"$@\"", sft(model, data, run, 1_000_000));
        Instant deadline = Instant.now().plus(PATIENCE);
        Path metrics = run.resolve("metrics.jsonl");
        while (process.isAlive() && !(Files.exists(metrics) && Files.size(metrics) > 1000)) {
            assertThat(Instant.now()).isBefore(deadline);
            Thread.sleep(20);
        }
        new ProcessBuilder("kill", "-" + signal, Long.toString(process.pid()))
                .start()
                .waitFor();
        assertThat(finish(process)).as(text("err")).isEqualTo(code);
        assertThat(text("out")).contains("Stopped before the end; the same command with --resume goes on.");
        assertThat(run).isDirectoryContaining("glob:**/adapter_model.safetensors");
        assertThat(Files.readAllBytes(run.resolve("loss.png"))).startsWith(0x89, 'P', 'N', 'G');

        long made = lastStep(metrics);
        Cli resumed = ok(sft(model, data, run, (int) made + 2, "--resume"));
        assertThat(resumed.out()).contains("step " + (made + 2) + "/" + (made + 2));
        assertThat(lastStep(metrics)).isEqualTo(made + 2);
    }

    private static long lastStep(Path metrics) throws IOException {
        long last = 0;
        for (String line : Files.readAllLines(metrics)) {
            last = Math.max(last, new ObjectMapper().readTree(line).get("step").asLong());
        }
        return last;
    }

    @Test
    void aFullDiskIsOneSentenceAndLeavesNothingHalfWritten() throws Exception {
        Path model = TinyModel.write(dir.resolve("model")), out = dir.resolve("merged"), run = dir.resolve("run");
        Path data = TinyModel.conversations(dir.resolve("train.jsonl"), 12);
        ok(sft(model, data, run, 1));
        // no file may grow beyond 4 KB: to a program that looks as a disk does that has filled up
        Process process =
                start("ulimit -f 8; exec \"$@\"", "merge", "--model", model, "--adapter", run, "--output", out);
        assertThat(finish(process)).as(text("out")).isEqualTo(2);
        assertThat(text("err").lines().filter(l -> l.startsWith("anneal: ")))
                .singleElement()
                .asString()
                .contains("merged", "File too large");
        assertThat(text("err")).doesNotContain("\tat ");
        try (Stream<Path> left = Files.list(dir)) {
            assertThat(left.map(p -> p.getFileName().toString()))
                    .containsExactlyInAnyOrder("model", "train.jsonl", "run", "out", "err");
        }
    }

    /** Runs where no file may grow beyond {@code blocks} of 512 bytes, and checks that it fails with this sentence. */
    private void full(int blocks, Object[] command, String... sentence) throws Exception {
        Process process = start("ulimit -f " + blocks + "; exec \"$@\"", command);
        assertThat(finish(process)).as(text("out")).isEqualTo(2);
        assertThat(text("err").lines().filter(l -> l.startsWith("anneal: ")))
                .singleElement()
                .asString()
                .contains(sentence);
    }

    @Test
    void aDiskThatIsFullAtTheFirstCheckpointLeavesRoomForTheSameCommand() throws Exception {
        Path model = TinyModel.write(dir.resolve("model")), run = dir.resolve("run");
        Path empty = Files.createDirectory(dir.resolve("empty"));
        Path data = TinyModel.conversations(dir.resolve("train.jsonl"), 12);
        full(8, sft(model, data, run, 1), "checkpoint-1", "the checkpoint could not be saved", "File too large");
        assertThat(run).doesNotExist();
        full(8, sft(model, data, empty, 1), "checkpoint-1", "the checkpoint could not be saved", "File too large");
        assertThat(empty).isEmptyDirectory();
        ok(sft(model, data, empty, 1));
    }

    @Test
    void aDiskThatIsFullWhenTheRunIsOverLeavesWholeFilesAndTheRunGoesOn() throws Exception {
        Path model = TinyModel.write(dir.resolve("model")), run = dir.resolve("run");
        Path data = TinyModel.conversations(dir.resolve("train.jsonl"), 12);
        ok(sft(model, data, run, 1, "--target", "q_proj"));
        long largest = 0;
        try (Stream<Path> files = Files.walk(run.resolve("checkpoints"))) {
            for (Path file : files.filter(Files::isRegularFile).toList()) {
                largest = Math.max(largest, Files.size(file));
            }
        }
        assertThat(Files.size(run.resolve("loss.png"))).isGreaterThan(largest + 1024);
        Path second = dir.resolve("second");
        Object[] command = sft(model, data, second, 1, "--target", "q_proj");
        full((int) Math.ceilDiv(largest, 512) + 1, command, "loss.png", "File too large");
        try (Stream<Path> files = Files.list(second)) {
            assertThat(files.map(p -> p.getFileName().toString()))
                    .containsExactlyInAnyOrder(
                            "adapter_config.json",
                            "adapter_model.safetensors",
                            "checkpoints",
                            "config.yaml",
                            "metrics.jsonl");
        }
        ok(sft(model, data, second, 2, "--target", "q_proj", "--resume"));
        assertThat(second.resolve("loss.png")).exists();
    }
}
