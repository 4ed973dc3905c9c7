package anneal.peft;

import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.stream.Collectors;

/**
 * What a merge into the storage of the layers did to the model.
 *
 * @param difference largest difference of a logit of the probe: merged against applied
 * @param effect largest difference of a logit that the adapters make: applied against the base
 * @param layers each merged matrix
 */
public record MergeReport(double difference, double effect, List<Layer> layers) {
    /**
     * A merged matrix.
     *
     * @param path of the layer
     * @param format of its storage, before and after
     * @param widened true if that format can only be read: the matrix became floats in memory
     * @param error |stored - exact| / |update|, Frobenius norms: what rounding does to the update
     */
    public record Layer(String path, String format, boolean widened, double error) {}

    public MergeReport {
        layers = List.copyOf(layers);
    }

    /** Rounding of this part of the update and more erases it; what is lost altogether has 1. */
    private static final double ERASED = 0.5;

    /** Layers that a warning names. */
    private static final int NAMED = 3;

    /** Layers whose format is too coarse for the update: rounding is more than half of what was learnt. */
    public List<Layer> erased() {
        return layers.stream().filter(l -> l.error >= ERASED).toList();
    }

    /** What is said of these layers: three by name, the rest counted; empty if there are none. */
    Optional<String> warning() {
        List<Layer> erased = erased();
        if (erased.isEmpty()) {
            return Optional.empty();
        }
        String named = erased.stream()
                .limit(NAMED)
                .map(l -> String.format(Locale.ROOT, "%s in %s (%.2f)", l.path, l.format, l.error))
                .collect(Collectors.joining(", "));
        int more = erased.size() - NAMED;
        return Optional.of("merge: the storage erases the update of " + erased.size() + " of " + layers.size()
                + " layers; rounding in parts of it: " + named + (more > 0 ? " and " + more + " more" : ""));
    }

    /** A line for the whole, one for each layer. */
    @Override
    public String toString() {
        return String.format(
                        Locale.ROOT,
                        "merged %d layers: largest logit difference %.3g, of an effect of %.3g%n",
                        layers.size(),
                        difference,
                        effect)
                + layers.stream()
                        .map(l -> String.format(
                                Locale.ROOT,
                                "%s %s%s: rounding is %.3g of the update",
                                l.path,
                                l.format,
                                l.widened ? " -> F32" : "",
                                l.error))
                        .collect(Collectors.joining(System.lineSeparator()));
    }
}
