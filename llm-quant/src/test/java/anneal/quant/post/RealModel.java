package anneal.quant.post;

import anneal.Golden;
import anneal.Perplexity;
import anneal.Pretrained;
import anneal.model.Tokens;
import anneal.nn.Linear;
import anneal.nn.Module;
import anneal.nn.Norm;
import anneal.nn.Weight;
import anneal.quant.calibrate.Junction;
import anneal.quant.calibrate.Layers;
import anneal.quant.calibrate.Windows;
import anneal.tensor.Memory;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.function.Predicate;
import java.util.stream.IntStream;

/**
 * The shared folder's model with its layers in floats, and two parts of its Wikipedia text: the first half to calibrate on, the
 * start of the second to measure perplexity on.
 */
final class RealModel implements AutoCloseable {
    /** How much is done: a minute's worth, or {@code -Danneal.orderings=all} for the rows of docs/benchmarks.md. */
    record Size(int blocks, int windows, int window, int measured) {
        static final boolean ALL = "all".equals(System.getProperty("anneal.orderings"));

        static Size chosen() {
            return ALL ? new Size(30, 16, 128, 2_048) : new Size(3, 8, 128, 512);
        }
    }

    private static final int MEASURED_WINDOW = 256;

    final Size size = Size.chosen();
    private final Pretrained lm;
    private final Arena arena = Arena.ofShared();
    private final int[][] calibration;
    private final int[] measured;
    private final Map<Linear, Weight> weights = new LinkedHashMap<>();
    private final Map<Norm, float[]> norms = new LinkedHashMap<>();

    RealModel() throws IOException {
        lm = Pretrained.load(Golden.realModel());
        int[] ids = lm.tokenizer().encode(Files.readString(Golden.shared("data/text/wiki.txt")));
        int half = ids.length / 2;
        calibration = Windows.of(Arrays.copyOf(ids, half), size.windows, size.window);
        measured = Arrays.copyOfRange(ids, half, half + size.measured);
        Layers.of(root(), p -> true)
                .values()
                .forEach(l -> weights.put(l, l.weight().dense(arena)));
        root().find(Norm.class).values().forEach(n -> norms.put(n, n.weight().toArray()));
        reset();
    }

    Module root() {
        return lm.model().root();
    }

    /** Layers of the blocks that are quantised at this size. */
    Predicate<String> chosen() {
        return first(size.blocks);
    }

    /** Layers of the first blocks. */
    static Predicate<String> first(int blocks) {
        return path -> IntStream.range(0, blocks).anyMatch(i -> path.startsWith("model.layers." + i + "."));
    }

    /** Runs the model over the calibration text. */
    void forward() {
        for (int[] window : calibration) {
            try (var _ = Memory.scope()) {
                lm.model().hidden(Tokens.of(window), null);
            }
        }
    }

    /** Every layer and norm as it was. */
    void reset() {
        weights.forEach(Linear::weight);
        norms.forEach((norm, w) -> norm.weight().set(w));
    }

    /** Makes two channels behind each norm so many times as large, which their readers take back: the same function. */
    void plantOutliers(float by) {
        Junction.find(root(), false).forEach(j -> {
            float[] s = new float[j.source().channels()];
            Arrays.fill(s, 1);
            s[3] = s[17] = 1 / by;
            j.fold(s);
        });
    }

    /** Perplexity after {@code change}, which is told and undone. */
    double perplexity(String name, Runnable change) {
        long start = System.nanoTime();
        change.run();
        double seconds = (System.nanoTime() - start) / 1e9;
        double perplexity = Perplexity.of(lm.model(), measured, MEASURED_WINDOW).value();
        System.out.printf(Locale.ROOT, "real %-44s perplexity %10.4f (%.1f s)%n", name, perplexity, seconds);
        reset();
        return perplexity;
    }

    /** Perplexity after a method on the chosen layers. */
    double perplexity(String name, PostTraining method) {
        return perplexity(name, () -> method.apply(root(), chosen(), this::forward));
    }

    @Override
    public void close() {
        lm.close();
        arena.close();
    }
}
