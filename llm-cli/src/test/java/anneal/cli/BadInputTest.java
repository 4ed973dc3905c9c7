package anneal.cli;

import static anneal.cli.Cli.bad;
import static anneal.cli.Cli.contents;
import static anneal.cli.Cli.ok;
import static anneal.cli.Cli.with;
import static org.assertj.core.api.Assertions.assertThat;

import anneal.Pretrained;
import anneal.TinyModel;
import anneal.TinyModelFixture;
import anneal.tensor.DType;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Bad input: exit code 2, one sentence that names what is wrong, nothing half-written. */
class BadInputTest extends TinyModelFixture {
    private static Path gguf;

    @BeforeAll
    static void make() throws IOException {
        gguf = shared.resolve("model.gguf");
        try (Pretrained lm = Pretrained.load(model)) {
            lm.saveGguf(gguf, DType.F32);
        }
        Files.writeString(shared.resolve("plain.txt"), "The sky is blue. The grass is green.");
    }

    @AfterEach
    void nothingIsWritten() {
        assertThat(dir.resolve("out")).doesNotExist();
    }

    private List<Object> sft(Path model, Path data, Object... more) {
        return with(Cli.sft(model, data, dir.resolve("out"), 4), more);
    }

    private Path copy() throws IOException {
        Path folder = Files.createDirectory(dir.resolve("broken"));
        try (Stream<Path> files = Files.list(model)) {
            for (Path f : files.toList()) {
                Files.copy(f, folder.resolve(f.getFileName()));
            }
        }
        return folder;
    }

    /** A copy of the model with NaN among its last weights. */
    private Path notNumbers() throws IOException {
        Path folder = copy(), weights = folder.resolve("model.safetensors");
        byte[] bytes = Files.readAllBytes(weights);
        ByteBuffer last = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
        for (int at = bytes.length - 400; at < bytes.length; at += 4) {
            last.putInt(at, Float.floatToIntBits(Float.NaN));
        }
        Files.write(weights, bytes);
        return folder;
    }

    private static void edit(Path file, String from, String to) throws IOException {
        String text = Files.readString(file);
        assertThat(text).containsPattern(from);
        Files.writeString(file, text.replaceFirst(from, to));
    }

    private static byte[] header(String json, int dataBytes) {
        byte[] text = json.getBytes(StandardCharsets.UTF_8);
        return ByteBuffer.allocate(8 + text.length + dataBytes)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putLong(text.length)
                .put(text)
                .array();
    }

    @Test
    void modelsThatAreNotThereOrCutShort() throws IOException {
        bad(sft(dir.resolve("none"), data), "none", "does not exist");
        Path weights = copy().resolve("model.safetensors");
        byte[] whole = Files.readAllBytes(weights);
        for (int length : new int[] {whole.length - 4, 200, 4, 0}) {
            Files.write(weights, Arrays.copyOf(whole, length));
            bad(sft(weights.getParent(), data), "model.safetensors");
        }
        Files.delete(weights);
        bad(sft(weights.getParent(), data), "safetensors");
        byte[] file = Files.readAllBytes(gguf);
        Path cut = dir.resolve("cut.gguf");
        for (int length : new int[] {file.length - 4, 5000, 20, 0}) {
            Files.write(cut, Arrays.copyOf(file, length));
            bad(sft(cut, data), "cut.gguf");
            bad(List.of("inspect", cut), "cut.gguf");
        }
    }

    @Test
    void headersThatLie() throws IOException {
        Path folder = copy(), weights = folder.resolve("model.safetensors");
        for (String lie : List.of(
                "{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,999999]}}",
                "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
                        + "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}",
                "{\"a\":{\"dtype\":\"F32\",\"shape\":[9223372036854775807,9],\"data_offsets\":[0,16]}}")) {
            Files.write(weights, header(lie, 16));
            bad(sft(folder, data), "model.safetensors", "a");
        }
        byte[] huge = header("{}", 16);
        ByteBuffer.wrap(huge).order(ByteOrder.LITTLE_ENDIAN).putLong(0, Long.MAX_VALUE);
        Files.write(weights, huge);
        bad(sft(folder, data), "model.safetensors");
        byte[] counts = Files.readAllBytes(gguf);
        ByteBuffer.wrap(counts)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putLong(8, 1L << 60)
                .putLong(16, 1L << 60);
        bad(sft(Files.write(dir.resolve("lies.gguf"), counts), data), "lies.gguf");
    }

    @Test
    void moreLayersThanAFileCanHold() throws IOException {
        byte[] bytes = Files.readAllBytes(gguf), key = "llama.block_count".getBytes(StandardCharsets.UTF_8);
        int at = new String(bytes, StandardCharsets.ISO_8859_1).indexOf("llama.block_count") + key.length + 4;
        Path folder = copy(), lies = dir.resolve("layers.gguf");
        String config = Files.readString(folder.resolve("config.json"));
        for (int layers : new int[] {100_000_000, Integer.MAX_VALUE}) {
            ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).putInt(at, layers);
            bad(sft(Files.write(lies, bytes), data), "llama.block_count " + layers);
            Files.writeString(
                    folder.resolve("config.json"),
                    config.replaceFirst("\"num_hidden_layers\"\\s*:\\s*2", "\"num_hidden_layers\": " + layers));
            bad(sft(folder, data), "config.json", "num_hidden_layers", "at most 4096", "" + layers);
        }
        bad(
                List.of("pretrain", "--data", text(), "--layers", 100_000_000, "--output", dir.resolve("out")),
                "at most 4096");
    }

    private Path text() throws IOException {
        return Files.writeString(dir.resolve("text.txt"), "all work and no play makes jack a dull boy ".repeat(200));
    }

    @Test
    void aModelThatCannotBeMade() throws IOException {
        for (String flag : List.of("--heads", "--layers", "--hidden-size")) {
            bad(
                    List.of("pretrain", "--data", text(), flag, 0, "--output", dir.resolve("out")),
                    flag + " 0 must be at least 1");
        }
        bad(
                List.of(
                        "pretrain",
                        "--data",
                        text(),
                        "--hidden-size",
                        65536,
                        "--layers",
                        400,
                        "--output",
                        dir.resolve("out")),
                "not enough memory: to train",
                "GiB are free");
    }

    @Test
    void aModelThatGivesNoNumbers() throws IOException {
        Path folder = notNumbers();
        bad(List.of("generate", "--model", folder, "--prompt", "x", "--beams", 2), "not numbers (NaN)");
        bad(List.of("generate", "--model", folder, "--prompt", "x"), "not numbers (NaN)");
        bad(List.of("eval", "--model", folder, "--data", text()), "not finite", "NaN");
    }

    @Test
    void aConfigThatSaysAThingTwice() throws IOException {
        Path yaml = Files.writeString(dir.resolve("run.yaml"), "iters: 3\niters: 4\n");
        bad(sft(model, data, "--config", yaml), "run.yaml", "iters");
    }

    @Test
    void modelsWhosePartsDoNotFit() throws IOException {
        Path folder = copy(), config = folder.resolve("config.json");
        String good = Files.readString(config);
        edit(config, "\"intermediate_size\"\\s*:\\s*64", "\"intermediate_size\": 60");
        bad(
                sft(folder, data),
                "model.layers.0.mlp.gate_proj.weight",
                "model.layers.1.mlp.down_proj.weight",
                "model.layers.1.mlp.up_proj.weight",
                "60",
                "64");
        Files.writeString(config, good);
        edit(config, "LlamaForCausalLM", "OtterForCausalLM");
        edit(config, "\"model_type\"\\s*:\\s*\"llama\"", "\"model_type\": \"otter\"");
        bad(sft(folder, data), "config.json", "tter");
        Files.writeString(config, good.replace("{", "[").substring(0, 20));
        bad(sft(folder, data), "config.json");
        Files.writeString(config, good);
        edit(
                folder.resolve("tokenizer.json"),
                "\"added_tokens\"\\s*:\\s*\\[",
                "\"added_tokens\":[{\"id\":5000,\"content\":\"<far>\",\"special\":true,\"single_word\":false,"
                        + "\"lstrip\":false,\"rstrip\":false,\"normalized\":false},");
        bad(sft(folder, data), "5001", "300");
    }

    @Test
    void samplesThatCannotBeTrained() throws IOException {
        Path file = dir.resolve("bad.jsonl");
        String line = Files.readAllLines(data).getFirst();
        Files.writeString(file, line + "\n" + line + "\n{\"messages\": [\n");
        assertThat(bad(sft(model, file), "bad.jsonl:3")).doesNotContain("start marker");
        Files.writeString(file, line + "\n{\"question\": \"what?\"}\n");
        bad(sft(model, file), "bad.jsonl:2", "question");
        Files.writeString(file, line + "\n{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}\n");
        bad(sft(model, file), "bad.jsonl:2", "no token is trained");
        Files.writeString(file, "");
        bad(sft(model, file), "bad.jsonl", "empty");
        bad(sft(model, dir.resolve("none.jsonl")), "none.jsonl");
        bad(sft(model, data, "--valid", dir.resolve("none.jsonl")), "none.jsonl");
        Files.writeString(file, line + "\n" + line.replace("What", "sky ".repeat(80)) + "\n");
        bad(sft(model, file), "bad.jsonl:2", "64");
        bad(sft(model, data, "--max-seq-length", 97), "--max-seq-length", "97", "96");
    }

    @Test
    void flagsThatMakeNoSense() {
        for (List<?> flag : List.of(
                List.of("--batch-size", 0),
                List.of("--grad-accumulation", 0),
                List.of("--iters", 0),
                List.of("--max-seq-length", 1),
                List.of("--steps-per-report", 0),
                List.of("--keep-last", 0),
                List.of("--threads", 0),
                List.of("--warmup", -1),
                List.of("--valid-split", 1.0))) {
            bad(sft(model, data, flag.toArray()), flag.get(0) + " " + flag.get(1), "must be");
        }
        bad(sft(model, data, "--epochs", 1), "--iters", "--epochs");
        bad(sft(model, data, "--batch-size", 200_000_000), "not enough memory: this run needs about", "GiB are free");
        bad(
                List.of("eval", "--model", model, "--data", data, "--max-tokens", -5),
                "--max-tokens -5 must be at least 0");
        bad(List.of("chat", "--model", model, "--beams", 4), "--beams");
        bad(sft(model, data, "--rank", 0), "rank 0");
        bad(sft(model, data, "--target", "q_prj"), "q_prj");
        bad(sft(model, data, "--target", "(q_proj"), "(q_proj");
        bad(sft(model, data, "--learning-rate", "NaN"), "NaN");
        bad(sft(model, data, "--lr-scheduler", "cosin"), "--lr-scheduler", "cosine");
        bad(sft(model, data, "--compute", "fp8"), "--compute", "[f32, bf16, int8]", "fp8");
        bad(sft(model, data, "--compute", "int8"), "--compute int8 is for using a model: training needs f32 or bf16");
        bad(List.of("eval", "--model", model, "--data", data, "--compute", "half"), "[f32, bf16, int8]", "half");
        bad(sft(model, data, "--itres", 4), "--itres", "did you mean --iters?");
        bad(sft(model, data, "--resume"), "nothing to resume");
        List<Object> twice = new ArrayList<>(sft(model, data));
        twice.addAll(List.of("--batch-size", 3));
        bad(twice, "'--batch-size'", "only once");
        bad(List.of("sftt"), "sftt", "did you mean sft?");
        bad(List.of("generat", "--model", model), "did you mean generate?");
    }

    @Test
    void anOutputFolderThatExistsIsLeftAlone() throws IOException {
        Path there = Files.createDirectory(dir.resolve("there"));
        Files.writeString(there.resolve("thesis.txt"), "all of it");
        Map<String, String> before = contents(there);
        List<Object> args = new ArrayList<>(sft(model, data));
        args.set(args.indexOf("--output") + 1, there);
        bad(args, "there", "exists");
        args.set(args.indexOf("--output") + 1, there.resolve("thesis.txt"));
        bad(args, "thesis.txt", "exists");
        assertThat(contents(there)).isEqualTo(before);
    }

    @Test
    void aLossThatIsNotANumberStopsTheRun() throws IOException {
        Path folder = notNumbers();
        bad(sft(folder, data, "--valid-split", 0), "NaN", "step 1", "train.jsonl:");
        Path kept = dir.resolve("kept");
        List<Object> args = new ArrayList<>(Cli.tune(model, data, kept, 4));
        args.addAll(List.of("--save-every", 1, "--valid-split", 0, "--full"));
        args.addAll(List.of("--learning-rate", 1e30));
        String error = bad(args, "step 2", "train.jsonl:", "last checkpoint");
        assertThat(error).containsAnyOf("NaN", "Infinity");
        assertThat(kept.resolve("checkpoints")).isNotEmptyDirectory();
        assertThat(kept.resolve("model.safetensors")).doesNotExist();
    }

    @Test
    void anAdapterThatDoesNotFitIsToldWithAllThatIsWrong() throws IOException {
        Path adapter = dir.resolve("adapter");
        List<Object> args = new ArrayList<>(sft(model, data, "--target", "q_proj,v_proj"));
        args.set(args.indexOf("--output") + 1, adapter);
        ok(args.toArray());
        edit(adapter.resolve("adapter_config.json"), "\"r\"\\s*:\\s*2", "\"r\": 3");
        for (List<?> use : List.of(
                List.of("generate", "--model", model, "--adapter", adapter, "--prompt", "x"),
                List.of("merge", "--model", model, "--adapter", adapter, "--output", dir.resolve("out")))) {
            bad(use, "adapter", "layers.0.self_attn.q_proj", "layers.1.self_attn.v_proj");
        }
        bad(List.of("generate", "--model", model, "--adapter", dir.resolve("no"), "--prompt", "x"), "no");
        edit(adapter.resolve("adapter_config.json"), "lora_dropout", "lora_dropuot");
        bad(
                List.of("generate", "--model", model, "--adapter", adapter, "--prompt", "x"),
                "adapter_config.json: unknown key \"lora_dropuot\", did you mean \"lora_dropout\"?");
    }

    @Test
    void adaptersThatALayerCannotHave() {
        bad(sft(model, data, "--rank", 64), "rank 64 is above what model.layers.0.", "can have: at most 32");
        bad(
                sft(model, data, "--adapter", "adalora", "--rank", 64, "--valid-split", 0),
                "rank 96 is above the smaller side 32 of model.layers.0.");
        bad(sft(model, data, "--target", "q_prj"), "no linear layer fits q_prj; there are ", "did you mean q_proj?");
        bad(
                sft(model, data, "--target", ".*layers[.]9[.].*"),
                "no linear layer fits .*layers[.]9[.].*",
                "there are down_proj");
    }

    @Test
    void aBaseThatIsQuantisedAlreadyOrHasNoNumbers() throws IOException {
        Path small = dir.resolve("small.gguf");
        ok("quantize", "--model", model, "--format", "q8_0", "--output", small);
        bad(sft(small, data, "--quantize", "nf4"), "model.layers.0.self_attn.q_proj is quantised already, as Q8_0");
        bad(sft(model, data, "--quantize", "nf4", "--quantize-block", 48), "power of two from 32 to 4096, not 48");
        bad(sft(model, data, "--quantize", "q4_k"), "rows of 32 numbers are no whole blocks of 256, which Q4_K wants");
        bad(sft(model, data, "--quantize", "int4-g128"), "rows of 32 numbers are no whole groups of 128");
    }

    /** PEFT's own files remember no base: there only shapes can tell. Ours do. */
    @Test
    void anAdapterOfAnotherBaseIsRefused() {
        Path adapter = dir.resolve("adapter"), other = dir.resolve("other");
        try (Pretrained lm = TinyModel.create(8)) {
            lm.save(other);
        }
        ok(with(Cli.sft(other, data, adapter, 1), "--valid-split", 0).toArray());
        for (List<?> use : List.of(
                List.of("generate", "--model", model, "--adapter", adapter, "--prompt", "x"),
                List.of("eval", "--model", model, "--adapter", adapter, "--data", shared.resolve("plain.txt")),
                List.of("eval", "--model", model, "--against", adapter, "--data", shared.resolve("plain.txt")),
                List.of("merge", "--model", model, "--adapter", adapter, "--output", dir.resolve("out")))) {
            bad(use, "adapter_model.safetensors was made for another base", "though the shapes are the same");
        }
    }

    @Test
    void featuresOfPeftThatWouldChangeTheNumbersAreNamed() throws IOException {
        Path adapter = dir.resolve("adapter"), config = adapter.resolve("adapter_config.json");
        ok(with(Cli.sft(model, data, adapter, 1), "--valid-split", 0).toArray());
        String good = Files.readString(config).strip();
        for (String feature : List.of(
                "\"use_qalora\": true",
                "\"lora_bias\": true",
                "\"layer_replication\": [[0, 1], [0, 1]]",
                "\"target_parameters\": [\"experts\"]",
                "\"alora_invocation_tokens\": [1, 2]",
                "\"arrow_config\": {\"top_k\": 2}")) {
            String key = feature.substring(1, feature.indexOf('"', 1));
            Files.writeString(
                    config,
                    good.replaceFirst(",?\\s*\"" + key + "\"\\s*:[^,}]*", "")
                            .replaceFirst("\\}$", ", " + feature + "}"));
            bad(
                    List.of("generate", "--model", model, "--adapter", adapter, "--prompt", "x"),
                    "adapter_config.json: not supported, and the numbers would differ without: " + key);
        }
        for (String init : List.of("corda", "lora_ga", "mini_lora")) {
            Files.writeString(
                    config, good.replaceFirst("(\"init_lora_weights\"\\s*:\\s*)[^,}]*", "$1\"" + init + "\""));
            String said = bad(
                    List.of("generate", "--model", model, "--adapter", adapter, "--prompt", "x"),
                    "adapter_config.json",
                    "init_lora_weights");
            assertThat(said).contains(init);
        }
        Files.writeString(config, good.replaceFirst("\"LORA\"", "\"OFT\""));
        bad(List.of("generate", "--model", model, "--adapter", adapter, "--prompt", "x"), "peft_type", "OFT", "LORA");
    }

    @Test
    void memoryThatIsNotThereIsSaidBeforeTheRun() throws Exception {
        List<String> command = Cli.java(List.of("-Xmx28m"), sft(model, data).toArray());
        Path err = dir.resolve("err.txt");
        Process run = new ProcessBuilder(command)
                .redirectError(err.toFile())
                .redirectOutput(dir.resolve("out.txt").toFile())
                .start();
        assertThat(run.waitFor(60, TimeUnit.SECONDS)).isTrue();
        assertThat(run.exitValue()).as(Files.readString(err)).isEqualTo(2);
        assertThat(Files.readAllLines(err).stream().filter(l -> l.startsWith("anneal: ")))
                .singleElement()
                .asString()
                .contains("not enough memory", "-Xmx");
    }
}
