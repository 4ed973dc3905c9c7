package anneal.cli;

import anneal.Pretrained;
import anneal.model.Decoder;
import anneal.nn.LayerWatch;
import anneal.quant.QuantFormat;
import anneal.quant.QuantReport;
import anneal.quant.Quantizer;
import java.io.PrintWriter;
import java.util.Locale;
import picocli.CommandLine.Option;

/**
 * QLoRA: the base in few bits, under an adapter in floats; null = not given. Who trains an adapter so and who uses it give the same
 * flags, and have the same numbers.
 */
final class QuantizeFlags {
    @Option(
            names = "--quantize",
            paramLabel = "NAME",
            description = "Hold the base in this format under the adapter: " + FormatName.NAMES
                    + ". Head and embeddings keep their numbers; no file is changed (default: as stored).")
    String format;

    @Option(
            names = "--quantize-block",
            paramLabel = "N",
            description = "Numbers that share a scale, nf4 and fp4: 32, 64 .. 4096 (default: 64).")
    Integer block;

    @Option(
            names = "--no-double-quant",
            arity = "0",
            description = "Keep the scales of nf4 and fp4 in 32 bits; 8 without this.")
    Boolean noDoubleQuant;

    /** The format, or null if the base stays as it is stored; throws if the flags do not fit one another. */
    QuantFormat format() {
        if (format != null) {
            return new FormatName(format, block, noDoubleQuant).format("--quantize-block");
        }
        if (block != null || noDoubleQuant != null) {
            throw new IllegalArgumentException(
                    (block != null ? "--quantize-block" : "--no-double-quant") + " needs --quantize nf4 or fp4");
        }
        return null;
    }

    /** Quantises all linear layers of the blocks in memory and says what that did. */
    static void apply(QuantFormat format, Pretrained lm, PrintWriter out) {
        QuantReport report;
        try (Progress progress = new Progress(out, "quantising", Progress.UNKNOWN, 0)) {
            report = quantize(format, lm.model(), progress::layer);
        }
        out.printf(
                Locale.ROOT,
                "Base: %d linear layers held in %s, %.1f MB instead of %.1f; of a weight at most %.1f %% is lost (%s).%n",
                report.layers().size(),
                format.name(),
                report.bytesAfter() / 1e6,
                report.bytesBefore() / 1e6,
                100 * report.worst(),
                "left as they are: embeddings, " + String.join(", ", report.kept()));
    }

    /** Rounds all linear layers but the head to nearest. */
    static QuantReport quantize(QuantFormat format, Decoder model, LayerWatch watch) {
        return quantizer(format, model).apply(model, watch);
    }

    /** Throws if {@link #quantize} could not; nothing is changed. */
    static void check(QuantFormat format, Decoder model) {
        quantizer(format, model).check(model);
    }

    private static Quantizer quantizer(QuantFormat format, Decoder model) {
        return Quantizer.format(format).except(model.head().path());
    }
}
