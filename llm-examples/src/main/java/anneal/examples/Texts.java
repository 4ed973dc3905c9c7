package anneal.examples;

import anneal.Perplexity;
import anneal.Pretrained;
import anneal.data.Batches;
import anneal.data.Jsonl;
import anneal.model.Tokens;
import anneal.quant.calibrate.Windows;
import anneal.tensor.Memory;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.function.BiConsumer;

/**
 * The two texts that a recipe of compression needs.
 *
 * @param seen what inputs are measured on or students are trained on
 * @param heldOut what perplexity is measured on
 */
record Texts(Path seen, Path heldOut) {
    private static final int WINDOW = 128;
    private static final int MOST_WINDOWS = 16;
    private static final int MEASURED = 2048;

    /** Perplexity of a model after a method was applied to it, which runs it over the seen text. */
    double perplexity(Path model, BiConsumer<Pretrained, Runnable> method) {
        try (Pretrained lm = Pretrained.load(model)) {
            method.accept(lm, forward(lm));
            return perplexity(lm);
        }
    }

    /** Perplexity of the first tokens of the held-out text. */
    double perplexity(Pretrained lm) {
        int[] ids = ids(lm, heldOut);
        return Perplexity.of(lm.model(), Arrays.copyOf(ids, Math.min(ids.length, MEASURED)), window(lm))
                .value();
    }

    /** Runs the model over pieces that are spread over the seen text. */
    Runnable forward(Pretrained lm) {
        int[] ids = ids(lm, seen);
        int length = window(lm);
        int[][] windows = Windows.of(ids, Math.clamp(ids.length / length, 1, MOST_WINDOWS), length);
        return () -> {
            for (int[] window : windows) {
                try (Memory.Scope step = Memory.scope()) {
                    lm.model().hidden(Tokens.of(window), null);
                }
            }
        };
    }

    /** The seen text in shuffled batches to train on. */
    Batches batches(Pretrained lm) {
        return Jsonl.read(seen)
                .encode(lm.tokenizer())
                .wrap(window(lm))
                .batches(8)
                .shuffled(0);
    }

    private static int window(Pretrained lm) {
        int limit = lm.model().contextLength();
        return limit > 0 ? Math.min(limit, WINDOW) : WINDOW;
    }

    private static int[] ids(Pretrained lm, Path file) {
        try {
            return lm.tokenizer().encode(Files.readString(file));
        } catch (IOException e) {
            throw new UncheckedIOException(file.toString(), e);
        }
    }
}
