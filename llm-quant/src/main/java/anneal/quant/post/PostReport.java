package anneal.quant.post;

import anneal.io.Json;
import java.util.List;
import java.util.Locale;
import java.util.Objects;

/**
 * What a method did to a model, as text and as JSON.
 *
 * @param method "gptq INT4 g64"
 * @param layers one entry a layer
 * @param perplexityBefore of the model, or null: this module cannot run a model over a text, the caller can
 * @param perplexityAfter likewise
 */
public record PostReport(String method, List<LayerReport> layers, Double perplexityBefore, Double perplexityAfter) {
    public PostReport {
        layers = List.copyOf(layers);
    }

    PostReport(String method, List<LayerReport> layers) {
        this(method, layers, null, null);
    }

    /** The same with the model's perplexities. */
    public PostReport perplexity(double before, double after) {
        return new PostReport(method, layers, before, after);
    }

    /** Bytes of all these layers before. */
    public long bytesBefore() {
        return layers.stream().mapToLong(LayerReport::bytesBefore).sum();
    }

    /** Bytes of all these layers now. */
    public long bytesAfter() {
        return layers.stream().mapToLong(LayerReport::bytesAfter).sum();
    }

    /** Mean of the layers' errors; NaN if none was measured. */
    public double meanError() {
        return layers.stream()
                .map(LayerReport::error)
                .filter(Objects::nonNull)
                .mapToDouble(Double::doubleValue)
                .average()
                .orElse(Double.NaN);
    }

    /** The report as JSON. */
    public String json() {
        return Json.text(this);
    }

    /** The report as a table. */
    @Override
    public String toString() {
        int width = layers.stream().mapToInt(l -> l.path().length()).max().orElse(5);
        StringBuilder text = new StringBuilder();
        String line = "%-" + width + "s  %-14s %10s %12s %12s  %s%n";
        text.append(String.format(Locale.ROOT, line, method, "format", "error", "bytes before", "after", ""));
        for (LayerReport l : layers) {
            String error = l.error() == null ? "-" : String.format(Locale.ROOT, "%.3e", l.error());
            text.append(String.format(
                    Locale.ROOT, line, l.path(), l.format(), error, l.bytesBefore(), l.bytesAfter(), l.note()));
        }
        text.append(String.format(
                Locale.ROOT,
                line,
                "all",
                "",
                Double.isNaN(meanError()) ? "-" : String.format(Locale.ROOT, "%.3e", meanError()),
                bytesBefore(),
                bytesAfter(),
                ""));
        if (perplexityBefore != null) {
            text.append(String.format(Locale.ROOT, "perplexity %.4f -> %.4f%n", perplexityBefore, perplexityAfter));
        }
        return text.toString();
    }
}
