package anneal.cli;

import static anneal.cli.Cli.bad;
import static anneal.cli.Cli.contents;
import static anneal.cli.Cli.ok;
import static anneal.cli.Cli.with;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import anneal.Pretrained;
import anneal.TinyModelFixture;
import anneal.io.Json;
import anneal.io.JsonObject;
import anneal.quant.GgufBlocks;
import anneal.quant.Nf4;
import anneal.quant.Quantizer;
import anneal.tensor.DType;
import java.awt.image.BufferedImage;
import java.io.BufferedWriter;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** sft and pretrain from the command line to the files they leave. */
class TrainingCommandsTest extends TinyModelFixture {
    private List<Object> sft(Path output, int steps) {
        return with(Cli.sft(model, data, output, steps), "--learning-rate", 0.01);
    }

    private List<Object> full(Path output, int steps) {
        return with(Cli.tune(model, data, output, steps), "--learning-rate", 0.01, "--full");
    }

    private static byte[] bytes(Path file) throws IOException {
        return Files.readAllBytes(file);
    }

    @Test
    void sftSaysWhatItWillDoAndLeavesAnAdapterWithItsRecords() throws IOException {
        Path out = dir.resolve("run");
        Cli run = ok(with(sft(out, 4), "--steps-per-eval", 2, "--save-every", 2).toArray());
        assertThat(run.out())
                .containsPattern("Training [\\d,]+ of [\\d,]+ parameters")
                .contains("self_attn.q_proj")
                .containsPattern("Peak memory about .* GiB .*, time about .* for 4 steps")
                .containsPattern("\\|im_start\\|>assistant\\n?\\s*‹.*\\.<\\|im_end\\|>")
                .contains("Validation loss before: ", "Validation loss at step 2: ", "step 4/4", "eta ")
                .contains("Prompt: What colour is the sky?", "  before: ", "  after:  ");
        assertThat(contents(out))
                .containsKeys(
                        "adapter_config.json", "adapter_model.safetensors", "config.yaml", "metrics.jsonl", "loss.png")
                .doesNotContainKey("result.part");
        assertThat(out.resolve("checkpoints")).isNotEmptyDirectory();
        assertThat(bytes(out.resolve("loss.png"))).startsWith(0x89, 'P', 'N', 'G');
        List<String> metrics = Files.readAllLines(out.resolve("metrics.jsonl"));
        assertThat(metrics).hasSize(7).allMatch(l -> Json.parse(l, "metrics").number("loss", -1) > 0);
        assertThat(metrics)
                .filteredOn(l -> l.contains("\"step\"") && l.contains("\"rate\""))
                .hasSize(4);
    }

    @Test
    void epochsAndPatternsSayWhatIsTrained() throws IOException {
        List<Object> args = new ArrayList<>(sft(dir.resolve("pattern"), 4));
        args.set(args.indexOf("--iters"), "--epochs");
        args.set(args.indexOf("--epochs") + 1, 2);
        args.addAll(List.of("--target", ".*layers\\.1\\..*(q|v)_proj", "--valid-split", 0));
        Cli run = ok(args.toArray());
        assertThat(run.out())
                .contains(
                        "layers.*.self_attn.q_proj.lora_A.weight",
                        "layers.*.self_attn.v_proj.lora_B.weight",
                        "step 12/12")
                .doesNotContain("k_proj", "mlp")
                .containsPattern("q_proj.lora_A.weight +1 x");
    }

    @Test
    void theLossInBfloat16IsAnotherAndNearby() throws IOException {
        double full = lastLoss(dir.resolve("f32"), "f32"), half = lastLoss(dir.resolve("bf16"), "BF16");
        assertThat(half).isNotEqualTo(full).isCloseTo(full, within(0.02 * full));
        assertThat(Files.readAllLines(dir.resolve("bf16/config.yaml"))).contains("compute: bf16");
        List<Object> again = new ArrayList<>(List.of("sft", "--config", dir.resolve("bf16/config.yaml")));
        ok(with(again, "--output", dir.resolve("again")).toArray());
        assertThat(bytes(dir.resolve("again/adapter_model.safetensors")))
                .isEqualTo(bytes(dir.resolve("bf16/adapter_model.safetensors")));
    }

    @Test
    void theOptimizersStateCanBeBytesAndLieInAFile() throws IOException {
        Path pages = dir.resolve("pages");
        byte[] full = weights("f32"), bytes = weights("8bit", "--optimizer", "adamw8bit");
        byte[] paged = weights("paged", "--optimizer", "adamw8bit", "--optimizer-state", pages);
        assertThat(bytes).isNotEqualTo(full).isEqualTo(paged);
        assertThat(pages).isEmptyDirectory();
        assertThat(weights("lion", "--optimizer", "lion"))
                .isNotEqualTo(weights("lion8bit", "--optimizer", "lion8bit"))
                .isNotEqualTo(bytes);
        assertThat(Files.readAllLines(dir.resolve("paged/config.yaml"))).contains("optimizer: adamw8bit");
        Path file = Files.writeString(dir.resolve("file"), "x");
        bad(with(sft(dir.resolve("bad"), 2), "--optimizer-state", file), file + " cannot hold pages of memory: ");
        assertThat(dir.resolve("bad")).doesNotExist();
        assertThat(ok("sft", "--help").out()).contains("adamw8bit", "--optimizer-state");
    }

    private byte[] weights(String name, Object... flags) throws IOException {
        Path out = dir.resolve(name);
        ok(with(with(full(out, 3), "--valid-split", 0), flags).toArray());
        return bytes(out.resolve("model.safetensors"));
    }

    private double lastLoss(Path out, String compute) throws IOException {
        ok(with(sft(out, 3), "--compute", compute, "--valid-split", 0).toArray());
        String last = Files.readAllLines(out.resolve("metrics.jsonl")).getLast();
        return Json.parse(last, "metrics").number("loss", -1);
    }

    /** 80 MB of conversations in a JVM whose heap may have 64 MB. */
    @Test
    void aFileLargerThanTheHeapIsTrainedOn() throws Exception {
        Path large = dir.resolve("large.jsonl");
        String line = "{\"prompt\": \"What colour is the sky?\", \"completion\": \"" + "The sky is blue. ".repeat(120)
                + "\"}";
        try (BufferedWriter out = Files.newBufferedWriter(large)) {
            for (long written = 0; written < 80 << 20; written += line.length() + 1) {
                out.append(line).append('\n');
            }
        }
        List<Object> args = with(Cli.sft(model, large, dir.resolve("large"), 2), "--valid-split", 0, "--truncate");
        List<String> command = Cli.java(List.of("-Xmx64m"), args.toArray());
        Process run = new ProcessBuilder(command)
                .redirectErrorStream(true)
                .redirectOutput(dir.resolve("printed").toFile())
                .start();
        assertThat(run.waitFor(240, TimeUnit.SECONDS)).isTrue();
        assertThat(run.exitValue()).as(Files.readString(dir.resolve("printed"))).isZero();
        assertThat(dir.resolve("large/adapter_model.safetensors")).exists();
    }

    @Test
    void aRunThatGoesOnEndsWithTheFilesOfOneThatNeverStopped() throws IOException {
        Path whole = dir.resolve("whole"), parts = dir.resolve("parts");
        List<Object> flags = List.of("--lr-scheduler", "constant", "--save-every", 2, "--grad-accumulation", 2);
        ok(with(with(sft(whole, 6), flags.toArray()), "--threads", 2).toArray());
        ok(with(with(sft(parts, 2), flags.toArray()), "--threads", 1).toArray());
        Cli resumed = ok(with(with(sft(parts, 6), flags.toArray()), "--resume").toArray());
        assertThat(resumed.out()).contains("step 3/6", "step 6/6").doesNotContain("step 1/6");
        assertThat(bytes(parts.resolve("adapter_model.safetensors")))
                .isEqualTo(bytes(whole.resolve("adapter_model.safetensors")));
        assertThat(bytes(parts.resolve("adapter_config.json"))).isEqualTo(bytes(whole.resolve("adapter_config.json")));
    }

    @Test
    void aLineOfMetricsThatWasCutShortDoesNotKeepARunFromGoingOn() throws IOException {
        Path out = dir.resolve("cut");
        ok(with(sft(out, 2), "--lr-scheduler", "constant").toArray());
        Files.writeString(out.resolve("metrics.jsonl"), "{\"event\":\"st", StandardOpenOption.APPEND);
        Cli resumed =
                ok(with(sft(out, 3), "--lr-scheduler", "constant", "--resume").toArray());
        assertThat(resumed.out()).contains("step 3/3");
    }

    @Test
    void fullTrainingWritesAModel() {
        Path out = dir.resolve("full");
        ok(with(full(out, 2), "--grad-checkpoint", "--valid", data).toArray());
        assertThat(contents(out)).containsKeys("config.json", "model.safetensors", "tokenizer.json", "config.yaml");
        try (Pretrained lm = Pretrained.load(out)) {
            assertThat(lm.hasChatTemplate()).isTrue();
        }
        ok("generate", "--model", out, "--prompt", "What", "--max-tokens", 3);
    }

    @Test
    void adaLoraSavesTheRanksItChose() throws IOException {
        Path out = dir.resolve("ranks");
        List<Object> args = with(Cli.sft(model, data, out, 12), "--adapter", "adalora", "--adalora-init-rank", 4);
        ok(with(args, "--adalora-tinit", 0.25, "--adalora-tfinal", 0.25, "--adalora-orthogonality", 0.2)
                .toArray());
        JsonObject config = Json.read(out.resolve("adapter_config.json"));
        assertThat(config.map())
                .containsEntry("peft_type", "ADALORA")
                .containsEntry("init_r", 4)
                .containsEntry("target_r", 2)
                .containsEntry("lora_alpha", 8)
                .containsEntry("tinit", 3)
                .containsEntry("tfinal", 3)
                .containsEntry("total_step", 12)
                .containsEntry("orth_reg_weight", 0.2);
        assertThat(Files.readAllLines(out.resolve("ranks.txt")).getLast()).matches("all +28 +56");
        BufferedImage picture = ImageIO.read(out.resolve("ranks.png").toFile());
        assertThat(picture.getWidth()).as("a column for each of 2 blocks").isEqualTo(260 + 28 * 2);
        assertThat(picture.getHeight()).as("a row for each of 7 kinds").isEqualTo(110 + 26 * 7);
        assertThat(Files.readString(out.resolve("config.yaml"))).contains("learning-rate: 0.001", "adapter: adalora");
        assertThat(Files.readString(out.resolve("metrics.jsonl"))).contains("\"penalty\"");
        bad(with(args, "--output", dir.resolve("a"), "--adalora-tinit", 0.8), "tinit 0.8 and tfinal 0.5");
        bad(with(args, "--output", dir.resolve("a"), "--adalora-init-rank", 1), "target rank 2", "initial rank 1");
        bad(with(args, "--output", dir.resolve("a"), "--adapter", "adalor"), "--adapter", "adalora");
    }

    /** QLoRA: what is saved is an adapter like any other, trained on other numbers; the model on disk stays as it is. */
    @Test
    void theBaseCanBeQuantisedUnderTheAdapter() throws IOException {
        Map<String, String> before = contents(model);
        Path plain = dir.resolve("plain"), out = dir.resolve("nf4");
        ok(with(sft(plain, 3), "--valid-split", 0).toArray());
        List<Object> flags = List.of(
                "--quantize",
                "nf4",
                "--grad-checkpoint",
                "--optimizer",
                "adamw8bit",
                "--optimizer-state",
                dir.resolve("pages"),
                "--valid-split",
                0);
        Cli run = ok(with(sft(out, 3), flags.toArray()).toArray());
        assertThat(run.out())
                .containsPattern("Base: 14 linear layers held in NF4-DQ, 0\\.0 MB instead of 0\\.1")
                .contains("left as they are: embeddings, lm_head")
                .containsPattern("weights 0\\.00 as NF4-DQ, F32, trained state");
        assertThat(contents(out).keySet()).containsAll(contents(plain).keySet());
        assertThat(Json.read(out.resolve("adapter_config.json")).map())
                .isEqualTo(Json.read(plain.resolve("adapter_config.json")).map());
        assertThat(bytes(out.resolve("adapter_model.safetensors")))
                .isNotEqualTo(bytes(plain.resolve("adapter_model.safetensors")));
        ok("generate", "--model", model, "--adapter", out, "--quantize", "nf4", "--prompt", "What", "--max-tokens", 2);
        ok("merge", "--model", model, "--adapter", out, "--quantize", "nf4", "--output", dir.resolve("merged"));
        assertThat(contents(model)).isEqualTo(before);
        Path again = dir.resolve("again");
        ok("sft", "--config", out.resolve("config.yaml"), "--output", again);
        assertThat(bytes(again.resolve("adapter_model.safetensors")))
                .isEqualTo(bytes(out.resolve("adapter_model.safetensors")));
        bad(with(with(sft(out, 4), flags.toArray()), "--quantize", "fp4", "--resume"), "quantize was nf4, is now fp4");
    }

    @ParameterizedTest
    @ValueSource(strings = {"fp4", "int8", "Q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "int4-g16", "nf4-b128"})
    void everyFormatCarriesAnAdapter(String format) {
        Cli run = ok(with(sft(dir.resolve("run"), 2), "--quantize", format).toArray());
        String name = format.toUpperCase(Locale.ROOT) + (format.matches("[nf].*") ? "-DQ" : "");
        assertThat(run.out()).contains("held in " + name + ",", "as " + name + ", F32");
    }

    @Test
    void blockSizeAndScalesOfTheFormatAreThoseAskedFor() {
        Cli run = ok(with(sft(dir.resolve("run"), 2), "--quantize", "nf4", "--quantize-block", 32, "--no-double-quant")
                .toArray());
        assertThat(run.out()).contains("held in NF4-B32,");
    }

    @Test
    void flagsOfQuantisationThatDoNotFit() {
        List<Object> run = sft(dir.resolve("no"), 2);
        bad(
                with(full(dir.resolve("no"), 2), "--quantize", "nf4"),
                "--quantize nf4",
                "--full",
                "an adapter on them can");
        bad(with(run, "--quantize", "nf5"), "\"nf5\" is no format", "the nearest is nf4");
        bad(with(run, "--quantize", "q4_k_m"), "\"q4_k_m\" is no format", "the nearest is q4_k");
        bad(with(run, "--quantize", "nf4", "--quantize-block", 100), "power of two from 32 to 4096, not 100");
        bad(with(run, "--quantize", "q4_0", "--quantize-block", 64), "--quantize-block 64 is for nf4 and fp4");
        bad(with(run, "--quantize", "int8", "--no-double-quant"), "--no-double-quant is for nf4 and fp4, not for int8");
        bad(with(run, "--quantize", "nf4-dq", "--no-double-quant"), "--no-double-quant", "nf4-dq");
        bad(with(run, "--quantize", "nf4-b64", "--quantize-block", 64), "nf4-b64 names a block size already");
        bad(with(run, "--quantize-block", 64), "--quantize-block needs --quantize");
        bad(with(run, "--no-double-quant"), "--no-double-quant needs --quantize");
        bad(with(run, "--quantize", "q4_k"), "14 layers cannot be", "rows of 32 numbers", "blocks of 256", "Q4_K");
        bad(with(run, "--quantize", "int4-g48"), "rows of 32 numbers are no whole groups of 48");
        assertThat(dir.resolve("no")).doesNotExist();
    }

    @Test
    void aBaseIsNotQuantisedTwice() throws IOException {
        Path folder = Files.createDirectory(dir.resolve("nf4")), file = dir.resolve("small.gguf");
        try (Pretrained lm = Pretrained.load(model)) {
            Quantizer.format(new Nf4(64)).except("lm_head").apply(lm.model());
            lm.save(folder);
        }
        try (Pretrained lm = Pretrained.load(model)) {
            Quantizer.format(GgufBlocks.Q4_0).except("lm_head").apply(lm.model());
            lm.saveGguf(file, DType.F32);
        }
        Object[] flags = {"--quantize", "nf4"};
        bad(
                with(Cli.sft(folder, data, dir.resolve("no"), 2), flags),
                "model.layers.0.self_attn.q_proj is quantised already, as NF4");
        bad(
                with(Cli.sft(file, data, dir.resolve("no"), 2), flags),
                "model.layers.0.self_attn.q_proj is quantised already, as Q4_0");
        assertThat(ok(Cli.sft(folder, data, dir.resolve("yes"), 2).toArray()).out())
                .contains("as NF4, F32, trained");
    }

    @Test
    void checkpointingChangesNoBitAndPackingChangesTheRows() throws IOException {
        Path plain = dir.resolve("plain"), again = dir.resolve("again"), packed = dir.resolve("packed");
        ok(sft(plain, 2).toArray());
        ok(with(sft(again, 2), "--grad-checkpoint").toArray());
        Cli run = ok(with(sft(packed, 2), "--packing", "--target", "q_proj,v_proj", "--rslora")
                .toArray());
        assertThat(bytes(again.resolve("adapter_model.safetensors")))
                .isEqualTo(bytes(plain.resolve("adapter_model.safetensors")));
        assertThat(run.out()).contains("q_proj", "v_proj").doesNotContain("down_proj");
        assertThat(Files.readString(packed.resolve("adapter_config.json"))).contains("\"use_rslora\"");
    }

    @Test
    void theWrittenConfigurationMakesTheSameRunAndFlagsWin() throws IOException {
        Path first = dir.resolve("first"), second = dir.resolve("second"), third = dir.resolve("third");
        ok(with(sft(first, 2), "--packing", "--seed", 5).toArray());
        Path config = first.resolve("config.yaml");
        ok("sft", "--config", config, "--output", second);
        assertThat(bytes(second.resolve("adapter_model.safetensors")))
                .isEqualTo(bytes(first.resolve("adapter_model.safetensors")));
        Cli run = ok("sft", "--config=" + config, "--output", third, "--iters", 1, "--packing");
        assertThat(run.out()).contains("for 1 steps");
        assertThat(Files.readString(third.resolve("config.yaml"))).contains("packing: true", "iters: 1", "seed: 5");
        ok("sft", "--config", config, "--output", dir.resolve("fourth"), "--packing=false");
        assertThat(Files.readString(dir.resolve("fourth").resolve("config.yaml")))
                .contains("packing: false");
    }

    @Test
    void aWrongConfigurationIsOneSentence() throws IOException {
        Path file = dir.resolve("run.yaml"), out = dir.resolve("out");
        List<Object> args = List.of("sft", "--config", file, "--model", model, "--data", data, "--output", out);
        Files.writeString(file, "batch_size: 2\nrnk: 4\n");
        bad(args, "run.yaml", "\"rnk\"", "did you mean \"rank\"?");
        Files.writeString(file, "batch-size: many\n");
        bad(args, "run.yaml", "batch-size", "many");
        Files.writeString(file, "target: [q_proj, v_proj]\n");
        bad(args, "run.yaml", "target");
        Files.writeString(file, "iters: 2\n  batch-size: : 3\n");
        bad(args, "run.yaml", "line 2");
        Files.writeString(file, "just words\n");
        bad(args, "run.yaml");
        bad(List.of("sft", "--config", dir.resolve("none.yaml"), "--output", out), "none.yaml");
        assertThat(out).doesNotExist();
        Files.writeString(file, "");
        bad(args, "run.yaml");
        Files.writeString(file, "seed: 1\n");
        bad(List.of("sft", "--config", file), "Missing required option", "--model");
        bad(List.of("sft", "--config", file, "--model", model), "Missing required option", "--data");
        bad(List.of("sft", "--config", file, "--model", model, "--data", data), "Missing required", "--output");
    }

    @Test
    void pretrainLearnsATokenizerAndAModel() throws IOException {
        Path text = Files.writeString(dir.resolve("text.txt"), "the sky is blue and the grass is green. ".repeat(40));
        Path out = dir.resolve("scratch");
        List<Object> small = List.of("--iters", 3, "--batch-size", 2, "--max-seq-length", 32);
        List<Object> args = List.of(
                "pretrain",
                "--data",
                text,
                "--vocab-size",
                280,
                "--hidden-size",
                32,
                "--layers",
                1,
                "--heads",
                2,
                "--output",
                out);
        Cli run = ok(with(args, small.toArray()).toArray());
        assertThat(run.out()).contains("for 3 steps", "embed_tokens");
        assertThat(contents(out)).containsKeys("config.json", "model.safetensors", "tokenizer.json", "loss.png");
        ok("generate", "--model", out, "--prompt", "the sky", "--max-tokens", 2);
        Path second = dir.resolve("second");
        ok(with(
                        List.of(
                                "pretrain",
                                "--model-config",
                                out.resolve("config.json"),
                                "--tokenizer",
                                out,
                                "--data",
                                text,
                                "--packing",
                                "--output",
                                second),
                        small.toArray())
                .toArray());
        assertThat(contents(second)).containsKeys("config.json", "model.safetensors");
        bad(with(List.of("pretrain", "--data", data, "--output", dir.resolve("no")), small.toArray()), "train.jsonl:1");
        assertThat(dir.resolve("no")).doesNotExist();
    }
}
