package anneal.bench;

import anneal.tensor.Rng;
import anneal.text.BpeTrainer;
import anneal.text.Tokenizer;
import anneal.text.Tokenizers;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** Training a BPE vocabulary of 5,000 tokens on 1.1 MB of text, and encoding that text in one call. */
final class TextCases {
    private static final int PIECE = 10_000;

    private TextCases() {}

    static void tokenize(Report report, Bench.Options options) {
        String text = options.text() == null ? madeUp() : read(options.text());
        double megabytes = text.getBytes(StandardCharsets.UTF_8).length / 1e6;
        List<String> pieces = new ArrayList<>();
        for (int at = 0; at < text.length(); at += PIECE) {
            pieces.add(text.substring(at, Math.min(text.length(), at + PIECE)));
        }
        report.rate(
                "bpe-train 5000", "MB/s", megabytes, new Report.Runs(3, 5), () -> new BpeTrainer(5000).train(pieces));
        Tokenizer trained = new BpeTrainer(5000).train(pieces);
        report.rate("bpe-encode one call", "MB/s", megabytes, new Report.Runs(10, 7), () -> trained.encode(text));
        if (options.model() != null) {
            Tokenizer smollm = tokenizer(options.model());
            report.rate("smollm-encode one call", "MB/s", megabytes, new Report.Runs(10, 7), () -> smollm.encode(text));
        }
    }

    /** The tokenizer of a folder, or of a .gguf file itself. */
    private static Tokenizer tokenizer(Path model) {
        if (Files.isDirectory(model)) {
            return Tokenizers.load(model);
        }
        try (var arena = java.lang.foreign.Arena.ofShared()) {
            return Tokenizers.fromGguf(anneal.io.Gguf.open(model, arena).metadata());
        }
    }

    private static String read(Path file) {
        try {
            return Files.readString(file);
        } catch (IOException e) {
            throw new UncheckedIOException(file.toString(), e);
        }
    }

    /** Words with frequencies that fall as in a language, about 1.1 MB. */
    private static String madeUp() {
        Rng rng = new Rng(1);
        String[] words = new String[20_000];
        for (int i = 0; i < words.length; i++) {
            StringBuilder word = new StringBuilder();
            for (int n = 1 + rng.nextInt(9); n > 0; n--) {
                word.append((char) ('a' + rng.nextInt(26)));
            }
            words[i] = word.toString();
        }
        StringBuilder text = new StringBuilder();
        while (text.length() < 1_100_000) {
            double u = rng.nextDouble();
            text.append(words[(int) (words.length * u * u * u)]).append(rng.nextInt(12) == 0 ? ".\n" : " ");
        }
        return text.toString();
    }
}
