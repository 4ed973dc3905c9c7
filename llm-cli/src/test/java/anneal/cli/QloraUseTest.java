package anneal.cli;

import static anneal.cli.Cli.bad;
import static anneal.cli.Cli.ok;
import static anneal.cli.Cli.with;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import anneal.Pretrained;
import anneal.TinyModel;
import anneal.TinyModelFixture;
import anneal.io.Json;
import anneal.io.Safetensors;
import anneal.tensor.DType;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** An adapter that was trained on a quantised base is used on the same numbers, or a warning names the flags that make them. */
class QloraUseTest extends TinyModelFixture {
    private static Path text, adapter, plain;

    @BeforeAll
    static void make() throws IOException {
        text = Files.writeString(shared.resolve("held.txt"), "The sky is blue and the grass is green. ".repeat(10));
        adapter = shared.resolve("nf4");
        plain = shared.resolve("plain");
        ok(sft(adapter, "--quantize", "nf4").toArray());
        ok(sft(plain).toArray());
    }

    private static List<Object> sft(Path output, Object... more) {
        return with(with(Cli.sft(model, data, output, 3), "--valid-split", 0, "--learning-rate", 0.02), more);
    }

    private static List<Object> generate(Object... more) {
        return with(List.of("generate", "--model", model, "--prompt", "What colour", "--logprobs", "--raw"), more);
    }

    private static List<Object> eval(Object... more) {
        return with(List.of("eval", "--model", model, "--data", text), more);
    }

    /** "perplexity 201.1234  (nll 5.3040 per token", without how fast it was. */
    private static String perplexity(List<Object> eval) {
        return ok(eval.toArray()).out().split(",")[0];
    }

    @Test
    void generateAndEvalHoldTheBaseAsTrainingDid() {
        List<Object> same = List.of("--adapter", adapter, "--quantize", "nf4");
        String answer = ok(generate(same.toArray()).toArray()).out();
        Path stored = dir.resolve("stored");
        ok("quantize", "--model", model, "--format", "nf4", "--output", stored);
        assertThat(answer)
                .isEqualTo(ok(generate("--model", stored, "--adapter", adapter).toArray())
                        .out());
        String measured = perplexity(eval(same.toArray()));
        assertThat(measured).isEqualTo(perplexity(eval("--model", stored, "--adapter", adapter)));
        assertThat(measured).isNotEqualTo(perplexity(eval("--quantize", "nf4")));
        assertThat(perplexity(eval("--quantize", "nf4")))
                .as("without an adapter too")
                .isEqualTo(perplexity(eval("--model", stored)))
                .isNotEqualTo(perplexity(eval()));
    }

    @Test
    void mergeAddsToTheBaseOfTheTraining() {
        Path floats = dir.resolve("floats"), kept = dir.resolve("kept");
        List<Object> merge = List.of("merge", "--model", model, "--adapter", adapter, "--quantize", "nf4");
        assertThat(ok(with(merge, "--output", floats).toArray()).out()).contains("held in NF4-DQ");
        double applied = perplexityOf(eval("--adapter", adapter, "--quantize", "nf4"));
        assertThat(perplexityOf(eval("--model", floats))).isCloseTo(applied, within(applied * 1e-4));
        ok(with(merge, "--output", kept, "--keep-format", "--bound", 100).toArray());
        assertThat(ok("inspect", kept).out()).contains("load_in_4bit=true");
    }

    /** Blocks of GGUF have no place in a folder, nor bitsandbytes' numbers in a GGUF file. */
    @Test
    void aFormatThatTheOutputCannotHoldIsNotKept() {
        Path gguf = dir.resolve("base.gguf"), kept = dir.resolve("kept");
        try (Pretrained lm = Pretrained.load(model)) {
            lm.saveGguf(gguf, DType.F32);
        }
        List<Object> merge = List.of("merge", "--model", model, "--adapter", plain, "--output", kept, "--keep-format");
        bad(
                with(merge, "--quantize", "q4_0"),
                "--keep-format: a folder cannot hold Q4_0 (model.layers.0.self_attn.q_proj)");
        bad(
                with(merge, "--quantize", "nf4", "--model", gguf),
                "--keep-format: a GGUF file cannot hold NF4-DQ (model.layers.0.self_attn.q_proj)");
        assertThat(kept).doesNotExist();
    }

    @Test
    void theWindowLeavesRoomForVirtualTokens() {
        Path prompt = dir.resolve("prompt");
        List<Object> tune = with(Cli.tune(model, data, prompt, 2), "--quantize", "nf4", "--valid-split", 0);
        ok(with(tune, "--adapter", "prompt_tuning", "--virtual-tokens", 10).toArray());
        List<Object> eval = eval("--adapter", prompt, "--quantize", "nf4");
        assertThat(perplexity(eval)).isEqualTo(perplexity(with(eval, "--window", TinyModel.CONTEXT - 10)));
    }

    private static double perplexityOf(List<Object> eval) {
        return Double.parseDouble(perplexity(eval).split(" +")[1]);
    }

    @Test
    void onTheBaseInFloatsOneWarningNamesTheFlags() {
        String warning =
                "Warning: " + adapter + " was trained on a base held in NF4-DQ; --quantize nf4 holds this one so too.";
        for (List<Object> use : List.of(
                generate("--adapter", adapter, "--max-tokens", 2),
                eval("--adapter", adapter),
                List.<Object>of("merge", "--model", model, "--adapter", adapter, "--output", dir.resolve("merged")))) {
            Cli run = Cli.run(use.toArray());
            assertThat(run.code()).isZero();
            assertThat(run.err().lines()).as(use.toString()).containsExactly(warning);
        }
        ok(generate("--adapter", plain, "--max-tokens", 2).toArray());
        ok(generate("--adapter", plain, "--quantize", "nf4", "--max-tokens", 2).toArray());
    }

    @ParameterizedTest
    @CsvSource({
        "--quantize fp4,FP4-DQ",
        "--quantize nf4-b128,NF4-B128-DQ",
        "--quantize nf4 --no-double-quant,NF4",
        "--quantize nf4-b32 --no-double-quant,NF4-B32",
        "--quantize int8,INT8",
        "--quantize q4_0,Q4_0",
        "--quantize int4-g16,INT4-G16",
    })
    void theFlagsOfTheWarningMakeTheNumbersOfTheTraining(String flags, String name) throws IOException {
        Path out = dir.resolve("run");
        ok(sft(out, (Object[]) flags.split(" ")).toArray());
        try (Arena arena = Arena.ofShared()) {
            assertThat(Safetensors.open(out.resolve("adapter_model.safetensors"), arena)
                            .metadata())
                    .containsEntry("anneal.base.format", name);
        }
        Cli run = Cli.run(generate("--adapter", out, "--max-tokens", 1).toArray());
        assertThat(run.err()).contains("held in " + name + "; " + flags + " holds");
        ok(with(generate("--adapter", out, "--max-tokens", 1), (Object[]) flags.split(" "))
                .toArray());
    }

    @Test
    void aTableIsOfTheBaseHeldSo() {
        Path json = dir.resolve("t.json");
        ok(eval("--quantize", "nf4", "--against", adapter, model, "--json", json)
                .toArray());
        var rows = Json.read(json).objects("models");
        assertThat(rows.stream().map(row -> row.string("quantize", "as stored")))
                .containsExactly("NF4-DQ", "NF4-DQ", "as stored");
        assertThat(rows.get(0).number("perplexity"))
                .isNotEqualTo(rows.get(2).number("perplexity"))
                .isNotEqualTo(rows.get(1).number("perplexity"));
    }

    @Test
    void flagsThatDoNotFit() {
        bad(generate("--quantize", "nf5"), "\"nf5\" is no format", "the nearest is nf4");
        bad(eval("--quantize-block", 64), "--quantize-block needs --quantize");
        bad(
                List.of(
                        "merge",
                        "--model",
                        model,
                        "--adapter",
                        plain,
                        "--output",
                        dir.resolve("no"),
                        "--no-double-quant"),
                "--no-double-quant needs --quantize");
        ok("quantize", "--model", model, "--format", "q8_0", "--output", dir.resolve("q8.gguf"));
        bad(generate("--model", dir.resolve("q8.gguf"), "--quantize", "nf4"), "is quantised already, as Q8_0");
        assertThat(dir.resolve("no")).doesNotExist();
        assertThat(ok("merge", "--help").out()).contains("--quantize", "An adapter of QLoRA");
    }
}
