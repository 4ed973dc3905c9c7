package anneal.cli;

import static anneal.cli.Cli.bad;
import static anneal.cli.Cli.contents;
import static anneal.cli.Cli.ok;
import static anneal.cli.Cli.with;
import static org.assertj.core.api.Assertions.assertThat;

import anneal.TinyModel;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What may change, and what not, when a run goes on. */
class ResumeTest {
    @TempDir
    private Path dir;

    private Path model, data, run;

    @BeforeEach
    void make() {
        model = TinyModel.write(dir.resolve("model"));
        data = TinyModel.conversations(dir.resolve("train.jsonl"), 12);
        run = dir.resolve("run");
        ok(sft().toArray());
    }

    private List<Object> sft(Object... more) {
        return with(with(Cli.sft(model, data, run, 2), "--lr-scheduler", "constant"), more);
    }

    private void refused(String key, String was, Object is) {
        bad(
                with(sft("--resume"), "--" + key, is),
                "config.yaml: " + key + " was " + was + ", is now " + is,
                "give the old value, or another --output without --resume");
    }

    @Test
    void anotherModelAdapterBatchOrLossIsAnError() throws IOException {
        Path otherModel = TinyModel.write(dir.resolve("other"));
        Path otherData = TinyModel.conversations(dir.resolve("other.jsonl"), 8);
        var before = contents(run);
        refused("batch-size", "2", 1);
        refused("max-seq-length", "64", 63);
        refused("rank", "2", 4);
        refused("alpha", "not given", 8.0);
        refused("dropout", "0.05", 0.0);
        refused("target", "all-linear", "q_proj");
        refused("label-smoothing", "0.0", 0.1f);
        refused("seed", "0", 3);
        refused("model", model.toString(), otherModel);
        refused("data", data.toString(), otherData);
        bad(sft("--resume", "--valid", otherData), "valid was not given, is now " + otherData);
        bad(sft("--resume", "--packing"), "packing was false, is now true");
        bad(sft("--resume", "--rslora"), "rslora was not given, is now true");
        assertThat(contents(run)).isEqualTo(before);
        Files.writeString(run.resolve("config.yaml"), "batch-size: [");
        bad(sft("--resume"), "config.yaml", "not YAML");
    }

    @Test
    void anotherLengthRateOrPrecisionIsTold() {
        Cli longer = ok(sft("--resume", "--iters", 3, "--learning-rate", 0.5, "--compute", "bf16")
                .toArray());
        assertThat(longer.out())
                .contains(
                        "Warning: a flag is not what it was before: iters was 2, is now 3.",
                        "Warning: a flag is not what it was before: learning-rate was 2.0E-4, is now 0.5.",
                        "Warning: a flag is not what it was before: compute was f32, is now bf16.")
                .contains("step 3/3");
    }

    @Test
    void whatChangesNoNumberIsNotWorthAWord() throws IOException {
        Path sameModel = dir.resolve(".").resolve("model");
        List<Object> args = sft(
                "--resume",
                "--save-every",
                1,
                "--steps-per-eval",
                1,
                "--steps-per-report",
                2,
                "--keep-last",
                1,
                "--threads",
                1,
                "--model",
                sameModel);
        assertThat(ok(args.toArray()).out()).doesNotContain("Warning");
        Files.delete(run.resolve("config.yaml"));
        ok(sft("--resume", "--batch-size", 1).toArray());
    }
}
