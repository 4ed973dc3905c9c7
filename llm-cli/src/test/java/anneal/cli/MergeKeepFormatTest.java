package anneal.cli;

import static anneal.cli.Cli.bad;
import static anneal.cli.Cli.contents;
import static anneal.cli.Cli.ok;
import static anneal.cli.Cli.with;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import anneal.Pretrained;
import anneal.TinyModelFixture;
import anneal.model.Tokens;
import anneal.nn.Linear;
import anneal.peft.Adapters;
import anneal.tensor.DType;
import anneal.tensor.Memory;
import anneal.tensor.Tape;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;

/** merge from the command line where numbers are rounded: what is stored, what is told, what is refused. */
class MergeKeepFormatTest extends TinyModelFixture {
    private static final String PROBE = "The sky is blue.";

    private static final Pattern TOLD = Pattern.compile(
            "a logit of the probe differs by (\\S+) at most, where the whole effect of the adapter is ([^\\s.,]+[.]?\\d*)");

    private Path adapter(Path base, double rate, Object... more) {
        Path out = dir.resolve("adapter");
        ok(with(
                        Cli.tune(base, data, out, 6),
                        with(List.of("--learning-rate", rate, "--valid-split", 0), more)
                                .toArray())
                .toArray());
        return out;
    }

    private static float[] logits(Path path, Path adapter) {
        try (Pretrained lm = Pretrained.load(path);
                var _ = Memory.scope();
                var _ = Tape.pause()) {
            if (adapter != null) {
                Adapters.load(lm.model().root(), adapter);
            }
            return lm.model().logits(Tokens.of(lm.tokenizer().encode(PROBE))).toArray();
        }
    }

    private static double largest(float[] a, float[] b) {
        double most = 0;
        for (int i = 0; i < a.length; i++) {
            most = Math.max(most, Math.abs((double) a[i] - b[i]));
        }
        return most;
    }

    private List<Object> merge(Path base, Path adapter, Path output) {
        return List.of(
                "merge", "--model", base, "--adapter", adapter, "--output", output, "--keep-format", "--probe", PROBE);
    }

    /** The numbers that are told are those of the files. */
    private void requireTold(String out, Path base, Path adapter, Path merged) {
        Matcher told = TOLD.matcher(out);
        assertThat(told.find()).as(out).isTrue();
        float[] applied = logits(base, adapter);
        double difference = largest(logits(merged, null), applied), effect = largest(applied, logits(base, null));
        assertThat(Double.parseDouble(told.group(1))).isCloseTo(difference, within(0.01 * difference + 1e-5));
        assertThat(Double.parseDouble(told.group(2))).isCloseTo(effect, within(0.01 * effect + 1e-5));
    }

    private static List<String> formats(Path path) {
        try (Pretrained lm = Pretrained.load(path)) {
            return lm.model().root().find(Linear.class).values().stream()
                    .map(l -> l.path() + " " + l.weight().format())
                    .toList();
        }
    }

    @Test
    void blocksOfAGgufFileStayBlocks() {
        Path base = dir.resolve("base.gguf"), merged = dir.resolve("merged.gguf");
        ok("quantize", "--model", model, "--format", "q8_0", "--output", base);
        Path adapter = adapter(base, 0.03, "--rank", 4);
        String out = ok(merge(base, adapter, merged).toArray()).out();
        assertThat(out).contains("Merged 14 matrices in Q8_0: ", "Merged model written to " + merged);
        assertThat(out).doesNotContain("Warning");
        requireTold(out, base, adapter, merged);
        assertThat(formats(merged))
                .isEqualTo(formats(base))
                .filteredOn(f -> f.endsWith(" Q8_0"))
                .hasSize(14);
        assertThat(largest(logits(merged, null), logits(base, null))).isPositive();
    }

    @Test
    void aFolderOfBitsandbytesStaysOne() {
        Path base = dir.resolve("base"), merged = dir.resolve("merged");
        ok("quantize", "--model", model, "--format", "nf4", "--output", base, "--dtype", "bf16");
        Path adapter = adapter(base, 0.1, "--rank", 4);
        String out =
                ok(with(merge(base, adapter, merged), "--bound", 100).toArray()).out();
        requireTold(out, base, adapter, merged);
        assertThat(formats(merged)).isEqualTo(formats(base)).anyMatch(f -> f.contains(" NF4"));
        assertThat(contents(merged).keySet()).contains("config.json", "model.safetensors", "tokenizer.json");
    }

    @Test
    void anUpdateSmallerThanTheStepsIsWarnedOfAndAboveTheBoundRefused() {
        Path base = dir.resolve("base.gguf"), merged = dir.resolve("merged.gguf");
        ok("quantize", "--model", model, "--format", "q4_0", "--output", base);
        Path adapter = adapter(base, 1e-3, "--rank", 4);
        bad(
                with(merge(base, adapter, merged), "--bound", 0),
                "--keep-format: a logit of the probe differs by ",
                "rounding is more than half of the update in 14 of 14",
                "--bound 0.0 refuses that",
                "floats are written and nothing is lost");
        assertThat(merged).doesNotExist();
        String out =
                ok(with(merge(base, adapter, merged), "--bound", 10).toArray()).out();
        assertThat(out)
                .contains("Warning: rounding is more than half of the update in 14 of 14 matrices: most of what they");
        requireTold(out, base, adapter, merged);
    }

    /** A type of all numbers that rounds is measured in the same way. */
    @Test
    void aTypeThatRoundsIsToldAndAboveTheBoundRefused() {
        Path merged = dir.resolve("half"), small = dir.resolve("small");
        Path adapter = adapter(model, 0.03, "--rank", 4);
        List<Object> merge = List.of("merge", "--model", model, "--adapter", adapter, "--probe", PROBE);
        String out =
                ok(with(merge, "--dtype", "bf16", "--output", merged).toArray()).out();
        assertThat(out)
                .contains("Rounded to BF16: a logit of the probe differs by ")
                .doesNotContain("Warning");
        requireTold(out, model, adapter, merged);
        bad(
                with(merge, "--dtype", "bf16", "--output", small, "--bound", 0),
                "--dtype BF16: a logit of the probe differs by ",
                "--bound 0.0 refuses that; with f32 nothing is lost");
        assertThat(small).doesNotExist();
    }

    @Test
    void anUpdateBelowTheStepsOfATypeIsWarnedOf() {
        Path merged = dir.resolve("merged");
        Path adapter = adapter(model, 1e-4, "--rank", 4);
        List<Object> merge = List.of("merge", "--model", model, "--adapter", adapter, "--output", merged);
        String out =
                ok(with(merge, "--dtype", "bf16", "--probe", PROBE).toArray()).out();
        assertThat(out).contains("Warning: that is more than half of what the adapter does");
        requireTold(out, model, adapter, merged);
    }

    /** What trains copies of whole matrices goes back into their formats too, the embedding and a tied head together. */
    @Test
    void aModelTrainedByLisaGoesBackIntoItsStorage() {
        Path base = dir.resolve("half"), merged = dir.resolve("merged");
        try (Pretrained lm = Pretrained.load(model)) {
            lm.save(base, DType.BF16);
        }
        Path adapter = adapter(base, 0.01, "--adapter", "lisa");
        String out =
                ok(with(merge(base, adapter, merged), "--bound", 10).toArray()).out();
        requireTold(out, base, adapter, merged);
        assertThat(formats(merged)).isEqualTo(formats(base)).allMatch(f -> f.endsWith(" BF16"));
        double difference = largest(logits(merged, null), logits(base, adapter));
        Path refused = dir.resolve("refused");
        bad(with(merge(base, adapter, refused), "--bound", 0.9 * difference), "--keep-format: a logit of the probe");
        assertThat(refused)
                .as("norms are rounded when they are written, which is taken back")
                .doesNotExist();
    }

    @Test
    void whatDoesNotFitIsOneSentence() {
        Path adapter = adapter(model, 0.01, "--adapter", "p_tuning", "--virtual-tokens", 2), out = dir.resolve("out");
        List<Object> merge = merge(model, adapter, out);
        bad(merge, adapter + ": merge: ");
        bad(with(merge, "--dtype", "f16"), "--dtype does not go with --keep-format");
        bad(with(merge, "--format", "gguf"), "--format does not go with --keep-format");
        bad(with(merge, "--bound", -1), "--bound -1.0 must be at least 0");
        bad(with(merge, "--probe", ""), "--probe is empty");
        List<Object> floats = List.of("merge", "--model", model, "--adapter", adapter, "--output", out);
        bad(with(floats, "--dtype", "bf16"), adapter + ": merge: ");
        bad(with(floats, "--bound", 1), "--bound needs --keep-format");
        bad(with(floats, "--probe", "x"), "--probe needs --keep-format");
        assertThat(Files.exists(out)).isFalse();
    }
}
