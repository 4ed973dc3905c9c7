package anneal.cli;

import anneal.Pretrained;
import anneal.io.Json;
import anneal.quant.Fp4;
import anneal.quant.GgufBlocks;
import anneal.quant.GroupInt;
import anneal.quant.Int8;
import anneal.quant.Nf4;
import anneal.quant.QuantFormat;
import anneal.quant.QuantReport;
import anneal.quant.calibrate.Layers;
import anneal.quant.post.PostReport;
import anneal.quant.post.PostTraining;
import anneal.tensor.DType;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code anneal quantize}: writes a model in fewer bits. */
@Command(
        name = "quantize",
        description =
                "Writes a model whose linear layers are stored in fewer bits; head and embeddings keep their numbers.",
        mixinStandardHelpOptions = true,
        sortOptions = false,
        footer = {
            "",
            "Examples:",
            "  anneal quantize --model folder --format nf4 --output small",
            "  anneal quantize --model folder --format q4_k --data held-out.txt --output small.gguf",
            "  anneal quantize --model folder --method gptq --format q4_0 --data text.txt --valid held-out.txt"
                    + " --output small.gguf",
            "  anneal quantize --model folder --method awq --format nf4 --data text.txt --output small",
            "  anneal quantize --model folder --method gptq --format int4-g128 --data text.txt --output small",
            "  anneal quantize --model folder --method smoothquant --level o3 --format int8 --data text.txt --output small",
            "  anneal quantize --model folder --method zeroquant --format q8_0 --four-bit-share 0.5 --data text.txt"
                    + " --output small.gguf"
        })
final class QuantizeCommand implements Callable<Integer> {
    @Option(names = "--model", required = true, paramLabel = "PATH", description = "Folder or .gguf file.")
    Path model;

    @Option(
            names = "--output",
            required = true,
            paramLabel = "PATH",
            description =
                    "New folder for nf4, fp4 and int8 (bitsandbytes' keys; with --level compressed-tensors') and for int4-g128"
                            + " and its like (compressed-tensors'), new .gguf file for the others. The report is report.json and report.png in it, or beside the file with the"
                            + " file's name in front.")
    Path output;

    @Option(
            names = "--format",
            required = true,
            paramLabel = "NAME",
            description = FormatName.NAMES
                    + ". gptq: q4_0, q4_1, q5_0, q5_1, q8_0, int4-g128 and its like; zeroquant: q4_0, q5_0, q8_0, int8-g128"
                    + " and its like without -asym, whose inputs are integers too; the other methods: all.")
    String formatName;

    @Option(
            names = "--block",
            paramLabel = "N",
            description = "Numbers that share a scale, nf4 and fp4: 32, 64 .. 4096 (default: 64).")
    Integer block;

    @Option(names = "--no-double-quant", arity = "0", description = "Keep the scales of nf4 and fp4 in 32 bits.")
    Boolean noDoubleQuant;

    @Option(
            names = "--dtype",
            paramLabel = "T",
            description = "Of what is not quantised: f32, f16, bf16 (default: as the embedding is stored, else f32).")
    DType dtype;

    @ArgGroup(validate = false, heading = "%nMethod%n", order = 1)
    PostTrainingFlags method = new PostTrainingFlags();

    @ArgGroup(validate = false, heading = "%nText%n", order = 2)
    TextFlags text = new TextFlags();

    @Option(names = "--threads", paramLabel = "N", description = "Default: all cores. Changes no result.")
    Integer threads;

    @Option(names = "--config", paramLabel = "FILE", description = "YAML file with the same keys; flags win.")
    Path config;

    @Spec
    CommandSpec spec;

    static final class TextFlags {
        @Option(
                names = "--data",
                paramLabel = "FILE",
                description = "Plain text to calibrate on; perplexity on it is told before and after.")
        Path data;

        @Option(names = "--valid", paramLabel = "FILE", description = "Perplexity on this text instead.")
        Path valid;

        @Option(
                names = "--windows",
                paramLabel = "N",
                description = "Pieces of --data to calibrate on, spread over it (default: 32).")
        Integer windows;

        @Option(
                names = "--window",
                paramLabel = "N",
                description =
                        "Tokens of a piece, and seen together for perplexity (default: 256, or the model's limit).")
        Integer window;
    }

    /** What was done, for the screen and for report.json. */
    private record Outcome(
            String name,
            List<?> layers,
            Map<String, String> notes,
            long before,
            long after,
            String table,
            Drawn drawn) {
        static Outcome of(String name, QuantReport r, Map<String, String> notes) {
            Drawn drawn = new Drawn(
                    "||W - Q|| / ||W||",
                    r.layers().stream()
                            .map(l ->
                                    new ReportPlot.Layer(l.path(), l.relativeError(), l.bytesBefore(), l.bytesAfter()))
                            .toList());
            return new Outcome(
                    name, r.layers(), new TreeMap<>(notes), r.bytesBefore(), r.bytesAfter(), r.toString(), drawn);
        }

        static Outcome of(PostReport r) {
            Drawn drawn = new Drawn(
                    "|y' - y| / |y|",
                    r.layers().stream()
                            .map(l -> new ReportPlot.Layer(l.path(), l.error(), l.bytesBefore(), l.bytesAfter()))
                            .toList());
            return new Outcome(r.method(), r.layers(), Map.of(), r.bytesBefore(), r.bytesAfter(), r.toString(), drawn);
        }
    }

    /** What report.png shows; {@code error} is the name of its errors. */
    private record Drawn(String error, List<ReportPlot.Layer> layers) {}

    @Override
    public Integer call() {
        QuantFormat format = new FormatName(formatName, block, noDoubleQuant).format("--block");
        check(format);
        ModelFlags.useThreads(threads);
        PrintWriter out = spec.commandLine().getOut();
        Path measured = text.valid != null ? text.valid : text.data;
        try (Pretrained lm = Pretrained.load(model)) {
            DType rest = dtype != null ? dtype : stored(lm);
            int window = window(lm.model().contextLength());
            CalibrationText on = measured == null ? null : CalibrationText.read(measured, lm, "quantize");
            int[][] windows = windows(lm, window, format);
            Double before = on == null ? null : Double.valueOf(on.perplexity(lm, window, out));
            Outcome done;
            try (Progress progress = new Progress(out, method.method.name(), Progress.UNKNOWN, 0)) {
                done = quantise(lm, format, CalibrationText.forward(lm, windows, progress), progress);
            }
            ModelFlags.save(
                    lm,
                    output,
                    format instanceof GgufBlocks,
                    rest,
                    spec.commandLine().getErr());
            Double after = on == null ? null : Double.valueOf(perplexity(on, window, out));
            out.print(done.table);
            if (on != null) {
                out.printf(
                        Locale.ROOT, "Perplexity on %s: %.4f before, %.4f after%s.%n", measured, before, after, note());
            }
            Json.write(report("json"), report(done, format, measured, before, after));
            ReportPlot.write(report("png"), done.name + ", " + format.name(), done.drawn.error, done.drawn.layers);
        }
        out.println("Model written to " + output + ", report to " + report("json") + " and " + report("png"));
        return 0;
    }

    // ---------------------------------------------------------------- checking

    private void check(QuantFormat format) {
        switch (format) {
            case GgufBlocks g
            when !output.toString().endsWith(".gguf") ->
                throw new IllegalArgumentException("--output " + output + ": " + g.name()
                        + " is written as a GGUF file, whose name ends in .gguf");
            case Nf4 _, Fp4 _, Int8 _, GroupInt _
            when output.toString().endsWith(".gguf") ->
                throw new IllegalArgumentException("--output " + output + ": " + format.name()
                        + " is written as a folder; of the formats of a GGUF file choose q4_0, q4_1, q5_0, q5_1, q8_0,"
                        + " q4_k, q5_k or q6_k");
            default -> {}
        }
        method.check(format);
        boolean calibrated = method.method != PostTrainingFlags.Name.rtn;
        if (calibrated && text.data == null) {
            throw new IllegalArgumentException("--method " + method.method + " needs --data, a text to calibrate on");
        }
        if (!calibrated && text.windows != null) {
            throw new IllegalArgumentException("--windows is for methods that calibrate, not for rtn");
        }
        if (text.window != null && text.data == null && text.valid == null) {
            throw new IllegalArgumentException("--window needs --data or --valid");
        }
        RunFlags.require("--windows", text.windows == null ? 1 : text.windows, 1);
        RunFlags.require("--window", text.window == null ? 2 : text.window, 2);
        RunFlags.require("--threads", threads == null ? 1 : threads, 1);
        ModelFlags.requireType(dtype, false);
        RunFolder.requireNew(output, "");
        RunFolder.requireNew(report("json"), "");
        RunFolder.requireNew(report("png"), "");
    }

    private int window(int limit) {
        if (text.window != null && limit > 0 && text.window > limit) {
            throw new IllegalArgumentException(
                    "--window " + text.window + " is over the model's limit of " + limit + " positions");
        }
        return text.window != null ? text.window : limit > 0 ? Math.min(256, limit) : 256;
    }

    /** What the embedding is stored as, if a file can be written in that. */
    static DType stored(Pretrained lm) {
        return switch (lm.model().embedding().weight().format()) {
            case "F16" -> DType.F16;
            case "BF16" -> DType.BF16;
            default -> DType.F32;
        };
    }

    // ---------------------------------------------------------------- doing

    /** Pieces of the text, none for rtn. What does not fit is told now, before minutes are spent on it. */
    private int[][] windows(Pretrained lm, int window, QuantFormat format) {
        if (method.method == PostTrainingFlags.Name.rtn) {
            if (text.data != null || text.valid != null) { // else it is told at once anyway
                QuantizeFlags.check(format, lm.model());
            }
            return new int[0][];
        }
        PostTraining.requireQuantizable(lm.model().root());
        Layers.of(lm.model().root(), path -> true).forEach((path, layer) -> {
            try {
                format.requireFits(layer.in());
            } catch (IllegalArgumentException e) {
                throw new IllegalArgumentException(e.getMessage() + " (at " + path + ")", e);
            }
        });
        return CalibrationText.read(text.data, lm, "quantize")
                .windows(text.windows == null ? 32 : text.windows, window);
    }

    private Outcome quantise(Pretrained lm, QuantFormat format, Runnable forward, Progress progress) {
        return switch (method.method) {
            case rtn -> Outcome.of("rtn", QuantizeFlags.quantize(format, lm.model(), progress::layer), Map.of());
            case gptq, awq, smoothquant, zeroquant -> {
                if (method.onlyScales(format)) {
                    Map<String, String> chosen = method.scale(format, lm.model().root(), forward, progress::layer);
                    yield Outcome.of(
                            method.method.name(), QuantizeFlags.quantize(format, lm.model(), progress::layer), chosen);
                }
                yield Outcome.of(
                        method.onGrid(format).apply(lm.model().root(), path -> true, forward, progress::layer));
            }
        };
    }

    /** Of the files that were written, not of what they were written from. */
    private double perplexity(CalibrationText on, int window, PrintWriter out) {
        try (Pretrained saved = Pretrained.load(output)) {
            return on.perplexity(saved, window, out);
        }
    }

    // ---------------------------------------------------------------- telling

    private String note() {
        return method.method != PostTrainingFlags.Name.rtn && text.valid == null
                ? " (it was calibrated on this text; --valid FILE measures on another)"
                : "";
    }

    private Path report(String type) {
        return output.toString().endsWith(".gguf")
                ? output.resolveSibling(output.getFileName().toString().replaceFirst("[.]gguf$", ".report." + type))
                : output.resolve("report." + type);
    }

    private Map<String, Object> report(Outcome done, QuantFormat format, Path measured, Double before, Double after) {
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("method", done.name);
        json.put("format", format.name());
        json.put("model", model.toString());
        json.put("bytesBefore", done.before);
        json.put("bytesAfter", done.after);
        if (before != null) {
            json.put("perplexityText", measured.toString());
            json.put("perplexityBefore", before);
            json.put("perplexityAfter", after);
        }
        if (!done.notes.isEmpty()) {
            json.put("chosen", done.notes);
        }
        json.put("layers", done.layers);
        return json;
    }
}
