package anneal.cli;

import anneal.Perplexity;
import anneal.Pretrained;
import anneal.data.Jsonl;
import anneal.data.Sample;
import anneal.model.Tokens;
import anneal.quant.calibrate.Windows;
import anneal.tensor.Memory;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.Arrays;

/** The tokens of a plain text: what calibration runs the model over and perplexity is measured on. */
record CalibrationText(Path file, int[] ids) {
    /** Windows of one call of {@link Perplexity}: as many as it computes at once, so that cutting the text changes no number. */
    private static final int ROWS = 4;

    /** Encodes a .txt file, or records with the key text one after another; {@code command} is who complains of others. */
    static CalibrationText read(Path file, Pretrained lm, String command) {
        return new CalibrationText(file, lm.tokenizer().encode(text(file, command)));
    }

    /** The text of a file. */
    static String text(Path file, String command) {
        StringBuilder text = new StringBuilder();
        for (Sample sample : Jsonl.read(file)) {
            if (!(sample instanceof Sample.Text t)) {
                throw new IllegalArgumentException(
                        sample.name() + ": " + command + " needs plain text (.txt, or records with the key text)");
            }
            text.append(t.text());
        }
        return text.toString();
    }

    /** {@code count} pieces of {@code length} tokens, spread over the text. */
    int[][] windows(int count, int length) {
        try {
            return Windows.of(ids, count, length);
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException(file + ": " + e.getMessage() + " (--windows, --window)", e);
        }
    }

    /** Runs the model over all windows each time it is called, and tells {@code progress}. */
    static Runnable forward(Pretrained lm, int[][] windows, Progress progress) {
        return () -> {
            for (int i = 0; i < windows.length; i++) {
                try (Memory.Scope step = Memory.scope()) {
                    lm.model().hidden(Tokens.of(windows[i]), null);
                }
                progress.busy("window " + (i + 1) + " of " + windows.length);
            }
        };
    }

    /** Perplexity in windows of {@code length} that do not overlap. */
    double perplexity(Pretrained lm, int length, PrintWriter out) {
        return perplexity(lm, ids, length, out).value();
    }

    /** The same of any tokens; how far it is, is told to {@code out}. */
    static Perplexity perplexity(Pretrained lm, int[] ids, int length, PrintWriter out) {
        double nll = 0;
        long tokens = 0;
        int piece = (int) Math.min(Integer.MAX_VALUE, (long) ROWS * Math.max(2, length));
        try (Progress progress = new Progress(out, "perplexity", Progress.UNKNOWN, 0)) {
            // A last token that stands alone predicts nothing.
            for (int at = 0; at == 0 || ids.length - at > 1; at += piece) {
                int end = (int) Math.min(ids.length, (long) at + piece);
                Perplexity p = Perplexity.of(lm.model(), Arrays.copyOfRange(ids, at, end), length);
                nll += p.nll();
                tokens += p.tokens();
                progress.done("", end, ids.length);
            }
        }
        return new Perplexity(nll, tokens);
    }
}
