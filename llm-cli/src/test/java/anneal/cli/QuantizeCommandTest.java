package anneal.cli;

import static anneal.cli.Cli.bad;
import static anneal.cli.Cli.ok;
import static anneal.cli.Cli.with;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import anneal.Pretrained;
import anneal.TinyModel;
import anneal.TinyModelFixture;
import anneal.io.Json;
import anneal.io.JsonObject;
import anneal.model.DecoderConfig;
import anneal.model.Family;
import anneal.nn.Linear;
import anneal.quant.post.W8A8Linear;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** anneal quantize from the command line to files that are opened again. */
class QuantizeCommandTest extends TinyModelFixture {
    private static Path text;

    @BeforeAll
    static void make() throws IOException {
        text = Files.writeString(
                shared.resolve("text.txt"), "The sky is blue. The grass is green. The sum is seven. ".repeat(40));
    }

    private static List<Object> quantize(String format, Path output, Object... more) {
        return with(List.of("quantize", "--model", model, "--format", format, "--output", output), more);
    }

    private List<Object> calibrated(String method, String format, Path output, Object... more) {
        Object[] flags = {"--method", method, "--data", text, "--windows", 4, "--window", 32};
        return with(with(quantize(format, output), flags), more);
    }

    /** Formats of the linear layers of a file, by path. */
    private static Map<String, String> formats(Path path) {
        Map<String, String> formats = new TreeMap<>();
        try (Pretrained lm = Pretrained.load(path)) {
            lm.model()
                    .find(Linear.class)
                    .forEach((name, l) -> formats.put(name, l.weight().format()));
        }
        return formats;
    }

    private static void storedAs(String format, Path path) {
        Map<String, String> formats = formats(path);
        assertThat(formats.remove("lm_head")).isEqualTo("F32");
        assertThat(formats)
                .hasSize(14)
                .allSatisfy((name, is) -> assertThat(is).as(name).isEqualTo(format));
    }

    private static double perplexity(Path of) {
        String out = ok("eval", "--model", of, "--data", text, "--window", 32).out();
        return Double.parseDouble(out.replaceAll("(?s).*perplexity (\\S+).*", "$1"));
    }

    @ParameterizedTest
    @CsvSource({"nf4,NF4-DQ", "fp4,FP4-DQ", "int8,INT8"})
    void bitsandbytesFormatsBecomeAFolder(String format, String name) throws IOException {
        Path out = dir.resolve("small");
        Cli run = ok(quantize(format, out).toArray());
        storedAs(name, out);
        assertThat(run.out())
                .containsPattern("model.layers.0.self_attn.q_proj +" + name)
                .contains("left as they are: lm_head");
        JsonObject report = Json.read(out.resolve("report.json"));
        assertThat(report.string("method")).isEqualTo("rtn");
        assertThat(report.string("format")).isEqualTo(name);
        assertThat(report.list("layers")).hasSize(14);
        assertThat(report.number("bytesAfter", 0)).isBetween(1.0, report.number("bytesBefore", 0) / 2);
        assertThat(report.has("perplexityBefore")).isFalse();
        assertThat(ImageIO.read(out.resolve("report.png").toFile()).getHeight()).isEqualTo(560);
        ok("generate", "--model", out, "--prompt", "The sky", "--max-tokens", 2);
        bad(quantize("nf4", out), "small", "exists");
    }

    @ParameterizedTest
    @ValueSource(strings = {"q4_0", "q4_1", "q5_0", "q5_1", "Q8_0"})
    void ggufFormatsBecomeAFile(String format) throws IOException {
        Path out = dir.resolve("small.gguf");
        ok(quantize(format, out).toArray());
        storedAs(format.toUpperCase(Locale.ROOT), out);
        assertThat(Json.read(dir.resolve("small.report.json")).list("layers")).hasSize(14);
        assertThat(dir.resolve("small.report.png")).isNotEmptyFile();
        ok("generate", "--model", out, "--prompt", "The sky", "--max-tokens", 2);
    }

    @ParameterizedTest
    @ValueSource(strings = {"q4_k", "q5_k", "q6_k"})
    void rowsOf256FillTheBlocksOfKFormats(String format) throws IOException {
        Path wide = dir.resolve("wide"), out = dir.resolve("small.gguf");
        DecoderConfig config = DecoderConfig.builder(Family.LLAMA)
                .vocabSize(TinyModel.VOCABULARY)
                .hiddenSize(256)
                .feedForwardSize(256)
                .layers(1)
                .heads(4, 2, 64)
                .contextLength(TinyModel.CONTEXT)
                .build();
        try (Pretrained lm = Pretrained.create(config, TinyModel.tokenizer(), 5)) {
            lm.save(wide);
        }
        ok(with(quantize(format, out), "--model", wide, "--dtype", "f16").toArray());
        assertThat(formats(out)).containsEntry("model.layers.0.mlp.up_proj", format.toUpperCase(Locale.ROOT));
        assertThat(formats(out)).containsEntry("lm_head", "F16");
    }

    /** What is told is what eval says of the model and of the files that were written. */
    @Test
    void perplexityIsThatOfTheFiles() throws IOException {
        Path out = dir.resolve("small.gguf");
        Cli run = ok(quantize("q4_0", out, "--data", text, "--window", 32).toArray());
        JsonObject report = Json.read(dir.resolve("small.report.json"));
        double before = report.number("perplexityBefore", 0), after = report.number("perplexityAfter", 0);
        assertThat(before).isCloseTo(perplexity(model), within(1e-3));
        assertThat(after).isCloseTo(perplexity(out), within(1e-3)).isNotEqualTo(before);
        assertThat(run.out()).contains(String.format(Locale.ROOT, "%.4f before, %.4f after.", before, after));
    }

    @ParameterizedTest
    @CsvSource({
        "gptq,q4_0",
        "gptq,q4_1",
        "gptq,q5_1",
        "awq,q4_0",
        "awq,q5_0",
        "awq,q4_1",
        "zeroquant,q8_0",
        "zeroquant,q4_0"
    })
    void codesOfAMethodAreWrittenAsTheyAre(String method, String format) throws IOException {
        Path out = dir.resolve(method + ".gguf"), nearest = dir.resolve("rtn.gguf");
        Cli run = ok(calibrated(method, format, out).toArray());
        storedAs(format.toUpperCase(Locale.ROOT), out);
        assertThat(run.out()).contains(method + " ", "it was calibrated on this text", "report to ");
        JsonObject report = Json.read(dir.resolve(method + ".report.json"));
        assertThat(report.string("method")).startsWith(method);
        double before = report.number("perplexityBefore", 0), after = report.number("perplexityAfter", 0);
        System.out.printf("%s %s: perplexity %.3f -> %.3f%n", method, format, before, after);
        assertThat(after).isCloseTo(before, within(0.15 * before)).isCloseTo(perplexity(out), within(1e-3));
        ok(quantize(format, nearest).toArray());
        boolean same = Arrays.equals(blocks(out), blocks(nearest));
        assertThat(same)
                .as("at 8 bits and without distillation ZeroQuant rounds to nearest")
                .isEqualTo(format.equals("q8_0"));
    }

    /** The file but for its first part, which holds the model's name. */
    private static byte[] blocks(Path file) throws IOException {
        byte[] all = Files.readAllBytes(file);
        return Arrays.copyOfRange(all, all.length / 2, all.length);
    }

    @Test
    void smoothQuantIsWrittenAsBytes() throws IOException {
        Path out = dir.resolve("smooth"), plain = dir.resolve("plain");
        ok(calibrated("smoothquant", "int8", out, "--search-alpha", "--valid", text)
                .toArray());
        ok(quantize("int8", plain).toArray());
        storedAs("INT8", out);
        JsonObject report = Json.read(out.resolve("report.json"));
        assertThat(report.object("chosen").map()).containsKey("model.layers.0.self_attn.q_proj");
        assertThat(report.number("perplexityAfter", 0))
                .isCloseTo(report.number("perplexityBefore", 0), within(0.05 * report.number("perplexityBefore", 0)));
        assertThat(Files.readAllBytes(out.resolve("model.safetensors")))
                .isNotEqualTo(Files.readAllBytes(plain.resolve("model.safetensors")));
    }

    @ParameterizedTest
    @CsvSource({
        "gptq,q4_0,--act-order,",
        "gptq,q4_0,--damping,0.5",
        "awq,q4_0,--no-clip,",
        "smoothquant,int8,--alpha,0.9",
        "zeroquant,q4_0,--lkd-passes,1"
    })
    void everyOptionOfAMethodChangesTheNumbers(String method, String format, String flag, String value)
            throws IOException {
        String end = format.equals("int8") ? "" : ".gguf";
        Path with = dir.resolve("with" + end), without = dir.resolve("without" + end);
        ok(calibrated(method, format, without).toArray());
        ok((value == null
                        ? with(calibrated(method, format, with), flag)
                        : calibrated(method, format, with, flag, value))
                .toArray());
        Path weights = Path.of(end.isEmpty() ? "model.safetensors" : "");
        assertThat(Files.readAllBytes(with.resolve(weights)))
                .isNotEqualTo(Files.readAllBytes(without.resolve(weights)));
    }

    /** Scales move into norms, values and up; then the format rounds, whatever it is. On outliers that helps: see FoldingTest. */
    @ParameterizedTest
    @CsvSource({
        "awq,nf4,NF4-DQ",
        "awq,int8,INT8",
        "smoothquant,nf4,NF4-DQ",
        "smoothquant,q4_1,Q4_1",
        "smoothquant,q8_0,Q8_0"
    })
    void scalesAreMovedBeforeAnyFormatRounds(String method, String format, String name) throws IOException {
        String end = format.startsWith("q") ? ".gguf" : "";
        Path out = dir.resolve("moved" + end), nearest = dir.resolve("rtn" + end);
        ok(calibrated(method, format, out).toArray());
        ok(quantize(format, nearest).toArray());
        storedAs(name, out);
        JsonObject report = Json.read(end.isEmpty() ? out.resolve("report.json") : dir.resolve("moved.report.json"));
        assertThat(report.object("chosen").string("model.layers.0.self_attn.q_proj"))
                .startsWith(method.equals("awq") ? "ratio " : "alpha ");
        double before = report.number("perplexityBefore", 0);
        assertThat(report.number("perplexityAfter", 0)).isCloseTo(before, within(0.15 * before));
        Path weights = Path.of(end.isEmpty() ? "model.safetensors" : "");
        assertThat(Files.readAllBytes(out.resolve(weights))).isNotEqualTo(Files.readAllBytes(nearest.resolve(weights)));
    }

    /** Integers by groups are a folder of compressed-tensors, whichever method finds them; what is read is what was measured. */
    @ParameterizedTest
    @CsvSource({
        "rtn,int4-g16,INT4-G16",
        "rtn,int8-row-asym,INT8-ROW-ASYM",
        "gptq,int4-g16,INT4-G16",
        "gptq,int3-g16-asym,INT3-G16-ASYM",
        "awq,int4-g16-asym,INT4-G16-ASYM",
        "smoothquant,int8-g32,INT8-G32",
        "zeroquant,int8-g16,W8A8 g16",
        "zeroquant,int4-row,W4A8",
        "zeroquant,int3-g8,W3A8 g8"
    })
    void groupsOfIntegersBecomeAFolder(String method, String format, String name) throws IOException {
        Path out = dir.resolve("groups");
        List<Object> command = method.equals("rtn")
                ? quantize(format, out, "--data", text, "--window", 32)
                : calibrated(method, format, out);
        ok(command.toArray());
        storedAs(name, out);
        JsonObject report = Json.read(out.resolve("report.json"));
        double before = report.number("perplexityBefore", 0), after = report.number("perplexityAfter", 0);
        assertThat(after).isCloseTo(before, within(0.3 * before)).isCloseTo(perplexity(out), within(1e-3));
        JsonObject q = Json.read(out.resolve("config.json")).object("quantization_config");
        assertThat(q.string("format")).isEqualTo("pack-quantized");
        assertThat(q.object("config_groups").object("group_0").has("input_activations"))
                .isEqualTo(method.equals("zeroquant"));
        ok("generate", "--model", out, "--prompt", "The sky", "--max-tokens", 2);
        try (Pretrained lm = Pretrained.load(out)) {
            lm.save(dir.resolve("again"));
        }
        assertThat(dir.resolve("again/model.safetensors")).hasSameBinaryContentAs(out.resolve("model.safetensors"));
    }

    /** An adapter is trained on the folder as on a base that is held so in memory: the same numbers. */
    @Test
    void anAdapterIsTrainedOnAFolderOfGroups() throws IOException {
        Path out = dir.resolve("groups"), chats = TinyModel.conversations(dir.resolve("chats.jsonl"), 4);
        ok(quantize("int4-g16", out).toArray());
        ok(Cli.sft(out, chats, dir.resolve("a"), 2).toArray());
        ok(with(Cli.sft(model, chats, dir.resolve("b"), 2), "--quantize", "int4-g16")
                .toArray());
        assertThat(dir.resolve("a/adapter_model.safetensors"))
                .hasSameBinaryContentAs(dir.resolve("b/adapter_model.safetensors"));
    }

    @ParameterizedTest
    @CsvSource({"o1,token,true", "o2,tensor,true", "o3,tensor,false"})
    void aLevelIsInTheFolderAndInWhatIsReadFromIt(String level, String strategy, boolean dynamic) throws IOException {
        Path out = dir.resolve("level");
        ok(calibrated("smoothquant", "int8", out, "--level", level).toArray());
        storedAs("W8A8", out);
        JsonObject q = Json.read(out.resolve("config.json")).object("quantization_config");
        assertThat(q.string("quant_method")).isEqualTo("compressed-tensors");
        JsonObject inputs = q.object("config_groups").object("group_0").object("input_activations");
        assertThat(inputs.string("strategy")).isEqualTo(strategy);
        assertThat(inputs.map()).containsEntry("dynamic", dynamic);
        try (Pretrained lm = Pretrained.load(out)) {
            W8A8Linear w = (W8A8Linear) lm.model()
                    .find(Linear.class)
                    .get("model.layers.0.mlp.up_proj")
                    .weight();
            assertThat(w.activations().ordinal()).isEqualTo(level.charAt(1) - '1');
            lm.save(dir.resolve("again"));
        }
        assertThat(Files.readAllBytes(dir.resolve("again/model.safetensors")))
                .isEqualTo(Files.readAllBytes(out.resolve("model.safetensors")));
        JsonObject report = Json.read(out.resolve("report.json"));
        double before = report.number("perplexityBefore", 0), after = report.number("perplexityAfter", 0);
        System.out.printf("smoothquant %s: perplexity %.4f -> %.4f%n", level, before, after);
        assertThat(after).isCloseTo(before, within(0.02 * before)).isNotEqualTo(before);
        ok("generate", "--model", out, "--prompt", "The sky", "--max-tokens", 2);
        Path config = out.resolve("config.json");
        Files.writeString(config, Files.readString(config).replaceFirst("\"type\" *: *\"int\"", "\"type\": \"float\""));
        bad(List.of("generate", "--model", out, "--prompt", "x"), "compressed-tensors", "type=float", "cannot be read");
    }

    @Test
    void someLayersHaveFourBits() {
        Path named = dir.resolve("named.gguf"), share = dir.resolve("share.gguf");
        ok(calibrated("zeroquant", "q8_0", named, "--four-bit", "mlp,layers.0.*q_proj")
                .toArray());
        Map<String, String> formats = formats(named);
        assertThat(formats)
                .containsEntry("model.layers.0.self_attn.q_proj", "Q4_0")
                .containsEntry("model.layers.1.self_attn.q_proj", "Q8_0")
                .containsEntry("model.layers.1.mlp.down_proj", "Q4_0");
        assertThat(formats.values().stream().filter("Q4_0"::equals)).hasSize(7);
        ok(calibrated("zeroquant", "q8_0", share, "--four-bit-share", 0.5).toArray());
        long numbers = 0, few = 0;
        try (Pretrained lm = Pretrained.load(share)) {
            for (Linear l : lm.model().find(Linear.class).values()) {
                String format = l.weight().format();
                numbers += format.startsWith("Q") ? (long) l.in() * l.out() : 0;
                few += format.equals("Q4_0") ? (long) l.in() * l.out() : 0;
            }
        }
        assertThat((double) few / numbers).isBetween(0.35, 0.5);
        Path no = dir.resolve("no.gguf");
        bad(
                calibrated("zeroquant", "q8_0", no, "--four-bit", "q_prj"),
                "\"q_prj\" fits no layer; the nearest is \"q_proj\"");
        bad(
                calibrated("zeroquant", "q8_0", no, "--four-bit", "(mlp"),
                "\"(mlp\" is no regular expression: Unclosed group");
        bad(calibrated("zeroquant", "q8_0", no, "--four-bit-share", 1.5), "share 1.5 of the weights must be in [0, 1]");
        bad(calibrated("zeroquant", "q8_0", no, "--four-bit", "mlp", "--four-bit-share", 0.5), "one or the other");
        nothingIsWritten();
    }

    @Test
    void weightsThatAreNotNumbersAreNamed() throws IOException {
        Path broken = TinyModel.write(dir.resolve("broken")), weights = broken.resolve("model.safetensors");
        byte[] bytes = Files.readAllBytes(weights);
        int at = (int) ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).getLong(0) + 8;
        String header = new String(bytes, 8, at - 8, StandardCharsets.UTF_8);
        String from = header.replaceFirst("(?s).*\"model.layers.1.mlp.up_proj.weight\".*?\\[(\\d+),\\d+\\]\\}.*", "$1");
        ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).putFloat(at + Integer.parseInt(from), Float.NaN);
        Files.write(weights, bytes);
        for (String format : List.of("q4_0", "nf4", "int8")) {
            Path no = dir.resolve(format.equals("q4_0") ? "no.gguf" : "no");
            bad(quantize(format, no, "--model", broken), "model.layers.1.mlp.up_proj", "finite");
            bad(
                    quantize(format, no, "--model", broken, "--data", text),
                    "model.layers.1.mlp.up_proj: ",
                    "NaN at [0, 0]");
        }
        for (String method : List.of("gptq", "awq", "zeroquant")) {
            bad(
                    calibrated(method, "q4_0", dir.resolve("no.gguf"), "--model", broken),
                    "NaN at [0, 0]",
                    "finite (at model.layers.1.mlp.up_proj)");
        }
        nothingIsWritten();
    }

    @Test
    void whatCannotBeWrittenIsRefusedWithWhatCan() {
        Path file = dir.resolve("no.gguf"), folder = dir.resolve("no");
        bad(quantize("q4_0", folder), "Q4_0 is written as a GGUF file, whose name ends in .gguf");
        bad(quantize("nf4", file), "NF4-DQ is written as a folder");
        bad(quantize("int4-g16", file), "INT4-G16 is written as a folder");
        bad(quantize("int4-g64", folder), "rows of 32 numbers are no whole groups of 64");
        bad(calibrated("zeroquant", "int8-g16-asym", folder), "its codes are symmetric", "int8-g128");
        bad(calibrated("zeroquant", "int4-g4", folder), "group 4 must be a multiple of 8 columns");
        bad(calibrated("zeroquant", "int8-g16", folder, "--four-bit", "mlp"), "one width for all layers");
        bad(calibrated("gptq", "q4_k", file), "--method gptq with --format Q4_K", "q4_0, q4_1, q5_0, q5_1 and q8_0");
        bad(calibrated("awq", "nf4", folder, "--no-clip", "--threads", 1), "--no-clip: with NF4-DQ no ranges");
        bad(calibrated("smoothquant", "q8_0", file, "--level", "o3"), "--level o3 is for --format int8", "Q8_0");
        bad(calibrated("zeroquant", "q4_1", file), "q4_0, q5_0 and q8_0");
        bad(quantize("nf4", folder, "--dtype", "q8_0"), "--dtype Q8_0 must be f32, f16 or bf16");
        nothingIsWritten();
    }

    @Test
    void aPictureInTheWayIsKept() throws IOException {
        Path picture = Files.writeString(dir.resolve("no.report.png"), "mine");
        bad(quantize("q4_0", dir.resolve("no.gguf")), "no.report.png", "exists");
        assertThat(picture).hasContent("mine");
        assertThat(dir.resolve("no.gguf")).doesNotExist();
    }

    @Test
    void withoutErrorsThePictureHasBytesAlone() throws IOException {
        Path with = dir.resolve("with.png"), without = dir.resolve("without.png");
        List<ReportPlot.Layer> layers = List.of(
                new ReportPlot.Layer("model.layers.0.mlp.up_proj", 0.1, 4_000_000, 500_000),
                new ReportPlot.Layer("head", null, 1_000_000, 1_000_000));
        ReportPlot.write(with, "some", "error", layers);
        ReportPlot.write(without, "none", "error", layers.subList(1, 2));
        assertThat(ImageIO.read(with.toFile()).getHeight()).isEqualTo(560);
        assertThat(ImageIO.read(without.toFile()).getHeight()).isEqualTo(220);
        assertThatThrownBy(() -> ReportPlot.write(dir.resolve("no/such.png"), "no", "error", layers))
                .isInstanceOf(UncheckedIOException.class)
                .hasMessageContaining("such.png");
    }

    @Test
    void flagsThatDoNotFitOneAnother() {
        Path file = dir.resolve("no.gguf");
        bad(quantize("q5_2", file), "\"q5_2\" is no format", "the nearest is q5_");
        bad(quantize("q4_0", file, "--block", 64), "--block 64 is for nf4 and fp4");
        bad(quantize("nf4", dir.resolve("no"), "--block", 48), "power of two from 32 to 4096, not 48");
        bad(quantize("q4_0", file, "--method", "gptk"), "--method", "gptk", "gptq");
        bad(quantize("q4_0", file, "--method", "gptq"), "--method gptq needs --data");
        bad(quantize("q4_0", file, "--alpha", 0.5), "--alpha is for --method smoothquant, not for rtn");
        bad(with(calibrated("awq", "q4_0", file), "--act-order"), "--act-order is for --method gptq, not for awq");
        Path none = dir.resolve("none"); // told before the model is read
        bad(calibrated("gptq", "q4_0", file, "--damping", 2, "--model", none), "damping 2.0 must be in [0, 1)");
        bad(
                calibrated("smoothquant", "int8", dir.resolve("no"), "--alpha", 1.5, "--model", none),
                "alpha 1.5 must be in [0, 1]");
        bad(calibrated("smoothquant", "q8_0", file, "--alpha", -0.5, "--model", none), "alpha -0.5 must be in [0, 1]");
        bad(
                with(calibrated("smoothquant", "int8", dir.resolve("no"), "--alpha", 0.4), "--search-alpha"),
                "one or the other");
        bad(calibrated("zeroquant", "q4_0", file, "--lkd-rate", 0.1), "--lkd-rate needs --lkd-passes");
        bad(quantize("q4_0", file, "--data", text, "--windows", 3), "--windows is for methods that calibrate");
        bad(quantize("q4_0", file, "--window", 16), "--window needs --data");
        nothingIsWritten();
    }

    @Test
    void textsThatCannotCalibrate() throws IOException {
        Path file = dir.resolve("no.gguf"), brief = Files.writeString(dir.resolve("brief.txt"), "The sky is blue.");
        bad(
                calibrated("gptq", "q4_0", file, "--data", brief),
                "brief.txt: calibration: the text has ",
                "4 windows of 32 need 128",
                "--windows");
        bad(calibrated("gptq", "q4_0", file, "--window", 97), "--window 97 is over the model's limit of 96");
        bad(calibrated("gptq", "q4_0", file, "--windows", 0), "--windows 0 must be at least 1");
        Path chats = TinyModel.conversations(dir.resolve("chats.jsonl"), 3);
        bad(calibrated("awq", "q4_0", file, "--data", chats), "chats.jsonl:1: quantize needs plain text");
        bad(calibrated("awq", "q4_0", file, "--data", dir.resolve("none.txt")), "none.txt");
        nothingIsWritten();
    }

    @Test
    void aModelIsNotQuantisedTwiceNorInBlocksThatDoNotFit() throws IOException {
        Path once = dir.resolve("once.gguf"), folder = dir.resolve("folder"), no = dir.resolve("no.gguf");
        ok(quantize("q8_0", once).toArray());
        ok(quantize("nf4", folder).toArray());
        bad(
                quantize("q4_0", no, "--model", once),
                "model.layers.0.self_attn.q_proj is quantised already, as Q8_0 (and 13 more)");
        bad(quantize("q4_0", no, "--model", folder), "is quantised already, as NF4-DQ");
        bad(calibrated("smoothquant", "nf4", dir.resolve("no"), "--model", folder), "is stored as NF4-DQ already");
        bad(calibrated("awq", "nf4", dir.resolve("no"), "--model", folder), "is stored as NF4-DQ already");
        bad(calibrated("gptq", "q4_0", no, "--model", once), "is stored as Q8_0 already", "original weights");
        // Too short for a perplexity: were that measured first, its error would be told.
        Path letter = Files.writeString(dir.resolve("letter.txt"), "a");
        bad(quantize("q4_0", no, "--data", letter), "the text has 1 tokens");
        bad(quantize("q4_0", no, "--model", once, "--data", letter), "is quantised already, as Q8_0");
        bad(quantize("q4_k", no, "--data", letter), "14 layers cannot be");
        bad(quantize("q4_k", no), "14 layers cannot be", "rows of 32 numbers are no whole blocks of 256");
        nothingIsWritten();
    }

    private void nothingIsWritten() {
        assertThat(dir.resolve("no")).doesNotExist();
        assertThat(dir.resolve("no.gguf")).doesNotExist();
        assertThat(dir.resolve("no.report.json")).doesNotExist();
        assertThat(dir.resolve("no.report.png")).doesNotExist();
    }
}
