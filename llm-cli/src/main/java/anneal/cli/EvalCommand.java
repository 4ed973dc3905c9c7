package anneal.cli;

import anneal.Perplexity;
import anneal.Pretrained;
import anneal.io.Json;
import anneal.peft.Method;
import anneal.quant.QuantFormat;
import anneal.tensor.Tape;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.io.Writer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.stream.Stream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code anneal eval}: perplexity on a text. */
@Command(
        name = "eval",
        description =
                "Perplexity of a model on a text file, in windows that do not overlap; or of several, in one table.",
        mixinStandardHelpOptions = true,
        sortOptions = false,
        footer = {
            "",
            "Examples:",
            "  anneal eval --model model.gguf --data wiki.txt",
            "  anneal eval --model folder --adapter runs/mine --data held-out.jsonl --window 256",
            "  anneal eval --model folder --quantize nf4 --adapter runs/qlora --data held-out.jsonl",
            "  anneal eval --model model.gguf --against pruned distilled --data wiki.txt",
            "  anneal eval --model folder --against small.gguf runs/adapter --data wiki.txt --json table.json"
        })
final class EvalCommand implements Callable<Integer> {
    private static final int USUAL_WINDOW = 512;

    /** What a warning is written to that was given when the model was opened for the first time. */
    private static final PrintWriter SILENT = new PrintWriter(Writer.nullWriter());

    @Mixin
    ModelFlags model = new ModelFlags();

    @Option(
            names = "--data",
            required = true,
            paramLabel = "FILE",
            description = "Text: .txt, or .jsonl with the key text, one after another.")
    Path data;

    @Option(
            names = "--against",
            arity = "1..*",
            paramLabel = "PATH",
            description =
                    "More models, each on its own, all of them in one table and in the same windows: folders, .gguf"
                            + " files, and adapter folders, which are put on --model.")
    List<Path> against = List.of();

    @Option(
            names = "--window",
            paramLabel = "N",
            description = "Tokens seen together (default: 512, or the least limit of the models if that is less).")
    Integer window;

    @Option(names = "--max-tokens", paramLabel = "N", description = "Only the first N tokens; 0 = all.")
    int maxTokens = 0;

    @Option(names = "--json", paramLabel = "FILE", description = "Write the numbers to this new file too.")
    Path json;

    @Option(names = "--config", paramLabel = "FILE", description = "YAML file with the same keys; flags win.")
    Path config;

    @Spec
    CommandSpec spec;

    @Override
    public Integer call() {
        RunFlags.require("--max-tokens", maxTokens, 0);
        if (json != null) {
            RunFolder.requireNew(json, "");
        }
        ModelFlags.useThreads(model.threads);
        String text = CalibrationText.text(data, "eval");
        List<Subject> subjects = subjects();
        int length = window(subjects);
        boolean table = !against.isEmpty();
        if (table) {
            out("%-32s %10s %12s %10s %10s%n", "model", "MB", "perplexity", "bits/byte", "tokens/s");
        }
        List<Map<String, Object>> rows = new ArrayList<>();
        for (Subject s : subjects) {
            try (Pretrained lm = s.load(SILENT)) { // closed before the next one is opened
                Score score = score(lm, text, length);
                print(table, name(s, subjects), s, score);
                rows.add(row(s, score));
            }
        }
        if (json != null) {
            Map<String, Object> all = new LinkedHashMap<>();
            all.put("data", data.toString());
            all.put("window", length);
            all.put("compute", model.compute.name());
            all.put("models", rows);
            Json.write(json, all);
        }
        return 0;
    }

    private void out(String format, Object... values) {
        spec.commandLine().getOut().printf(Locale.ROOT, format, values);
    }

    // ---------------------------------------------------------------- what is compared

    /** A model, held in a format or as stored (null), with an adapter or null. */
    private record Subject(Path model, QuantFormat format, Path adapter) {
        Pretrained load(PrintWriter err) {
            return ModelFlags.load(model, format, adapter, err);
        }

        /**
         * Positions of a text, 0 = as many as it has. The model is opened for a look at it: what is quantised with time is only checked,
         * and its adapter opened in its turn.
         */
        int limit(PrintWriter err) {
            try (Pretrained lm = format == null ? load(err) : Pretrained.load(model)) {
                int limit = lm.model().contextLength();
                if (format == null) {
                    return limit;
                }
                QuantizeFlags.check(format, lm.model());
                int front = adapter == null
                        ? 0
                        : AdapterFlags.virtualTokens(
                                Method.read(adapter.resolve("adapter_config.json"), "CAUSAL_LM", model.toString()));
                return limit == 0 ? 0 : Math.max(1, limit - front);
            }
        }

        long bytes() {
            return weights(model) + (adapter == null ? 0 : weights(adapter));
        }
    }

    private List<Subject> subjects() {
        QuantFormat format = model.quantize.format();
        List<Subject> all = new ArrayList<>(List.of(new Subject(model.model, format, model.adapter)));
        for (Path other : against) {
            boolean adapter = Files.exists(other.resolve("adapter_config.json"));
            all.add(adapter ? new Subject(model.model, format, other) : new Subject(other, null, null));
        }
        return all;
    }

    /** One for all, or perplexities could not be compared. Files are mapped, so that to open one costs little, and a wrong one is told early. */
    private int window(List<Subject> subjects) {
        int least = window == null ? USUAL_WINDOW : window;
        for (Subject s : subjects) {
            int limit = s.limit(spec.commandLine().getErr());
            if (window == null && limit > 0) {
                least = Math.min(least, limit);
            }
        }
        return least;
    }

    /** The file's name, or the whole path where two have the same; "base+adapter". */
    private static String name(Subject s, List<Subject> all) {
        return name(s.model, all.stream().map(Subject::model).distinct().toList())
                + (s.adapter == null
                        ? ""
                        : "+"
                                + name(
                                        s.adapter,
                                        all.stream()
                                                .map(Subject::adapter)
                                                .filter(a -> a != null)
                                                .distinct()
                                                .toList()));
    }

    private static String name(Path path, List<Path> all) {
        Path name = path.getFileName();
        boolean alone = all.stream().filter(p -> p.getFileName().equals(name)).count() < 2;
        return (alone ? name : path).toString();
    }

    // ---------------------------------------------------------------- measuring

    /** What a model makes of the text; {@code bytes} of it were predicted. */
    private record Score(Perplexity perplexity, int bytes, double seconds) {
        double speed() {
            return perplexity.tokens() / seconds;
        }

        double nll() {
            return perplexity.nll() / perplexity.tokens();
        }

        /** Can be compared between tokenizers, which perplexity per token cannot. */
        double bitsPerByte() {
            return perplexity.nll() / Math.log(2) / bytes;
        }
    }

    private Score score(Pretrained lm, String text, int length) {
        int[] ids = lm.tokenizer().encode(text);
        ids = maxTokens > 0 && ids.length > maxTokens ? Arrays.copyOf(ids, maxTokens) : ids;
        int bytes = lm.tokenizer().decode(ids).getBytes(StandardCharsets.UTF_8).length;
        try (Tape.Precision precision = model.precision()) {
            if (!against.isEmpty()) { // else the first of them would pay for reading its file and for the compiler
                Perplexity.of(lm.model(), Arrays.copyOf(ids, Math.min(ids.length, length)), length);
            }
            long start = System.nanoTime();
            // Not among the results, which others may read.
            Perplexity p = CalibrationText.perplexity(
                    lm, ids, length, spec.commandLine().getErr());
            return new Score(p, bytes, (System.nanoTime() - start) * 1e-9);
        }
    }

    // ---------------------------------------------------------------- telling

    private void print(boolean table, String name, Subject s, Score score) {
        double perplexity = score.perplexity.value();
        if (table) {
            double megabytes = s.bytes() / 1e6;
            out("%-32s %10.1f %12.4f ", name, megabytes, perplexity);
            out("%10.4f %10.0f%n", score.bitsPerByte(), score.speed());
        } else {
            out("perplexity %.4f  (nll %.4f per token, ", perplexity, score.nll());
            out("%d tokens predicted, %.0f tokens/s)%n", score.perplexity.tokens(), score.speed());
        }
    }

    private static Map<String, Object> row(Subject s, Score score) {
        Map<String, Object> row = new LinkedHashMap<>();
        row.put("model", s.model.toString());
        if (s.adapter != null) {
            row.put("adapter", s.adapter.toString());
        }
        if (s.format != null) {
            row.put("quantize", s.format.name());
        }
        row.put("bytes", s.bytes());
        row.put("perplexity", score.perplexity.value());
        row.put("nll", score.nll());
        row.put("tokens", score.perplexity.tokens());
        row.put("bitsPerByte", score.bitsPerByte());
        row.put("tokensPerSecond", score.speed());
        return row;
    }

    /** Bytes of the weights on disk; not those of checkpoints in a folder below. */
    static long weights(Path path) {
        try (Stream<Path> files = Files.walk(path, 1)) {
            return files.filter(f -> f.toString().matches(".*[.](safetensors|gguf)"))
                    .mapToLong(f -> f.toFile().length())
                    .sum();
        } catch (IOException e) {
            throw new UncheckedIOException(path + " cannot be read: " + e.getMessage(), e);
        }
    }
}
