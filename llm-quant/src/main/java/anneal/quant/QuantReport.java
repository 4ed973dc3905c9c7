package anneal.quant;

import java.util.List;
import java.util.Locale;

/**
 * What quantisation did to each layer.
 *
 * @param layers those that were quantised, in the order of the model
 * @param kept paths of linear layers that were left as they are
 */
public record QuantReport(List<Layer> layers, List<String> kept) {
    /**
     * One layer.
     *
     * @param path "model.layers.0.self_attn.q_proj"
     * @param format what it is stored in now
     * @param relativeError norm of what was lost over norm of the weight: ||W - Q|| / ||W||, Frobenius
     * @param bytesBefore what the weight took, in whatever form it had
     * @param bytesAfter codes and scales
     */
    public record Layer(String path, String format, double relativeError, long bytesBefore, long bytesAfter) {}

    public QuantReport {
        layers = List.copyOf(layers);
        kept = List.copyOf(kept);
    }

    /** Bytes of all quantised layers before. */
    public long bytesBefore() {
        return layers.stream().mapToLong(Layer::bytesBefore).sum();
    }

    /** Bytes of all quantised layers now. */
    public long bytesAfter() {
        return layers.stream().mapToLong(Layer::bytesAfter).sum();
    }

    /** The largest relative error. */
    public double worst() {
        return layers.stream().mapToDouble(Layer::relativeError).max().orElse(0);
    }

    /** A table with a line for each layer and one for all. */
    @Override
    public String toString() {
        int width = Math.max(
                5, layers.stream().mapToInt(l -> l.path().length()).max().orElse(0));
        String line = "%-" + width + "s  %-12s %10s %14s %14s%n";
        StringBuilder table = new StringBuilder(
                String.format(Locale.ROOT, line, "layer", "format", "error", "bytes before", "after"));
        for (Layer l : layers) {
            table.append(row(line, l.path(), l.format(), l.relativeError(), l.bytesBefore(), l.bytesAfter()));
        }
        table.append(row(line, "all", "", worst(), bytesBefore(), bytesAfter()));
        if (!kept.isEmpty()) {
            table.append("left as they are: ").append(String.join(", ", kept)).append(System.lineSeparator());
        }
        return table.toString();
    }

    private static String row(String line, String name, String format, double error, long before, long after) {
        return String.format(
                Locale.ROOT,
                line,
                name,
                format,
                String.format(Locale.ROOT, "%.5f", error),
                String.format(Locale.ROOT, "%,d", before),
                String.format(Locale.ROOT, "%,d", after));
    }
}
