package anneal.cli;

import static anneal.cli.Cli.bad;
import static anneal.cli.Cli.contents;
import static anneal.cli.Cli.ok;
import static anneal.cli.Cli.with;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import anneal.TinyModel;
import anneal.TinyModelFixture;
import anneal.io.Json;
import anneal.io.JsonObject;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** generate, chat, merge, eval, inspect, bench and quickstart from the command line. */
class UsingCommandsTest extends TinyModelFixture {
    private static Path adapter, text;

    @BeforeAll
    static void make() throws IOException {
        adapter = shared.resolve("adapter");
        ok(
                "sft",
                "--model",
                model,
                "--data",
                data,
                "--output",
                adapter,
                "--iters",
                4,
                "--batch-size",
                4,
                "--max-seq-length",
                64,
                "--learning-rate",
                0.05,
                "--valid-split",
                0);
        text = Files.writeString(shared.resolve("text.txt"), "The sky is blue. The grass is green. ".repeat(8));
    }

    private static List<Object> generate(Object... more) {
        return with(List.of("generate", "--model", model, "--prompt", "The sky", "--max-tokens", 6), more);
    }

    @Test
    void generateIsDeterministicAndTheAdapterChangesIt() {
        String greedy = ok(generate().toArray()).out();
        assertThat(greedy).isNotBlank().isEqualTo(ok(generate().toArray()).out());
        assertThat(ok(generate("--adapter", adapter).toArray()).out()).isNotEqualTo(greedy);
        assertThat(ok(generate("--raw").toArray()).out()).isNotEqualTo(greedy);
        List<Object> warm = generate("--temp", 1.5, "--top-p", 0.95, "--top-k", 50, "--min-p", 0.001, "--seed", 3);
        String sampled = ok(warm.toArray()).out();
        assertThat(sampled).isEqualTo(ok(warm.toArray()).out());
        assertThat(ok(generate("--temp", 1.5, "--seed", 4).toArray()).out()).isNotEqualTo(sampled);
        assertThat(ok(generate("--beams", 3).toArray()).out()).isNotBlank();
        assertThat(ok(generate("--beams", 3).toArray()).out())
                .isEqualTo(ok(generate("--beams", 3, "--threads", 1).toArray()).out());
    }

    @Test
    void generateListsLogProbabilities() {
        List<String> lines =
                ok(generate("--logprobs", "--raw").toArray()).out().lines().toList();
        List<String> listed =
                lines.stream().filter(l -> l.matches("\\s*-\\d+\\.\\d{4}  .*")).toList();
        assertThat(listed)
                .hasSizeBetween(1, 6)
                .allSatisfy(l ->
                        assertThat(Double.parseDouble(l.strip().split(" ")[0])).isNegative());
    }

    @Test
    void generateRefusesWhatItWouldIgnore() {
        bad(generate("--beams", 2, "--logprobs"), "--beams 2", "--logprobs");
        bad(generate("--beams", 2, "--top-p", 0.5), "--beams 2", "--top-p");
        bad(generate("--beams", 0), "--beams 0");
        bad(generate("--raw", "--system", "Be brief."), "--system", "--raw");
        bad(generate("--temp", -1), "temperature");
        bad(generate("--top-p", 0), "top-p 0.0");
        bad(List.of("generate", "--model", model, "--prompt", "sky ".repeat(200)), "96");
    }

    @Test
    void chatRemembersAndForgets() {
        String talk = chat("What colour is the sky?\n\n/reset\nWhat colour is the sky?\n/nothing\n/exit\nnever read\n");
        String[] turns = talk.split("> ", -1);
        assertThat(turns).hasSize(7);
        assertThat(turns[1]).isNotBlank();
        assertThat(turns[3]).contains("(forgotten)");
        assertThat(turns[4]).as("the same question to a fresh history").isEqualTo(turns[1]);
        assertThat(turns[5]).contains("unknown command /nothing", "/reset", "/exit");
        assertThat(chat("What colour is the sky?\nWhat colour is the sky?\n").split("> ", -1)[2])
                .as("with a history")
                .isNotEqualTo(turns[1]);
        assertThat(chat("sky ".repeat(120) + "\n/exit\n")).contains("limit of 96 tokens");
    }

    private static String chat(String typed) {
        InputStream before = System.in;
        try {
            System.setIn(new ByteArrayInputStream(typed.getBytes(StandardCharsets.UTF_8)));
            return ok("chat", "--model", model, "--max-tokens", 4).out();
        } finally {
            System.setIn(before);
        }
    }

    @Test
    void aMergedModelSaysWhatBaseAndAdapterSay() {
        String expected = ok(generate("--adapter", adapter).toArray()).out();
        Path folder = dir.resolve("merged"), file = dir.resolve("merged.gguf");
        List<Object> merge = List.of("merge", "--model", model, "--adapter", adapter);
        ok(with(merge, "--output", folder).toArray());
        ok(with(merge, "--output", file, "--format", "gguf", "--dtype", "f16").toArray());
        ok(with(merge, "--output", dir.resolve("half"), "--dtype", "bf16").toArray());
        assertThat(contents(folder)).containsKeys("config.json", "model.safetensors", "tokenizer.json");
        for (Path merged : List.of(folder, file)) {
            assertThat(ok("generate", "--model", merged, "--prompt", "The sky", "--max-tokens", 6)
                            .out())
                    .as(merged + "")
                    .isEqualTo(expected);
        }
        bad(with(merge, "--output", folder), "merged", "exists");
        bad(with(merge, "--output", file, "--format", "gguf"), "merged.gguf", "exists");
        bad(with(merge, "--output", dir.resolve("new"), "--dtype", "f12"), "--dtype", "f12");
        bad(with(merge, "--output", dir.resolve("new"), "--dtype", "q4_0"), "--dtype Q4_0 must be f32, f16 or bf16");
        List<Object> gguf = with(merge, "--output", dir.resolve("new.gguf"), "--format", "gguf");
        bad(with(gguf, "--dtype", "q4_0"), "--dtype Q4_0 must be f32, f16, bf16 or q8_0");
        assertThat(dir.resolve("new")).doesNotExist();
    }

    @Test
    void evalGivesPerplexity() throws IOException {
        List<Object> eval = List.of("eval", "--model", model, "--data", text);
        String all = ok(eval.toArray()).out();
        assertThat(all)
                .containsPattern("perplexity \\d+\\.\\d{4} +\\(nll \\d+\\.\\d{4} per token, \\d+ tokens predicted");
        assertThat(perplexity(ok(with(eval, "--adapter", adapter).toArray()).out()))
                .isNotEqualTo(perplexity(all));
        assertThat(ok(with(eval, "--max-tokens", 10, "--window", 5).toArray()).out())
                .contains(" 8 tokens predicted");
        Path lines = Files.writeString(
                dir.resolve("one.jsonl"), Json.line(java.util.Map.of("text", Files.readString(text))));
        assertThat(perplexity(ok("eval", "--model", model, "--data", lines).out()))
                .isEqualTo(perplexity(all));
        bad(with(eval, "--window", 97), "window 97", "limit of 96");
        bad(with(eval, "--window", 1 << 30), "window 1073741824 is over the model's limit of 96");
        bad(with(eval, "--window", -3), "window -3 must be at least 2");
        bad(List.of("eval", "--model", model, "--data", shared.resolve("train.jsonl")), "train.jsonl:1", "plain text");
        bad(List.of("eval", "--model", model, "--data", dir.resolve("none.txt")), "none.txt");
    }

    @Test
    void evalComparesModelsInATable() throws IOException {
        Path other = TinyModel.write(dir.resolve("other")),
                small = dir.resolve("small.gguf"),
                json = dir.resolve("t.json");
        Path nf4 = dir.resolve("nf4"), checkpoint = Files.createDirectories(other.resolve("checkpoints/step-1"));
        Files.copy(other.resolve("model.safetensors"), checkpoint.resolve("model.safetensors"));
        ok("quantize", "--model", model, "--format", "q8_0", "--output", small);
        ok("quantize", "--model", model, "--format", "nf4", "--output", nf4);
        List<Object> eval = List.of("eval", "--model", model, "--data", text);
        List<String> lines = ok(with(eval, "--against", other, adapter, small, nf4, "--json", json)
                        .toArray())
                .out()
                .lines()
                .toList();
        assertThat(lines.getFirst().split(" +")).containsExactly("model", "MB", "perplexity", "bits/byte", "tokens/s");
        List<String[]> rows =
                lines.stream().skip(1).map(line -> line.split(" +")).toList();
        assertThat(rows.stream().map(row -> row[0]))
                .containsExactly("model", "other", "model+adapter", "small.gguf", "nf4");
        assertThat(rows.get(1)[2]).as("the same numbers").isEqualTo(rows.get(0)[2]);
        assertThat(rows.get(1)[1]).as("without checkpoints").isEqualTo(rows.get(0)[1]);
        assertThat(ok(with(eval, "--adapter", adapter).toArray()).out()).startsWith("perplexity " + rows.get(2)[2]);
        assertThat(ok(with(eval, "--model", small).toArray()).out()).startsWith("perplexity " + rows.get(3)[2]);
        assertThat(ok(with(eval, "--model", nf4).toArray()).out()).startsWith("perplexity " + rows.get(4)[2]);
        JsonObject all = Json.read(json);
        assertThat(all.integer("window")).isEqualTo(TinyModel.CONTEXT);
        assertThat(all.string("compute")).isEqualTo("f32");
        assertThat(all.list("models")).hasSize(5);
        for (int i = 0; i < 5; i++) {
            JsonObject row = all.objects("models").get(i);
            double perplexity = row.number("perplexity");
            assertThat(String.format(java.util.Locale.ROOT, "%.4f", perplexity)).isEqualTo(rows.get(i)[2]);
            assertThat(Math.log(perplexity)).isCloseTo(row.number("nll"), within(1e-12));
            double bits = row.number("nll") / Math.log(2);
            assertThat(row.number("bitsPerByte")).isBetween(bits / 20, bits);
            assertThat(row.number("tokensPerSecond")).isPositive();
            assertThat(row.number("tokens"))
                    .isEqualTo(all.objects("models").get(0).number("tokens"));
        }
        assertThat(all.objects("models").get(3).number("bytes")).isEqualTo(Files.size(small));
        assertThat(all.objects("models").get(2).number("bytes"))
                .isEqualTo(Files.size(model.resolve("model.safetensors"))
                        + Files.size(adapter.resolve("adapter_model.safetensors")));
        bad(with(eval, "--json", json), "t.json", "exists");
        assertThat(bad(with(eval, "--against", dir.resolve("nowhere")), "nowhere"))
                .isNotBlank();
        assertThat(Cli.run(with(eval, "--against", dir.resolve("nowhere")).toArray())
                        .out())
                .as("told before the first is measured")
                .isEmpty();
    }

    /** Models with other limits see the same windows, else their perplexities could not be compared. */
    @Test
    void evalGivesAllModelsTheLeastWindow() throws IOException {
        Path brief = TinyModel.write(dir.resolve("brief")), config = brief.resolve("config.json");
        String said = Files.readString(config);
        assertThat(said).contains("96");
        Files.writeString(config, said.replaceFirst("(\"max_position_embeddings\"\\s*:\\s*)96", "$132"));
        List<String> lines = ok("eval", "--model", model, "--against", brief, "--data", text)
                .out()
                .lines()
                .toList();
        assertThat(lines.get(1).split(" +")[2]).isEqualTo(lines.get(2).split(" +")[2]);
        bad(
                List.of("eval", "--model", model, "--against", brief, "--data", text, "--window", 64),
                "window 64 is over the model's limit of 32");
    }

    @Test
    void theCommandsThatUseAModelComputeInThePrecisionAskedFor() {
        Path file = dir.resolve("m.gguf");
        ok("merge", "--model", model, "--adapter", adapter, "--output", file, "--format", "gguf", "--dtype", "q8_0");
        List<Object> eval = List.of("eval", "--model", file, "--data", text);
        double full = Double.parseDouble(perplexity(ok(eval.toArray()).out()));
        for (String compute : List.of("bf16", "int8")) {
            assertThat(Double.parseDouble(perplexity(
                            ok(with(eval, "--compute", compute).toArray()).out())))
                    .as(compute)
                    .isNotEqualTo(full)
                    .isCloseTo(full, within(0.03 * full));
        }
        assertThat(perplexity(ok(with(eval, "--compute", "f32").toArray()).out()))
                .isEqualTo(perplexity(ok(eval.toArray()).out()));
        List<Object> logProbs =
                generate("--model", file, "--logprobs", "--raw", "--prompt", "The sky is blue. ".repeat(4));
        assertThat(ok(with(logProbs, "--compute", "bf16").toArray()).out())
                .isNotEqualTo(ok(logProbs.toArray()).out());
        assertThat(ok(with(logProbs, "--compute", "int8").toArray()).out())
                .isNotEqualTo(ok(logProbs.toArray()).out());
        assertThat(ok(generate("--compute", "bf16").toArray()).out()).isNotBlank();
    }

    private static String perplexity(String out) {
        return out.replaceAll("(?s).*perplexity (\\S+).*", "$1");
    }

    @Test
    void inspectShowsFoldersAdaptersAndFiles() throws IOException {
        assertThat(ok("inspect", model).out())
                .contains("config.json", "hidden_size", "model.safetensors")
                .containsPattern("F32 +\\d+ tensors");
        assertThat(ok("inspect", adapter, "--tensors").out())
                .contains("adapter_config.json", "lora_alpha", "q_proj.lora_A.weight");
        assertThat(ok("inspect", model.resolve("model.safetensors"), "--tensors")
                        .out())
                .contains("model.embed_tokens.weight", "[300, 32]");
        Path file = dir.resolve("m.gguf");
        ok("merge", "--model", model, "--adapter", adapter, "--output", file, "--format", "gguf", "--dtype", "q8_0");
        assertThat(ok("inspect", file).out())
                .contains("metadata", "general.architecture", "llama", "tokenizer.ggml.tokens", "entries]")
                .containsPattern("Q8_0 +\\d+ tensors");
        bad(List.of("inspect", dir.resolve("none")), "none", "no such file");
        bad(List.of("inspect", text), "text.txt", "neither");
        Path empty = Files.createDirectory(dir.resolve("empty"));
        bad(List.of("inspect", empty), "empty", "config.json");
    }

    @Test
    void benchPrintsOneJsonLineForEachMeasurement() {
        Cli run = ok("bench", "gemm", "--budget", 0.02);
        assertThat(run.out().lines().filter(l -> !l.isBlank()))
                .isNotEmpty()
                .allSatisfy(l -> assertThat(Json.parse(l, "bench").map()).containsKey("case"));
        assertThat(ok("bench", "gemm", "attention", "--compute", "bf16", "--budget", 0.02)
                        .out()
                        .lines()
                        .filter(l -> !l.isBlank()))
                .allSatisfy(l -> assertThat(Json.parse(l, "bench").string("case"))
                        .matches("(gemm|attention-fwd|attention-fwdbwd)-bf16 .+"));
        assertThat(ok("bench", "gemm-int8", "--budget", 0.02).out()).contains("\"gemm-int8 512x2048x2048\"", "GOP/s");
        assertThat(ok("bench", "nf4", "--budget", 0.02).out())
                .contains("\"nf4-quantize\"", "\"nf4-dequantize\"", "GB/s");
        bad(List.of("bench", "nf4", "--compute", "bf16"), "nf4 multiplies nothing");
        bad(List.of("bench", "gemm", "--compute", "int8"), "int8", "not with gemm");
        bad(List.of("bench", "gem"), "gem", "gemm");
        bad(List.of("bench", "gemm", "--budget", 0), "budget 0");
    }

    @Test
    void quickstartGoesAllTheWay() throws IOException {
        Path out = dir.resolve("quick");
        Cli run = ok("quickstart", "--steps", 8, "--output", out);
        assertThat(run.out())
                .contains("Learnt a tokenizer", "Right answers on held-out instructions", "before:", "after:");
        assertThat(contents(out))
                .containsKeys("text.txt", "instructions.jsonl", "held-out.jsonl", "pretraining.png", "fine-tuning.png");
        ok(
                "generate",
                "--model",
                out.resolve("model"),
                "--adapter",
                out.resolve("adapter"),
                "--prompt",
                "Hello",
                "--max-tokens",
                2);
        bad(List.of("quickstart", "--steps", 0, "--output", out), "--steps 0");
        Path mine = Files.createDirectory(dir.resolve("mine"));
        Files.writeString(mine.resolve("diary.txt"), "Dear diary");
        bad(List.of("quickstart", "--steps", 8, "--output", mine), "mine");
        assertThat(contents(mine)).containsOnlyKeys("diary.txt");
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "quickstart",
                "sft",
                "pretrain",
                "classify",
                "distill",
                "generate",
                "chat",
                "merge",
                "prune",
                "quantize",
                "eval",
                "inspect",
                "bench"
            })
    void helpShowsExamples(String command) {
        String help = ok(command, "--help").out();
        String examples = help.substring(help.indexOf("Examples:"));
        assertThat(examples.lines().filter(l -> l.strip().startsWith("anneal " + command)))
                .hasSizeGreaterThanOrEqualTo(2);
        assertThat(ok("--help").out()).contains(command);
    }

    @Test
    void helpOfTheMainJobIsInGroups() {
        assertThat(ok("sft", "--help").out().lines().map(String::strip))
                .contains("Data", "Length and rate", "Adapter", "QLoRA", "Run folder");
        assertThat(ok("pretrain", "--help").out().lines().map(String::strip)).contains("Data", "Model", "Run folder");
        assertThat(ok("generate", "--help").out().lines().map(String::strip)).contains("Sampling");
    }
}
