package anneal.peft;

import anneal.nn.Linear;
import anneal.nn.Module;
import anneal.nn.Weight;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/**
 * What a base model is known by: the names and shapes of its linear layers, and a few of their numbers. Heads are left out, they change
 * with the task.
 *
 * <p>The numbers stand there as they are rather than as a hash, because the same base is used in several storage formats: 4-bit numbers
 * differ from those of the file by a tenth, another model's by more than their own size.
 *
 * @param shapes first half of the SHA-256 of "path [out, in]" of all layers
 * @param sample a few numbers of layers spread over the model
 * @param format how the layers are stored: "NF4-DQ", "Q4_K, Q6_K"; null of a file that does not say
 */
record BaseFingerprint(String shapes, float[] sample, String format) {
    /** Keys in the metadata of adapter_model.safetensors, where other readers do not mind them. */
    static final String KEY = "anneal.base", FORMAT = "anneal.base.format";

    /** A base that differs by more than this, in relation to its size, is another one. */
    private static final double LIMIT = 0.5;

    private static final int LAYERS = 32, PER_LAYER = 4;

    static BaseFingerprint of(Module root) {
        Map<String, Linear> linears = root.find(Linear.class);
        linears.keySet().removeIf(Targets::isHead);
        String shapes = linears.entrySet().stream()
                .map(e -> e.getKey() + " [" + e.getValue().out() + ", "
                        + e.getValue().in() + "]")
                .collect(Collectors.joining("\n"));
        List<Linear> all = new ArrayList<>(linears.values());
        int layers = Math.min(LAYERS, all.size());
        float[] sample = new float[layers * PER_LAYER];
        for (int i = 0; i < sample.length; i++) {
            Weight weight = all.get((int) ((long) (i / PER_LAYER) * all.size() / layers))
                    .weight();
            // Places that depend on the shape only, spread by two odd constants.
            float[] row = new float[weight.in()];
            weight.row((int) ((i * 7919L + 13) % weight.out()), row);
            sample[i] = row[(int) ((i * 104_729L + 7) % row.length)];
        }
        String format =
                all.stream().map(l -> l.weight().format()).distinct().sorted().collect(Collectors.joining(", "));
        return new BaseFingerprint(hash(shapes), sample, format);
    }

    private static String hash(String text) {
        try {
            byte[] digest = MessageDigest.getInstance("SHA-256").digest(text.getBytes(StandardCharsets.UTF_8));
            return HexFormat.of().formatHex(digest, 0, 16);
        } catch (NoSuchAlgorithmException e) {
            throw new AssertionError("every Java has SHA-256", e);
        }
    }

    // ---------------------------------------------------------------- comparing

    /**
     * Compares the base of a file with the one at hand.
     *
     * @return a sentence if it is the same model but not with the same numbers, null if all are the same
     * @throws IllegalArgumentException if it is another model
     */
    String compare(BaseFingerprint here, String where) {
        if (!shapes.equals(here.shapes) || sample.length != here.sample.length) {
            throw new IllegalArgumentException(where + " was made for another base: the names or shapes of its linear"
                    + " layers are not those of this model");
        }
        double distance = distance(sample, here.sample);
        if (!(distance <= LIMIT)) {
            throw new IllegalArgumentException(String.format(
                    Locale.ROOT,
                    "%s was made for another base: %d numbers of it differ from this model's by %.2f of their size"
                            + " (more than %.1f), though the shapes are the same",
                    where,
                    sample.length,
                    distance,
                    LIMIT));
        }
        return distance == 0
                ? null
                : String.format(
                        Locale.ROOT,
                        "%s was made for a base whose numbers differ from this model's by %.2g of their size: %s",
                        where,
                        distance,
                        format == null || format.equals(here.format)
                                ? "another storage format, or trained since"
                                : "they were held in " + format + ", here in " + here.format);
    }

    /** |a - b| / max(|a|, |b|). */
    private static double distance(float[] a, float[] b) {
        double difference =
                IntStream.range(0, a.length).mapToDouble(i -> sq(a[i] - b[i])).sum();
        return difference == 0 ? 0 : Math.sqrt(difference / Math.max(size(a), size(b)));
    }

    private static double size(float[] x) {
        return IntStream.range(0, x.length).mapToDouble(i -> sq(x[i])).sum();
    }

    private static double sq(double x) {
        return x * x;
    }

    // ---------------------------------------------------------------- text

    /** "shapes:1.5,-0.25": as it stands in a file. */
    String text() {
        return shapes + ":"
                + IntStream.range(0, sample.length)
                        .mapToObj(i -> "" + sample[i])
                        .collect(Collectors.joining(","));
    }

    static BaseFingerprint parse(String text, String format, String where) {
        try {
            int colon = text.indexOf(':');
            String[] numbers = colon == text.length() - 1
                    ? new String[0]
                    : text.substring(colon + 1).split(",");
            float[] sample = new float[numbers.length];
            for (int i = 0; i < sample.length; i++) {
                sample[i] = Float.parseFloat(numbers[i]);
            }
            return new BaseFingerprint(text.substring(0, colon), sample, format);
        } catch (NumberFormatException | StringIndexOutOfBoundsException e) {
            throw new IllegalArgumentException(
                    where + ": \"" + KEY + "\" of the metadata is no fingerprint: " + text, e);
        }
    }

    @Override
    public boolean equals(Object o) {
        return o instanceof BaseFingerprint f
                && f.shapes.equals(shapes)
                && Arrays.equals(f.sample, sample)
                && Objects.equals(f.format, format);
    }

    @Override
    public int hashCode() {
        return shapes.hashCode();
    }
}
