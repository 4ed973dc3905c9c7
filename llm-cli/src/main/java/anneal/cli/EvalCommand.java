package anneal.cli;

import anneal.Perplexity;
import anneal.Pretrained;
import anneal.tensor.Tape;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
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
        description = "Perplexity of a model on a text file, in windows that do not overlap.",
        mixinStandardHelpOptions = true,
        sortOptions = false,
        footer = {
            "",
            "Examples:",
            "  anneal eval --model model.gguf --data wiki.txt",
            "  anneal eval --model folder --adapter runs/mine --data held-out.jsonl --window 256",
            "  anneal eval --model model.gguf --against pruned distilled --data wiki.txt"
        })
final class EvalCommand implements Callable<Integer> {
    private static final int USUAL_WINDOW = 512;

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
            description = "More models, each on its own: all of them in one table.")
    List<Path> against = List.of();

    @Option(
            names = "--window",
            paramLabel = "N",
            description = "Tokens seen together (default: 512, or the model's limit if that is less).")
    Integer window;

    @Option(names = "--max-tokens", paramLabel = "N", description = "Only the first N tokens; 0 = all.")
    int maxTokens = 0;

    @Option(names = "--config", paramLabel = "FILE", description = "YAML file with the same keys; flags win.")
    Path config;

    @Spec
    CommandSpec spec;

    @Override
    public Integer call() {
        RunFlags.require("--max-tokens", maxTokens, 0);
        String text = CalibrationText.text(data, "eval");
        if (!against.isEmpty()) {
            table(text);
            return 0;
        }
        try (Pretrained lm = model.load()) {
            Score score = score(lm, text);
            out(
                    "perplexity %.4f  (nll %.4f per token, %d tokens predicted, %.0f tokens/s)%n",
                    score.perplexity.value(),
                    score.perplexity.nll() / score.perplexity.tokens(),
                    score.perplexity.tokens(),
                    score.speed());
        }
        return 0;
    }

    private void out(String format, Object... values) {
        spec.commandLine().getOut().printf(Locale.ROOT, format, values);
    }

    /** What a model makes of the text; {@code bytes} of it were predicted. */
    private record Score(Perplexity perplexity, int bytes, double seconds) {
        double speed() {
            return perplexity.tokens() / seconds;
        }

        /** Can be compared between tokenizers, which perplexity per token cannot. */
        double bitsPerByte() {
            return perplexity.nll() / Math.log(2) / bytes;
        }
    }

    private Score score(Pretrained lm, String text) {
        int[] ids = lm.tokenizer().encode(text);
        ids = maxTokens > 0 && ids.length > maxTokens ? Arrays.copyOf(ids, maxTokens) : ids;
        int bytes = lm.tokenizer().decode(ids).getBytes(StandardCharsets.UTF_8).length;
        long start = System.nanoTime();
        try (Tape.Precision precision = model.precision()) {
            Perplexity p = Perplexity.of(lm.model(), ids, window(lm.model().contextLength()));
            return new Score(p, bytes, (System.nanoTime() - start) * 1e-9);
        }
    }

    /** Each model is opened, scored and closed before the next one. */
    private void table(String text) {
        out("%-32s %10s %12s %10s %10s%n", "model", "MB", "perplexity", "bits/byte", "tokens/s");
        row(model.model, model.load(), text);
        for (Path other : against) {
            row(other, Pretrained.load(other), text);
        }
    }

    private void row(Path path, Pretrained lm, String text) {
        try (lm) {
            Score score = score(lm, text);
            out(
                    "%-32s %10.1f %12.4f %10.4f %10.0f%n",
                    path.getFileName(), megabytes(path), score.perplexity.value(), score.bitsPerByte(), score.speed());
        }
    }

    /** Weights on disk. */
    static double megabytes(Path path) {
        try (Stream<Path> files = Files.walk(path)) {
            return files.filter(f -> f.toString().matches(".*[.](safetensors|gguf)"))
                            .mapToLong(f -> f.toFile().length())
                            .sum()
                    / 1e6;
        } catch (IOException e) {
            throw new UncheckedIOException(path + " cannot be read: " + e.getMessage(), e);
        }
    }

    private int window(int limit) {
        if (window != null) {
            return window;
        }
        return limit > 0 ? Math.min(USUAL_WINDOW, limit) : USUAL_WINDOW;
    }
}
